//! The spool as its users see it: append, read, mark, look at the gauges.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::SpoolError;
use super::limits::SpoolLimits;
use super::record::{Greeting, Opening, Record};
use super::store::{Head, OpenDatabase, Store, Stretch, Stuck, open_file};
use super::writer::{Append, Command, Writer};
use crate::clock::now_ms;

/// Places given to the records of one append: gap-free, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Opening of the spool.
    pub incarnation: i64,
    /// Sequence number of the first record.
    pub first_seq: i64,
    /// Number of records.
    pub count: u64,
}

/// Why an append was not taken. Nothing of it is in the spool, or at most (`Failing`) without a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The byte cap is reached: only delivery makes room.
    #[error("the spool is full ({used} of {limit} bytes wait for delivery or its confirmation)")]
    Full {
        /// Bytes kept.
        used: u64,
        /// Bytes at which intake stops.
        limit: u64,
    },
    /// More requests wait for the next commit than allowed.
    #[error("too many requests wait for the disk")]
    Busy,
    /// The disk failed and the spool is being reopened and checked.
    #[error("the spool's disk fails: {0}")]
    Failing(String),
    /// The collector is stopping.
    #[error("the collector is stopping")]
    Closed,
}

impl AppendError {
    /// Seconds after which trying again may help.
    pub fn retry_after_s(&self) -> u64 {
        match self {
            AppendError::Full { .. } => 30,
            AppendError::Busy => 1,
            AppendError::Failing(_) => 5,
            AppendError::Closed => 10,
        }
    }
}

/// State of the spool in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauges {
    /// Records that wait for delivery.
    pub depth: u64,
    /// Bytes of disk of the records that wait.
    pub waiting_bytes: u64,
    /// Bytes of disk of all records kept, delivered ones included.
    pub kept_bytes: u64,
    /// Bytes at which intake stops.
    pub limit_bytes: u64,
    /// Age of the oldest record that waits, in seconds.
    pub oldest_age_s: f64,
    /// Requests that wait for the next commit.
    pub queued_requests: usize,
    /// Most requests that may wait.
    pub queue_requests: usize,
    /// Blocks and records set aside as undeliverable.
    pub stuck: u64,
    /// Transactions committed since the process opened the spool.
    pub commits: u64,
    /// Position of the next record.
    pub next: u64,
    /// The current opening.
    pub opening: Opening,
    /// Why the disk is not trusted at the moment.
    pub failing: Option<String>,
}

/// Everything before `position` was delivered, as far as the sender that works in `epoch` knows. A resend opens a new
/// epoch, so that marks made before it do not undo it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Number of resends since the process opened the spool.
    pub epoch: u64,
    /// Position of the first record not known to be delivered.
    pub position: u64,
}

/// What a resend will send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resent {
    /// Position of the first record sent again.
    pub from: u64,
    /// Number of records.
    pub records: u64,
}

/// What the writer publishes after each commit.
#[derive(Debug)]
pub(super) struct View {
    pub head: Head,
    pub stuck: u64,
    pub commits: u64,
    pub failing: Option<String>,
    pub closed: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub path: PathBuf,
    pub limits: SpoolLimits,
    pub store: RwLock<Option<Store>>,
    pub view: Mutex<View>,
    pub committed: Condvar,
    pub mark: Mutex<Mark>,
    pub queued: AtomicUsize,
}

impl Shared {
    pub fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn mark(&self) -> MutexGuard<'_, Mark> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open spool. One process, one writer thread; share it by `Arc`.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    queue: SyncSender<Command>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Spool {
    /// Opens or creates the spool file and spools the greeting. Reads the whole file only after a crash.
    pub fn open(path: &Path, limits: SpoolLimits, greeting: Greeting) -> Result<Spool, SpoolError> {
        let open = open_file(limits.cache_bytes);
        Spool::open_with(path, limits, greeting, open)
    }

