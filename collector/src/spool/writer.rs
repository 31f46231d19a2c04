//! The one thread that writes the spool.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::append::{Appender, Buffers};
use super::error::SpoolError;
use super::handle::{AppendError, Mark, Receipt, Resent, Shared, View};
use super::limits::SpoolLimits;
use super::opening::open_and_greet;
use super::record::{Greeting, Record};
use super::store::{self, Head, OpenDatabase};
use super::upkeep::{make_room, with_store};
use crate::clock::now_ms;
use crate::metrics;

/// How often marks are stored, old blocks deleted, and reopening a failed spool is tried.
const TICK: Duration = Duration::from_secs(1);
/// Most records of one transaction; what a single request holds is never divided.
const MAX_GROUP_RECORDS: usize = 4_096;

/// What the writer is asked to do.
pub(super) enum Command {
    Append(Append),
    SetAside {
        position: u64,
        bytes: Vec<u8>,
        reply: SyncSender<Result<(), SpoolError>>,
    },
    Resend {
        since_ms: i64,
        reply: oneshot::Sender<Result<Resent, SpoolError>>,
    },
    Close,
}

/// One request's records.
pub(super) struct Append {
    pub records: Vec<Record>,
    pub reply: oneshot::Sender<Result<Receipt, AppendError>>,
}

/// Its receipt, sent when the transaction is on disk.
type Reply = (
    oneshot::Sender<Result<Receipt, AppendError>>,
    Result<Receipt, AppendError>,
);

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) open: OpenDatabase,
    pub(super) greeting: Greeting,
    /// None while the disk is not trusted.
    pub(super) head: Option<Head>,
    pub(super) logged_ms: i64,
    pub(super) buffers: Buffers,
}

