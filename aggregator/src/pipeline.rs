//! From chunks of records to sealed batches: the thread that decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use siji_schemas::arrow::EventColumns;
use siji_schemas::catalogue::Catalogue;
use siji_schemas::validate::Reference;
use tokio::runtime::Handle;

use crate::AggregatorError;
use crate::commit::{Sealed, Tally};
use crate::config::AggregatorConfig;
use crate::consume::{Chunk, Feed, Next};
use crate::decode::Decode;
use crate::dedup::{DedupIndex, Turn};
use crate::derive::registers::statements;
use crate::derive::rollup::Rollup;
use crate::judge::{Disposition, days_needed, judge_duplicates, validate_chunk};
use crate::ledger::{self, Context};
use crate::position::{LastRecord, Partition, Position, Step, record_check, step};
use crate::reader::LedgerReader;

/// Why offsets between two records hold no row of their own.
pub const GAP_REASON: &str =
    "no record at these offsets: control records, or records removed before they were read";

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
}

/// Decides, in order of arrival, and seals batches.
pub struct Pipeline {
    config: AggregatorConfig,
    reference: Arc<Reference>,
    catalogue: Arc<Catalogue>,
    partitions: i32,
    ledger: LedgerReader,
    runtime: Handle,
    gauges: Arc<Gauges>,
    decode: Decode,
    dedup: DedupIndex,
    positions: BTreeMap<Partition, Position>,
    /// Partitions of which the ledger held nothing at the start: their days need no loading.
    new_partitions: bool,
    turn: Turn,
    open: Open,
}

/// The batch under way.
struct Open {
    since: Instant,
    rows: usize,
    bytes: usize,
    ledger: Vec<RecordBatch>,
    moved: BTreeMap<Partition, Position>,
    rollup: Rollup,
    registers: Vec<RecordBatch>,
    tally: Tally,
    newest_ms: BTreeMap<Partition, i64>,
}

impl Open {
    fn new(catalogue: &Arc<Catalogue>) -> Result<Self, AggregatorError> {
        Ok(Open {
            since: Instant::now(),
            rows: 0,
            bytes: 0,
            ledger: Vec::new(),
            moved: BTreeMap::new(),
            rollup: Rollup::new(Arc::clone(catalogue))?,
            registers: Vec::new(),
            tally: Tally::new(),
            newest_ms: BTreeMap::new(),
        })
    }
}

impl Pipeline {
    /// A pipeline that goes on at `positions`.
    pub fn new(
        config: AggregatorConfig,
        reference: Arc<Reference>,
        partitions: i32,
        positions: BTreeMap<Partition, Position>,
        ledger: LedgerReader,
        gauges: Arc<Gauges>,
        runtime: Handle,
    ) -> Result<Self, AggregatorError> {
        let catalogue = Arc::new(reference.catalogue.clone());
        Ok(Self {
            decode: Decode::new()?,
            dedup: DedupIndex::new(config.dedup_bytes),
            new_partitions: positions.values().all(|position| position.next.is_none()),
            open: Open::new(&catalogue)?,
            turn: 1,
            config,
            reference,
            catalogue,
            partitions,
            ledger,
            runtime,
            gauges,
            positions,
        })
    }

