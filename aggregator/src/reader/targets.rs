//! Events that corrections and retractions name, as the ledger has them: which version of each counts.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use futures::{StreamExt, TryStreamExt, stream};
use siji_schemas::area::{Day as LocalDay, Zone};
use siji_schemas::body::id_hash;

use super::prune::{may_hold_day, may_hold_instant};
use super::{FILES_AT_ONCE, LedgerReadError, LedgerReader, ints};
use crate::amend::{Op, Place, Rank, Target};
use crate::dedup::Day;
use crate::derive::{column, text_column};
use crate::judge::Disposition;
use crate::ledger::place_of;
use crate::position::Partition;
use crate::settle::Known;

/// Columns that tell of targets.
const COLUMNS: [&str; 12] = [
    "topic_epoch",
    "partition",
    "offset",
    "disposition",
    "resolves",
    "local_date",
    "event_id",
    "op",
    "target_event_id",
    "target_occurred_at",
    "recorded_at",
    "home_area_code",
];

impl LedgerReader {
    /// Gives the committed rows that tell of some events of a partition, and of what amended them, to `found`.
    pub(crate) async fn targets(
        &self,
        zone: Zone,
        found: &mut TargetRows<'_>,
    ) -> Result<(), LedgerReadError> {
        let Some(snapshot) = self.table.current().await? else {
            return Ok(());
        };
        let days: HashSet<Day> = found.wanted.iter().map(|(day, _)| *day).collect();
        let may_hold = |file: usize| {
            days.iter().any(|day| {
                let (from, to) = (
                    zone.start_of(LocalDay(*day)).saturating_mul(1000),
                    zone.start_of(LocalDay(day.saturating_add(1)))
                        .saturating_mul(1000)
                        - 1,
                );
                may_hold_day(&snapshot, file, *day)
                    || may_hold_instant(&snapshot, "target_occurred_at", file, from, to)
            })
        };
        let files = snapshot.files().iter().enumerate();
        let mut read = stream::iter(
            files
                .filter(|(index, _)| may_hold(*index))
                .map(|(_, file)| self.read_columns(file, &COLUMNS)),
        )
        .flatten_unordered(FILES_AT_ONCE);
        while let Some(batch) = read.try_next().await? {
            found.collect(&batch)?;
        }
        Ok(())
    }
}

/// Collects what ledger rows tell of some events.
pub(crate) struct TargetRows<'w> {
    partition: Partition,
    wanted: &'w HashSet<(Day, u64)>,
    zone: Zone,
    /// Home area of the event; its record, unless it is an amendment itself.
    events: HashMap<(Day, u64), (Box<str>, Option<Place>)>,
    amendments: Vec<((Day, u64), Op, Rank, Place)>,
}

impl<'w> TargetRows<'w> {
    /// Nothing yet, of these events.
    pub(crate) fn new(
        partition: Partition,
        wanted: &'w HashSet<(Day, u64)>,
        zone: Zone,
    ) -> TargetRows<'w> {
        TargetRows {
            partition,
            wanted,
            zone,
            events: HashMap::new(),
            amendments: Vec::new(),
        }
    }

    /// Looks through ledger rows, stored ones or such that are to be.
    pub(crate) fn collect(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let partitions = ints(batch, "partition")?;
        let epochs = column(batch, "topic_epoch")?.as_primitive::<Int32Type>();
        let offsets = column(batch, "offset")?.as_primitive::<Int64Type>();
        let dispositions = text_column(batch, "disposition")?;
        let resolves = text_column(batch, "resolves")?;
        let days = column(batch, "local_date")?.as_primitive::<Date32Type>();
        let ids = text_column(batch, "event_id")?;
        let ops = text_column(batch, "op")?;
        let target_ids = text_column(batch, "target_event_id")?;
        let target_times = instants(batch, "target_occurred_at")?;
        let recorded = instants(batch, "recorded_at")?;
        let homes = text_column(batch, "home_area_code")?;
        for row in 0..batch.num_rows() {
            if partitions.value(row) != self.partition.0
                || dispositions.get(row) != Some(Disposition::Accepted.as_str())
            {
                continue;
            }
            let (Some(id), Some(op)) = (ids.get(row), ops.get(row).and_then(Op::parse)) else {
                continue;
            };
            let record = Place {
                epoch: epochs.value(row),
                offset: offsets.value(row),
            };
            let record = resolves.get(row).and_then(place_of).unwrap_or(record);
            let event = (days.value(row), id_hash(id));
            if days.is_valid(row) && self.wanted.contains(&event) {
                let home = homes.get(row).unwrap_or_default().into();
                let asserted = (op == Op::Assert).then_some(record);
                self.events.insert(event, (home, asserted));
            }
            if op != Op::Assert
                && let Some(target) = target_ids.get(row)
                && target_times.is_valid(row)
            {
                let day = self.zone.day_of(target_times.value(row).div_euclid(1000)).0;
                let target = (day, id_hash(target));
                if self.wanted.contains(&target) {
                    let rank = Rank::new(recorded.value(row).div_euclid(1000), id);
                    self.amendments.push((target, op, rank, record));
                }
            }
        }
        Ok(())
    }

    /// The events that were found, as they stand.
    pub(crate) fn finish(self) -> HashMap<(Day, u64), Known> {
        let events = self.events.into_iter().map(|(event, (home, asserted))| {
            let target = asserted.map(Target::original);
            (event, Known { home, target })
        });
        let mut known: HashMap<_, _> = events.collect();
        for (event, op, rank, record) in self.amendments {
            if let Some(Known {
                target: Some(target),
                ..
            }) = known.get_mut(&event)
            {
                // What it reverses has its row already.
                target.amend(op, rank, record);
            }
        }
        known
    }
}

fn instants<'b>(
    batch: &'b RecordBatch,
    name: &str,
) -> Result<&'b arrow::array::TimestampMicrosecondArray, ArrowError> {
    Ok(column(batch, name)?.as_primitive::<TimestampMicrosecondType>())
}
