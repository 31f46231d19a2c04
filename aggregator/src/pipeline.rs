//! From chunks of records to sealed batches: the threads that decide.
//!
//! One decodes and judges records by themselves ([`prepare`]), the other judges duplicates in order of arrival, keeps
//! ledger rows and partial sums, and seals batches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use siji_schemas::catalogue::Catalogue;
use siji_schemas::validate::Reference;
use tokio::runtime::Handle;

use crate::AggregatorError;
use crate::amend::Place;
use crate::commit::Sealed;
use crate::config::AggregatorConfig;
use crate::consume::{Chunk, Feed, Release};
use crate::dedup::Turn;
use crate::ledger::{Context, LedgerRows};
use crate::position::{LastRecord, Partition, Position, record_check};
use crate::reader::LedgerReader;
use crate::settle::History;

mod open;
mod prepare;
mod settling;

pub use open::GAP_REASON;
use open::Open;
use prepare::Passed;
pub use prepare::{Prepared, prepare};

/// Prepared chunks that may wait.
const PREPARED: usize = 4;
/// Days loaded at once; beyond, a chunk is split, so that records of all times cannot fill the memory.
const DAYS_AT_ONCE: usize = 32;

/// What the pipeline shares with whoever watches and commits.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Last turn whose batch is in the lake.
    pub committed: AtomicU64,
    /// Sealed batches that are not in the lake yet.
    pub in_flight: AtomicI64,
    /// Rows in the open batch.
    pub open_rows: AtomicI64,
    /// Memory of the dedup index.
    pub dedup_bytes: AtomicI64,
    /// Corrections and retractions whose target has not arrived.
    pub parked: AtomicI64,
    /// Whether nobody commits any more.
    pub commits_ended: AtomicBool,
    /// Since when sealed batches wait without one having been committed.
    waiting: Mutex<Option<Instant>>,
}

impl Gauges {
    fn sealed(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.waiting().get_or_insert_with(Instant::now);
    }

    /// A batch is in the lake.
    pub fn left(&self) {
        let left = self.in_flight.fetch_sub(1, Ordering::AcqRel);
        *self.waiting() = (left > 1).then(Instant::now);
    }

    /// Since when sealed batches wait without one having been committed.
    pub fn waiting_since(&self) -> Option<Instant> {
        *self.waiting()
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decides, in order of arrival, and seals batches.
pub struct Pipeline {
    config: AggregatorConfig,
    reference: Arc<Reference>,
    catalogue: Arc<Catalogue>,
    rows: LedgerRows,
    partitions: i32,
    ledger: LedgerReader,
    runtime: Handle,
    gauges: Arc<Gauges>,
    history: History,
    /// Of the partitions that are ours.
    positions: BTreeMap<Partition, Position>,
    /// Those of them that the ledger held nothing of when they were assigned.
    new_partitions: BTreeSet<Partition>,
    turn: Turn,
    open: Open,
}

/// What the committer is to do, in order.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Work<B> {
    /// Commit this.
    Batch(B),
    /// These partitions are ours from now on.
    Assigned(BTreeMap<Partition, Position>),
    /// These partitions are not, and somebody waits to be told that all before is committed.
    Release(Release),
}

/// Whether somebody takes batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    /// The committer gave up and says why itself.
    No,
}

impl Pipeline {
    /// A pipeline of a topic with so many partitions; which of them are ours comes with the feed.
    pub fn new(
        config: AggregatorConfig,
        reference: Arc<Reference>,
        partitions: i32,
        ledger: LedgerReader,
        gauges: Arc<Gauges>,
        runtime: Handle,
    ) -> Self {
        let catalogue = Arc::new(reference.catalogue.clone());
        Self {
            history: History::new(
                config.dedup_bytes,
                config.parked_events,
                config.park_wait_ms(),
            ),
            open: Open::new(&catalogue),
            turn: 1,
            rows: LedgerRows::new(&reference),
            config,
            reference,
            catalogue,
            partitions,
            ledger,
            runtime,
            gauges,
            positions: BTreeMap::new(),
            new_partitions: BTreeSet::new(),
        }
    }