    pub(super) fn open_with(
        path: &Path,
        limits: SpoolLimits,
        greeting: Greeting,
        open: OpenDatabase,
    ) -> Result<Spool, SpoolError> {
        let disk = |error: std::io::Error| SpoolError::Disk {
            path: path.to_owned(),
            what: error.to_string(),
        };
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory).map_err(disk)?;
        // Room for the appends allowed to wait, and some for the rare other commands.
        let (queue, commands) = sync_channel(limits.queue_requests + 16);
        let writer = Writer::open(path, limits, greeting, open)?;
        // The file's name must survive a power cut too, not only its content.
        std::fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(disk)?;
        let shared = writer.shared();
        let writer = std::thread::Builder::new()
            .name("siji-spool".to_owned())
            .spawn(move || writer.run(commands))
            .map_err(disk)?;
        Ok(Spool {
            shared,
            queue,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Whether an append would be taken now.
    pub fn admits(&self) -> Result<(), AppendError> {
        let view = self.shared.view();
        if view.closed || self.writer_is_gone() {
            return Err(AppendError::Closed);
        }
        if let Some(why) = &view.failing {
            return Err(AppendError::Failing(why.clone()));
        }
        let (used, limit) = (view.head.kept_bytes(), self.shared.limits.full_at());
        // Delivered blocks give way to new ones; only what waits can fill the spool.
        if view.head.waiting_bytes() >= limit {
            return Err(AppendError::Full { used, limit });
        }
        Ok(())
    }

    /// Spools the records in their order, behind all earlier ones. When this returns `Ok` they are on disk.
    ///
    /// Cancelling the future does not take the records back: they may be spooled without anyone knowing.
    pub async fn append(&self, records: Vec<Record>) -> Result<Receipt, AppendError> {
        self.admits()?;
        let (reply, receipt) = oneshot::channel();
        if self.shared.queued.fetch_add(1, Ordering::AcqRel) >= self.shared.limits.queue_requests {
            self.shared.queued.fetch_sub(1, Ordering::AcqRel);
            return Err(AppendError::Busy);
        }
        if let Err(refused) = self
            .queue
            .try_send(Command::Append(Append { records, reply }))
        {
            self.shared.queued.fetch_sub(1, Ordering::AcqRel);
            return Err(match refused {
                TrySendError::Full(_) => AppendError::Busy,
                TrySendError::Disconnected(_) => AppendError::Closed,
            });
        }
        receipt.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Records from `from` on, as whole blocks of together about `max_bytes`, and at least one block; none if there is
    /// nothing from there on. Blocks the thread on disk reads.
    pub fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Stretch>, SpoolError> {
        self.look(|store| store.read(from, max_bytes))
    }

    /// What was set aside as undeliverable, from a position on, of together about `max_bytes`, and at least one; none
    /// if there is nothing from there on. Blocks the thread on disk reads.
    pub fn stuck(&self, from: u64, max_bytes: usize) -> Result<Vec<Stuck>, SpoolError> {
        self.look(|store| store.read_stuck(from, max_bytes))
    }

    fn look<T>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, redb::Error>,
    ) -> Result<T, SpoolError> {
        let store = self
            .shared
            .store
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let store = store.as_ref().ok_or_else(|| SpoolError::Disk {
            path: self.shared.path.clone(),
            what: "is being reopened after a failure".to_owned(),
        })?;
        read(store).map_err(|e| SpoolError::of(&self.shared.path, e))
    }

    /// Where delivery stands; a sender starts here, and starts again here when the epoch has changed.
    pub fn mark(&self) -> Mark {
        *self.shared.mark()
    }

    /// Says how far everything was delivered. Stored with one of the next commits, a second later at most.
    pub fn delivered(&self, mark: Mark) {
        let mut current = self.shared.mark();
        if current.epoch == mark.epoch {
            *current = mark;
        }
    }

    /// Waits until a record stands at `position`, or the time is over. Blocks the thread.
    pub fn wait_for(&self, position: u64, timeout: Duration) -> bool {
        let view = self.shared.view();
        let waited = self
            .shared
            .committed
            .wait_timeout_while(view, timeout, |view| {
                view.head.next <= position && !view.closed
            });
        waited.unwrap_or_else(PoisonError::into_inner).0.head.next > position
    }

    /// Keeps the bytes of undeliverable records apart, durably, under the position of the first. Blocks the thread.
    pub fn set_aside(&self, position: u64, bytes: Vec<u8>) -> Result<(), SpoolError> {
        let (reply, done) = sync_channel(1);
        self.queue
            .send(Command::SetAside {
                position,
                bytes,
                reply,
            })
            .map_err(|_| SpoolError::Closed)?;
        done.recv().map_err(|_| SpoolError::Closed)?
    }

    /// Has everything sent again that was delivered after `since_ms` (milliseconds UTC) and is still kept. The log of
    /// deliveries has a line a minute, so up to a minute more is sent.
    pub async fn resend(&self, since_ms: i64) -> Result<Resent, SpoolError> {
        let (reply, done) = oneshot::channel();
        self.queue
            .try_send(Command::Resend { since_ms, reply })
            .map_err(|_| SpoolError::Closed)?;
        done.await.map_err(|_| SpoolError::Closed)?
    }

    /// The state in numbers.
    pub fn gauges(&self) -> Gauges {
        let mark = self.mark();
        let view = self.shared.view();
        let head = &view.head;
        let depth = head.next.saturating_sub(mark.position);
        let age_ms = head
            .oldest_ms
            .filter(|_| depth > 0)
            .map_or(0, |oldest| (now_ms() - oldest).max(0));
        Gauges {
            depth,
            waiting_bytes: if depth == 0 { 0 } else { head.waiting_bytes() },
            kept_bytes: head.kept_bytes(),
            limit_bytes: self.shared.limits.full_at(),
            oldest_age_s: age_ms as f64 / 1000.0,
            queued_requests: self.shared.queued.load(Ordering::Acquire),
            queue_requests: self.shared.limits.queue_requests,
            stuck: view.stuck,
            commits: view.commits,
            next: head.next,
            opening: Opening {
                incarnation: head.incarnation,
                previous: head.previous,
            },
            failing: view.failing.clone(),
        }
    }

    /// Commits what waits, stores the delivery mark and closes the file. Blocks the thread; later appends are refused.
    pub fn close(&self) {
        self.shared.view().closed = true;
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(writer) = writer else { return };
        if self.queue.send(Command::Close).is_err() {
            tracing::error!(spool = %self.shared.path.display(), "the spool's writer had already stopped");
        }
        if writer.join().is_err() {
            tracing::error!(spool = %self.shared.path.display(), "the spool's writer had panicked");
        }
    }

    /// Whether the writer thread runs.
    pub fn is_alive(&self) -> bool {
        !self.writer_is_gone()
    }

    fn writer_is_gone(&self) -> bool {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.close();
    }
}
