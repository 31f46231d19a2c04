//! The batch under way: what the next commit will hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use siji_schemas::catalogue::Catalogue;

use crate::AggregatorError;
use crate::commit::{Advance, Rows, Sealed, Tally};
use crate::consume::Chunk;
use crate::dedup::Turn;
use crate::derive::registers::statements;
use crate::derive::rollup::Rollup;
use crate::judge::{Disposition, Verdict};
use crate::ledger;
use crate::position::{Partition, Position, Step, step};
use crate::settle::Later;

/// Why offsets between two records hold no row of their own.
pub const GAP_REASON: &str =
    "no record at these offsets: control records, or records removed before they were read";

/// Rows, sums and positions so far.
#[derive(Debug)]
pub(super) struct Open {
    pub since: Instant,
    pub rows: usize,
    pub bytes: usize,
    ledger: Vec<RecordBatch>,
    moved: BTreeMap<Partition, Position>,
    rollup: Rollup,
    registers: Vec<RecordBatch>,
    tally: Tally,
    newest_ms: BTreeMap<Partition, i64>,
}

impl Open {
    pub(super) fn new(catalogue: &Arc<Catalogue>) -> Self {
        Open {
            since: Instant::now(),
            rows: 0,
            bytes: 0,
            ledger: Vec::new(),
            moved: BTreeMap::new(),
            rollup: Rollup::new(Arc::clone(catalogue)),
            registers: Vec::new(),
            tally: Tally::new(),
            newest_ms: BTreeMap::new(),
        }
    }

    /// Adds the ledger rows of a chunk of a partition that stood at `position`, and the gaps between them.
    pub(super) fn add(
        &mut self,
        chunk: &Chunk,
        rows: &RecordBatch,
        verdicts: &[Verdict<'_>],
        position: Position,
        now_ms: i64,
    ) -> Result<(), AggregatorError> {
        if self.rows == 0 {
            self.since = Instant::now();
        }
        self.rollup.add(rows)?;
        self.registers.extend(statements(rows)?);
        self.count(verdicts);
        let gaps = gaps(chunk, position.next);
        let mut from = 0;
        for gap in &gaps {
            if gap.before > from {
                self.ledger.push(rows.slice(from, gap.before - from));
                from = gap.before;
            }
            self.ledger.push(ledger::gap(
                chunk.partition,
                gap.from,
                gap.to,
                GAP_REASON,
                position.epoch,
                now_ms,
            )?);
            let offsets = u64::try_from(gap.to - gap.from + 1).unwrap_or_default();
            *self
                .tally
                .entry((Disposition::Gap.as_str(), ""))
                .or_default() += offsets;
        }
        self.ledger.push(rows.slice(from, rows.num_rows() - from));
        self.rows += rows.num_rows() + gaps.len();
        self.bytes += chunk.byte_len();
        Ok(())
    }

    /// Adds rows of decisions about earlier records, at the offset of the last record added.
    pub(super) fn add_later(
        &mut self,
        rows: RecordBatch,
        decisions: &[Later],
    ) -> Result<(), AggregatorError> {
        self.rollup.add(&rows)?;
        self.registers.extend(statements(&rows)?);
        for Later {
            disposition,
            refusal,
            ..
        } in decisions
        {
            let code = refusal.as_ref().map_or("", |refusal| refusal.code.as_str());
            let tally = self.tally.entry((disposition.as_str(), code));
            *tally.or_default() += 1;
        }
        self.rows += rows.num_rows();
        self.ledger.push(rows);
        Ok(())
    }

    /// Ledger rows so far.
    pub(super) fn ledger_rows(&self) -> impl Iterator<Item = &RecordBatch> {
        self.ledger.iter()
    }

    fn count(&mut self, verdicts: &[Verdict<'_>]) {
        let mut plain = [
            (Disposition::Accepted, 0u64),
            (Disposition::Duplicate, 0),
            (Disposition::Parked, 0),
        ];
        for verdict in verdicts {
            match (&verdict.refusal, verdict.disposition) {
                (None, disposition) => {
                    for (word, n) in &mut plain {
                        *n += u64::from(*word == disposition);
                    }
                }
                (Some(refusal), disposition) => {
                    *self
                        .tally
                        .entry((disposition.as_str(), refusal.code.as_str()))
                        .or_default() += 1;
                }
            }
        }
        for (disposition, n) in plain.into_iter().filter(|(_, n)| *n > 0) {
            *self.tally.entry((disposition.as_str(), "")).or_default() += n;
        }
    }

    /// Where a partition stands after what was added.
    pub(super) fn moved(&mut self, partition: Partition, position: Position, newest: Option<i64>) {
        self.moved.insert(partition, position);
        self.newest_ms.extend(newest.map(|ms| (partition, ms)));
    }

    pub(super) fn seal(self, turn: Turn) -> Sealed {
        let mut ledger = self.ledger;
        ledger.sort_by_key(place);
        Sealed {
            rows: Rows {
                ledger,
                rollup: self.rollup,
                registers: self.registers,
            },
            advance: Advance {
                turn,
                positions: self.moved,
                tally: self.tally,
                newest_ms: self.newest_ms,
            },
        }
    }
}

/// Offsets without a record, before a row of a chunk.
struct Gap {
    before: usize,
    from: i64,
    to: i64,
}

/// Runs of offsets without a record, before and inside a chunk.
fn gaps(chunk: &Chunk, next: Option<i64>) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut next = next;
    for (before, record) in chunk.records().enumerate() {
        if let Step::Gap { from, to } = step(next, record.offset) {
            gaps.push(Gap { before, from, to });
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