    /// Works until the feed ends (what is open is sealed then) or nobody takes batches any more. Must run on a thread of
    /// its own: it blocks.
    pub fn run(
        mut self,
        feed: Feed,
        work: &SyncSender<Work<Sealed>>,
    ) -> Result<(), AggregatorError> {
        let reference = Arc::clone(&self.reference);
        let (stop, partitions) = (AtomicBool::new(false), self.partitions);
        std::thread::scope(|scope| {
            let (sender, prepared) = sync_channel(PREPARED);
            let (stop, reference) = (&stop, &*reference);
            let preparing = std::thread::Builder::new()
                .name("siji-judge".to_owned())
                .spawn_scoped(scope, move || {
                    prepare::run(&feed, reference, partitions, stop, &sender)
                })
                .map_err(|_| AggregatorError::Thread("judge"))?;
            let decided = self.decide(&prepared, work);
            stop.store(true, Ordering::Relaxed);
            drop(prepared);
            let prepared = preparing
                .join()
                .map_err(|_| AggregatorError::Thread("judge"))?;
            decided.and(prepared)
        })
    }

    fn decide(
        &mut self,
        prepared: &Receiver<Passed<'_>>,
        work: &SyncSender<Work<Sealed>>,
    ) -> Result<(), AggregatorError> {
        loop {
            let ended = match prepared.recv_timeout(self.patience()) {
                Ok(passed) => {
                    let taken = match passed {
                        Passed::Prepared(prepared) => self.take(prepared, work)?,
                        Passed::Assigned(positions) => self.assign(positions, work)?,
                        Passed::Revoked(release) => self.release(release, work),
                    };
                    if taken == Taken::No {
                        return Ok(());
                    }
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            let full = self.open.rows >= self.config.batch_rows
                || self.open.bytes >= self.config.batch_bytes;
            let due = self.open.since.elapsed() >= self.config.commit_interval();
            let idle = self.gauges.in_flight.load(Ordering::Acquire) == 0;
            if (full || ended || (due && idle)) && self.seal(work) == Taken::No {
                return Ok(());
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// How long to wait for records: until the open batch is due, or a short while.
    fn patience(&self) -> Duration {
        let tick = Duration::from_millis(20);
        if self.open.rows == 0 {
            return tick;
        }
        self.config
            .commit_interval()
            .saturating_sub(self.open.since.elapsed())
            .clamp(Duration::from_millis(1), tick)
    }

    /// Partitions are ours from here on.
    fn assign(
        &mut self,
        positions: BTreeMap<Partition, Position>,
        work: &SyncSender<Work<Sealed>>,
    ) -> Result<Taken, AggregatorError> {
        for (partition, position) in &positions {
            // Others may have accepted events of it since it was ours.
            self.history.forget(*partition);
            self.new_partitions.remove(partition);
            if position.next.is_none() {
                self.new_partitions.insert(*partition);
            }
            self.positions.insert(*partition, *position);
        }
        self.load_waiting(&positions)?;
        Ok(hand_on(work, Work::Assigned(positions)))
    }

    /// Partitions go to somebody else: what is open is committed first.
    fn release(&mut self, release: Release, work: &SyncSender<Work<Sealed>>) -> Taken {
        for partition in &release.partitions {
            self.positions.remove(partition);
            self.new_partitions.remove(partition);
            self.history.forget(*partition);
        }
        match self.seal(work) {
            Taken::Yes => hand_on(work, Work::Release(release)),
            Taken::No => Taken::No,
        }
    }

    /// Decides about the records of a chunk, in parts if they lie on too many days.
    fn take(
        &mut self,
        mut prepared: Prepared<'_>,
        work: &SyncSender<Work<Sealed>>,
    ) -> Result<Taken, AggregatorError> {
        let partition = Partition(prepared.chunk.partition);
        let Some(position) = self.positions.get(&partition) else {
            return Ok(Taken::Yes);
        };
        if let Some(next) = position.next {
            prepared.drop_before(next);
        }
        loop {
            let beyond = prepared.row_beyond_days(DAYS_AT_ONCE, |day| {
                self.history.accepted.holds(partition, day)
            });
            let rest = beyond.map(|row| prepared.split_off(row));
            if !prepared.chunk.is_empty() {
                self.add(partition, prepared)?;
            }
            if self.history.accepted.bytes() > self.config.dedup_bytes
                && self.make_room(work) == Taken::No
            {
                return Ok(Taken::No);
            }
            match rest {
                Some(rest) => prepared = rest,
                None => return Ok(Taken::Yes),
            }
        }
    }

    fn add(
        &mut self,
        partition: Partition,
        mut prepared: Prepared<'_>,
    ) -> Result<(), AggregatorError> {
        let Some(position) = self.positions.get(&partition).copied() else {
            return Ok(());
        };
        let now_ms = chrono::Utc::now().timestamp_millis();
        let decisions = self.settle(position, &mut prepared, now_ms)?;
        let Prepared {
            chunk,
            events,
            verdicts,
        } = prepared;
        let context = Context {
            epoch: position.epoch,
            now_ms,
            reference: &self.reference,
        };
        let rows = self.rows.rows(&chunk, &events, &verdicts, context)?;
        let Some((moved, newest)) = after(position, &chunk) else {
            return Ok(());
        };
        let later = match (decisions.as_slice(), moved.last) {
            (decisions @ [_, ..], Some(last)) => {
                let at = Place {
                    epoch: position.epoch,
                    offset: last.offset,
                };
                Some(self.later_rows(partition, at, decisions, &rows, now_ms)?)
            }
            _ => None,
        };
        self.open.add(&chunk, &rows, &verdicts, position, now_ms)?;
        if let Some(later) = later {
            self.open.add_later(later, &decisions)?;
        }
        crate::trace::judged(partition, moved.next.unwrap_or(0));
        let moved = Position {
            parked: self.history.parked.oldest(partition),
            ..moved
        };
        self.positions.insert(partition, moved);
        self.open.moved(partition, moved, newest);
        self.gauges
            .open_rows
            .store(self.open.rows as i64, Ordering::Relaxed);
        Ok(())
    }

    /// Commits what is open and forgets days until the index is under its cap.
    fn make_room(&mut self, work: &SyncSender<Work<Sealed>>) -> Taken {
        if self.seal(work) == Taken::No {
            return Taken::No;
        }
        let committed = self.wait_for_commits();
        if committed == Taken::Yes {
            self.shrink();
        }
        committed
    }

    /// Waits until all sealed batches are committed.
    fn wait_for_commits(&self) -> Taken {
        while self.gauges.in_flight.load(Ordering::Acquire) > 0 {
            if self.gauges.commits_ended.load(Ordering::Acquire) {
                return Taken::No;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Taken::Yes
    }

    fn seal(&mut self, work: &SyncSender<Work<Sealed>>) -> Taken {
        if self.open.rows == 0 {
            return Taken::Yes;
        }
        let open = std::mem::replace(&mut self.open, Open::new(&self.catalogue));
        let sealed = open.seal(self.turn);
        crate::trace::sealed();
        self.turn += 1;
        self.shrink();
        self.gauges.open_rows.store(0, Ordering::Relaxed);
        self.gauges.sealed();
        hand_on(work, Work::Batch(sealed))
    }

    fn shrink(&mut self) {
        self.history
            .shrink(self.gauges.committed.load(Ordering::Acquire));
        let gauges = &self.gauges;
        let (bytes, parked) = (self.history.accepted.bytes(), self.history.parked.len());
        gauges.dedup_bytes.store(bytes as i64, Ordering::Relaxed);
        gauges.parked.store(parked as i64, Ordering::Relaxed);
    }
}

fn hand_on(work: &SyncSender<Work<Sealed>>, next: Work<Sealed>) -> Taken {
    match work.send(next) {
        Ok(()) => Taken::Yes,
        Err(_) => Taken::No,
    }
}

/// Where a partition stands after a chunk, and the broker's time of its last record.
fn after(position: Position, chunk: &Chunk) -> Option<(Position, Option<i64>)> {
    let last = chunk.len().checked_sub(1).map(|row| chunk.get(row))?;
    let check = record_check(last.timestamp_ms, last.key, last.value);
    let moved = Position {
        next: Some(last.offset + 1),
        last: Some(LastRecord {
            offset: last.offset,
            check,
        }),
        ..position
    };
    Some((moved, last.timestamp_ms))
}

#[cfg(test)]
mod tests;
