//! Decoding and judging record by record: the part of the work that needs no memory of other records, on a thread of
//! its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use arrow::array::RecordBatch;
use siji_schemas::validate::Reference;

use crate::AggregatorError;
use crate::consume::{Chunk, Delivery, Feed, Next, Release};
use crate::dedup::Day;
use crate::judge::{Judge, Verdict};
use crate::position::{Partition, Position};
use crate::settle::accepted_day;

/// How long to wait for records before looking whether to stop.
const WAIT: Duration = Duration::from_millis(20);

/// A chunk with what its records say and what is to be thought of each, duplicates apart.
#[derive(Debug)]
pub struct Prepared<'r> {
    /// The records.
    pub chunk: Chunk,
    /// One row a record.
    pub events: RecordBatch,
    /// One a record.
    pub verdicts: Vec<Verdict<'r>>,
}

/// What comes from the preparing thread, in the order of the feed.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
pub(super) enum Passed<'r> {
    /// Records.
    Prepared(Prepared<'r>),
    /// See [`Delivery::Assigned`].
    Assigned(BTreeMap<Partition, Position>),
    /// See [`Delivery::Revoked`].
    Revoked(Release),
}

/// Decodes and judges one chunk.
pub fn prepare<'r>(judge: &mut Judge<'r>, chunk: Chunk) -> Result<Prepared<'r>, AggregatorError> {
    let (events, verdicts) = judge.judge(&chunk, chrono::Utc::now().timestamp_millis())?;
    Ok(Prepared {
        chunk,
        events,
        verdicts,
    })
}

/// Prepares what the feed gives until it ends, nobody takes it any more, or `stop` is set.
pub(super) fn run<'r>(
    feed: &Feed,
    reference: &'r Reference,
    partitions: i32,
    stop: &AtomicBool,
    out: &SyncSender<Passed<'r>>,
) -> Result<(), AggregatorError> {
    let mut judge = Judge::new(reference, partitions);
    while !stop.load(Ordering::Relaxed) {
        let passed = match feed.next(WAIT) {
            Next::Delivery(Delivery::Chunk(chunk)) => Passed::Prepared(prepare(&mut judge, chunk)?),
            Next::Delivery(Delivery::Assigned(positions)) => Passed::Assigned(positions),
            Next::Delivery(Delivery::Revoked(release)) => Passed::Revoked(release),
            Next::Nothing => continue,
            Next::Ended => return Ok(()),
        };
        if out.send(passed).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

impl<'r> Prepared<'r> {
    /// Drops records before `offset`: those in the ledger already.
    pub fn drop_before(&mut self, offset: i64) {
        let seen = self
            .chunk
            .records()
            .take_while(|record| record.offset < offset)
            .count();
        if seen > 0 {
            *self = self.split_off(seen);
        }
    }

    /// The records from `row` on; those before stay.
    pub fn split_off(&mut self, row: usize) -> Prepared<'r> {
        let rest = Prepared {
            chunk: self.chunk.split_off(row),
            events: self.events.slice(row, self.events.num_rows() - row),
            verdicts: self.verdicts.split_off(row),
        };
        self.events = self.events.slice(0, row);
        rest
    }

    /// The row at which the days of accepted events that `held` does not know become more than `limit`.
    pub fn row_beyond_days(
        &self,
        limit: usize,
        mut held: impl FnMut(Day) -> bool,
    ) -> Option<usize> {
        let mut new = Vec::new();
        let mut last = None;
        for (row, verdict) in self.verdicts.iter().enumerate() {
            let Some(day) = accepted_day(verdict) else {
                continue;
            };
            // Most records lie on the day of the one before.
            if last.replace(day) == Some(day) || new.contains(&day) || held(day) {
                continue;
            }
            if new.len() == limit {
                return Some(row);
            }
            new.push(day);
        }
        None
    }
}
