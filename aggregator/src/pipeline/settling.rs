//! What settling a chunk's verdicts needs from the ledger, and the rows of what is decided thereby.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use super::{Pipeline, Prepared, Taken};
use crate::AggregatorError;
use crate::amend::Place;
use crate::dedup::Day;
use crate::ledger::{Context, later_rows, records_of};
use crate::position::{Partition, Position};
use crate::reader::{AcceptedOn, Records, Stretch, Stretches, TargetRows, pick};
use crate::settle::{Later, Moment};

impl Pipeline {
    /// Settles the verdicts of a chunk. Returns what else is decided thereby.
    pub(super) fn settle(
        &mut self,
        position: Position,
        prepared: &mut Prepared<'_>,
        now_ms: i64,
    ) -> Result<Vec<Later>, AggregatorError> {
        let partition = Partition(prepared.chunk.partition);
        self.load_days(partition, prepared)?;
        self.load_targets(partition, prepared)?;
        let moment = Moment {
            partition,
            epoch: position.epoch,
            turn: self.turn,
            now_ms,
        };
        let offsets: Vec<i64> = prepared.chunk.records().map(|it| it.offset).collect();
        let decisions = self
            .history
            .settle(moment, &offsets, &mut prepared.verdicts)?;
        crate::lock::mark(&mut prepared.verdicts, &self.reference, now_ms);
        Ok(decisions)
    }

    /// The rows of decisions made while a chunk's were; `rows` are the chunk's own.
    pub(super) fn later_rows(
        &mut self,
        partition: Partition,
        at: Place,
        decisions: &[Later],
        rows: &RecordBatch,
        now_ms: i64,
    ) -> Result<RecordBatch, AggregatorError> {
        let wanted = records_of(decisions);
        let mut records = Records::new();
        for batch in self.open.ledger_rows().chain([rows]) {
            pick(batch, partition, &wanted, &mut records)?;
        }
        if records.len() < wanted.len() {
            self.all_committed()?;
            let found = self.ledger.records(partition, &wanted, &mut records);
            self.runtime.block_on(found)?;
        }
        let context = Context {
            epoch: at.epoch,
            now_ms,
            reference: &self.reference,
        };
        let rows = later_rows(partition, at.offset, decisions, &records, context)?;
        Ok(rows)
    }

    /// Loads the days of a chunk that are not in memory, of all partitions at once: they share the files.
    fn load_days(
        &mut self,
        partition: Partition,
        prepared: &Prepared<'_>,
    ) -> Result<(), AggregatorError> {
        let mut days: Vec<Day> = Vec::new();
        let mut last = None;
        for day in self.history.days(partition, &prepared.verdicts) {
            // Most records lie on the day of the one before.
            if last != Some(day)
                && !self.history.accepted.holds(partition, day)
                && !days.contains(&day)
            {
                days.push(day);
            }
            last = Some(day);
        }
        if days.is_empty() {
            return Ok(());
        }
        // A set dropped from memory is loaded from a ledger that holds all of it; see `DedupIndex::shrink`.
        let mut found = if self.ledger_is_empty() {
            AcceptedOn::new()
        } else {
            self.runtime.block_on(self.ledger.accepted_on(&days))?
        };
        for day in days {
            for partition in self.positions.keys() {
                if !self.history.accepted.holds(*partition, day) {
                    let accepted = found.remove(&(*partition, day)).unwrap_or_default();
                    let index = &mut self.history.accepted;
                    index.load(*partition, day, accepted, self.turn);
                }
            }
        }
        Ok(())
    }

    /// Looks up what a chunk's corrections and retractions name.
    fn load_targets(
        &mut self,
        partition: Partition,
        prepared: &Prepared<'_>,
    ) -> Result<(), AggregatorError> {
        let wanted = self.history.targets_to_load(partition, &prepared.verdicts);
        if wanted.is_empty() {
            return Ok(());
        }
        let zone = self.reference.zone;
        let mut found = TargetRows::new(partition, &wanted, zone);
        for batch in self.open.ledger_rows() {
            found.collect(batch)?;
        }
        if !self.ledger_is_empty() {
            // What is neither open nor committed could not be found.
            self.all_committed()?;
            self.runtime
                .block_on(self.ledger.targets(zone, &mut found))?;
        }
        let found = found.finish();
        self.history.load_targets(partition, found, self.turn);
        Ok(())
    }

    /// Who waits in partitions that become ours.
    pub(super) fn load_waiting(
        &mut self,
        positions: &BTreeMap<Partition, Position>,
    ) -> Result<(), AggregatorError> {
        let mut epochs: BTreeMap<i32, Stretches> = BTreeMap::new();
        for (partition, position) in positions {
            let Some(oldest) = position.parked else {
                continue;
            };
            for epoch in oldest.epoch..=position.epoch {
                let first = epoch == oldest.epoch;
                let stretch = Stretch {
                    epoch,
                    from: if first { oldest.offset } else { i64::MIN },
                    to: i64::MAX,
                };
                let stretches = epochs.entry(epoch).or_default();
                stretches.insert(*partition, stretch);
            }
        }
        let epochs: Vec<Stretches> = epochs.into_values().collect();
        let reading = self.ledger.waiting(&epochs, self.reference.zone);
        for (partition, waiting) in self.runtime.block_on(reading)? {
            self.history.parked.park(partition, waiting);
        }
        Ok(())
    }

    /// Whether nothing can be in the ledger of any partition that is ours, so that it need not be read.
    fn ledger_is_empty(&self) -> bool {
        self.turn == 1 && self.new_partitions.len() == self.positions.len()
    }

    /// All that was sealed is in the ledger from here on.
    fn all_committed(&self) -> Result<(), AggregatorError> {
        match self.wait_for_commits() {
            Taken::Yes => Ok(()),
            // It says itself why.
            Taken::No => Err(AggregatorError::Thread("committer")),
        }
    }
}