impl Writer {
    /// Opens the file and spools the greeting of this opening.
    pub fn open(
        path: &Path,
        limits: SpoolLimits,
        greeting: Greeting,
        open: OpenDatabase,
    ) -> Result<Writer, SpoolError> {
        let mut buffers = Buffers::default();
        let (store, head, stuck) = open_and_greet(path, &open, false, &greeting, &mut buffers)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            limits,
            store: RwLock::new(Some(store)),
            view: Mutex::new(View {
                head,
                stuck,
                commits: 1,
                failing: None,
                closed: false,
            }),
            committed: Condvar::new(),
            mark: Mutex::new(Mark {
                epoch: 0,
                position: head.delivered,
            }),
            queued: AtomicUsize::new(0),
        });
        Ok(Writer {
            shared,
            open,
            greeting,
            head: Some(head),
            logged_ms: 0,
            buffers,
        })
    }

    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Serves commands until the spool is closed.
    pub fn run(mut self, commands: Receiver<Command>) {
        let mut ticked = Instant::now();
        let mut held = None;
        loop {
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick();
            }
            let command = match held.take() {
                Some(command) => command,
                None => match commands.recv_timeout(TICK.saturating_sub(ticked.elapsed())) {
                    Ok(command) => command,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            match command {
                Command::Append(first) => {
                    let (group, next) = gather(first, &commands);
                    held = next;
                    self.append(group);
                }
                Command::SetAside {
                    position,
                    bytes,
                    reply,
                } => {
                    answer(reply.send(self.set_aside(position, &bytes)).is_err());
                }
                Command::Resend { since_ms, reply } => {
                    answer(reply.send(self.resend(since_ms)).is_err())
                }
                Command::Close => break,
            }
        }
        self.close();
    }

    /// Commits a group of requests in one transaction and answers them.
    fn append(&mut self, group: Vec<Append>) {
        self.shared.queued.fetch_sub(group.len(), Ordering::AcqRel);
        let Some(head) = self.head else {
            let why = self.shared.view().failing.clone().unwrap_or_default();
            for append in group {
                answer(
                    append
                        .reply
                        .send(Err(AppendError::Failing(why.clone())))
                        .is_err(),
                );
            }
            return;
        };
        let started = Instant::now();
        let (replies, mut records): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|a| (a.reply, Some(a.records)))
            .unzip();
        let limits = &self.shared.limits;
        let mark = *self.shared.mark();
        let buffers = &mut self.buffers;
        let result = with_store(&self.shared, |store| {
            store.write(|txn| {
                let mut head = head;
                make_room(txn, &mut head, limits)?;
                let mut outcomes = Vec::with_capacity(records.len());
                let mut appender = Appender::new(txn, &mut head, buffers);
                for records in &mut records {
                    let kept = appender.head.kept_bytes() + appender.pending_bytes();
                    if kept >= limits.full_at() {
                        outcomes.push(Err(AppendError::Full {
                            used: kept,
                            limit: limits.full_at(),
                        }));
                        continue;
                    }
                    outcomes.push(Ok(appender.append(records.take().unwrap_or_default())?));
                }
                appender.finish()?;
                store::mark(txn, &mut head, mark.position)?;
                store::put_head(txn, &head)?;
                Ok((head, outcomes))
            })
        });
        match result {
            Ok((head, outcomes)) => {
                metrics::spool_commit(started.elapsed());
                self.publish(head);
                settle(replies.into_iter().zip(outcomes));
            }
            Err(error) => {
                let why = error.to_string();
                self.fail(error);
                settle(
                    replies
                        .into_iter()
                        .map(|reply| (reply, Err(AppendError::Failing(why.clone())))),
                );
            }
        }
    }

    fn set_aside(&mut self, position: u64, bytes: &[u8]) -> Result<(), SpoolError> {
        if self.head.is_none() {
            return Err(self.reopening());
        }
        let result = with_store(&self.shared, |store| {
            store.write(|txn| store::put_stuck(txn, position, bytes))
        });
        match result {
            Ok(stuck) => {
                self.shared.view().stuck = stuck;
                Ok(())
            }
            Err(error) => {
                let answer = SpoolError::Disk {
                    path: self.shared.path.clone(),
                    what: error.to_string(),
                };
                self.fail(error);
                Err(answer)
            }
        }
    }

    fn resend(&mut self, since_ms: i64) -> Result<Resent, SpoolError> {
        let Some(head) = self.head else {
            return Err(self.reopening());
        };
        let result = with_store(&self.shared, |store| {
            store.write(|txn| {
                let mut head = head;
                let mark = self.shared.mark().position;
                store::log_delivery(txn, now_ms(), mark)?;
                let oldest = store::oldest_kept(txn, &head)?;
                let from = store::delivered_by(txn, since_ms, false)?
                    .unwrap_or(oldest)
                    .max(oldest)
                    .min(mark);
                store::mark(txn, &mut head, from)?;
                store::put_head(txn, &head)?;
                Ok((head, from))
            })
        });
        match result {
            Ok((head, from)) => {
                let records = {
                    let mut mark = self.shared.mark();
                    let records = mark.position.saturating_sub(from);
                    *mark = Mark {
                        epoch: mark.epoch + 1,
                        position: from,
                    };
                    records
                };
                self.publish(head);
                Ok(Resent { from, records })
            }
            Err(error) => {
                let answer = SpoolError::Disk {
                    path: self.shared.path.clone(),
                    what: error.to_string(),
                };
                self.fail(error);
                Err(answer)
            }
        }
    }

    fn reopening(&self) -> SpoolError {
        SpoolError::Disk {
            path: self.shared.path.clone(),
            what: "is being reopened after a failure".to_owned(),
        }
    }

    fn close(mut self) {
        if self.head.is_some() {
            self.tick();
        }
        self.shared.view().closed = true;
        self.shared.committed.notify_all();
        drop(self.take_store());
    }

    pub(super) fn publish(&mut self, head: Head) {
        self.head = Some(head);
        let mut view = self.shared.view();
        view.head = head;
        view.commits += 1;
        drop(view);
        self.shared.committed.notify_all();
    }
}

/// The first request, what else waits, and the command of another kind that ended the search.
fn gather(first: Append, commands: &Receiver<Command>) -> (Vec<Append>, Option<Command>) {
    let mut records = first.records.len();
    let mut group = vec![first];
    while records < MAX_GROUP_RECORDS {
        match commands.try_recv() {
            Ok(Command::Append(append)) => {
                records += append.records.len();
                group.push(append);
            }
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}

fn settle(replies: impl Iterator<Item = Reply>) {
    for (reply, outcome) in replies {
        answer(reply.send(outcome).is_err());
    }
}

/// A requester that does not wait any more was cancelled; what it asked for is done all the same.
fn answer(gone: bool) {
    if gone {
        tracing::debug!("the requester did not wait for the spool's answer");
    }
}