    /// Works until the feed ends (what is open is sealed then) or nobody takes batches any more. Must run on a thread of
    /// its own: it blocks.
    pub fn run(mut self, feed: &Feed, batches: &SyncSender<Sealed>) -> Result<(), AggregatorError> {
        loop {
            let ended = match feed.next(self.patience()) {
                Next::Chunk(chunk) => {
                    self.take(chunk)?;
                    false
                }
                Next::Nothing => false,
                Next::Ended => true,
            };
            let full = self.open.rows >= self.config.batch_rows
                || self.open.bytes >= self.config.batch_bytes;
            let due = self.open.since.elapsed() >= self.config.commit_interval();
            let idle = self.gauges.in_flight.load(Ordering::Acquire) == 0;
            if self.open.rows > 0 && (full || ended || (due && idle)) {
                let sealed = self.seal()?;
                self.gauges.in_flight.fetch_add(1, Ordering::AcqRel);
                if batches.send(sealed).is_err() {
                    // The committer gave up and says why itself.
                    return Ok(());
                }
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

    /// Decides about the records of a chunk.
    pub fn take(&mut self, mut chunk: Chunk) -> Result<(), AggregatorError> {
        let partition = Partition(chunk.partition);
        let Some(position) = self.positions.get(&partition).copied() else {
            return Ok(());
        };
        if let Some(next) = position.next {
            chunk.drop_before(next);
        }
        if chunk.is_empty() {
            return Ok(());
        }
        if self.open.rows == 0 {
            self.open.since = Instant::now();
        }
        let now_ms = chrono::Utc::now().timestamp_millis();
        let context = Context {
            epoch: position.epoch,
            now_ms,
            reference: &self.reference,
        };
        let decoded = self.decode.decode(&chunk)?;
        let columns = EventColumns::of(&decoded.events)?;
        let mut verdicts = validate_chunk(
            &chunk,
            &decoded,
            &columns,
            &self.reference,
            self.partitions,
            now_ms,
        );
        for day in days_needed(&verdicts) {
            if !self.dedup.holds(partition, day) {
                load_day(
                    &mut self.dedup,
                    &self.ledger,
                    &self.runtime,
                    &self.positions,
                    self.new_partitions,
                    day,
                    self.turn,
                )?;
            }
        }
        judge_duplicates(chunk.partition, &mut verdicts, &mut self.dedup, self.turn)?;
        let rows = ledger::rows(&chunk, &decoded.events, &verdicts, context)?;
        self.open.rollup.add(&rows)?;
        self.open.registers.extend(statements(&rows)?);
        for verdict in &verdicts {
            let code = verdict
                .refusal
                .as_ref()
                .map_or("", |refusal| refusal.code.as_str());
            *self
                .open
                .tally
                .entry((verdict.disposition.as_str(), code))
                .or_default() += 1;
        }
        let gaps = gaps(&chunk, position.next);
        for (from, to) in &gaps {
            self.open.ledger.push(ledger::gap(
                chunk.partition,
                *from,
                *to,
                GAP_REASON,
                position.epoch,
                now_ms,
            )?);
            *self
                .open
                .tally
                .entry((Disposition::Gap.as_str(), ""))
                .or_default() += (to - from + 1) as u64;
        }
        self.open.rows += rows.num_rows() + gaps.len();
        self.open.bytes += chunk.byte_len();
        self.open.ledger.push(rows);
        self.advance(partition, position, &chunk);
        self.gauges
            .open_rows
            .store(self.open.rows as i64, Ordering::Relaxed);
        Ok(())
    }

    fn advance(&mut self, partition: Partition, position: Position, chunk: &Chunk) {
        let Some(last) = chunk.len().checked_sub(1).map(|row| chunk.get(row)) else {
            return;
        };
        let check = record_check(last.timestamp_ms, last.key, last.value);
        let moved = Position {
            next: Some(last.offset + 1),
            last: Some(LastRecord {
                offset: last.offset,
                check,
            }),
            ..position
        };
        self.positions.insert(partition, moved);
        self.open.moved.insert(partition, moved);
        self.open
            .newest_ms
            .extend(last.timestamp_ms.map(|ms| (partition, ms)));
    }

    fn seal(&mut self) -> Result<Sealed, AggregatorError> {
        let open = std::mem::replace(&mut self.open, Open::new(&self.catalogue)?);
        let mut ledger = open.ledger;
        ledger.sort_by_key(place);
        let sealed = Sealed {
            turn: self.turn,
            ledger,
            positions: open.moved,
            rollup: open.rollup.finish()?,
            registers: open.registers,
            tally: open.tally,
            newest_ms: open.newest_ms,
        };
        self.turn += 1;
        self.dedup
            .shrink(self.gauges.committed.load(Ordering::Acquire));
        self.gauges
            .dedup_bytes
            .store(self.dedup.bytes() as i64, Ordering::Relaxed);
        self.gauges.open_rows.store(0, Ordering::Relaxed);
        Ok(sealed)
    }
}

/// Loads a day of all partitions at once: they share the files.
fn load_day(
    dedup: &mut DedupIndex,
    ledger: &LedgerReader,
    runtime: &Handle,
    positions: &BTreeMap<Partition, Position>,
    new_partitions: bool,
    day: i32,
    turn: Turn,
) -> Result<(), AggregatorError> {
    // A set dropped from memory is loaded from a ledger that holds all of it; see `DedupIndex::shrink`.
    let mut found = if new_partitions && turn == 1 {
        Default::default()
    } else {
        runtime.block_on(ledger.accepted_on(day))?
    };
    for partition in positions
        .keys()
        .filter(|partition| !dedup.holds(**partition, day))
        .copied()
        .collect::<Vec<_>>()
    {
        dedup.load(
            partition,
            day,
            found.remove(&partition).unwrap_or_default(),
            turn,
        );
    }
    Ok(())
}

/// Runs of offsets without a record, before and inside a chunk.
fn gaps(chunk: &Chunk, next: Option<i64>) -> Vec<(i64, i64)> {
    let mut gaps = Vec::new();
    let mut next = next;
    for record in chunk.records() {
        if let Step::Gap { from, to } = step(next, record.offset) {
            gaps.push((from, to));
        }
        next = Some(record.offset + 1);
    }
    gaps
}

/// Partition and first offset of a ledger batch: its place in the file.
fn place(batch: &RecordBatch) -> (i32, i64) {
    use arrow::array::AsArray;
    use arrow::datatypes::{Int32Type, Int64Type};
    let partition = batch.column(1).as_primitive::<Int32Type>().value(0);
    (
        partition,
        batch.column(2).as_primitive::<Int64Type>().value(0),
    )
}
