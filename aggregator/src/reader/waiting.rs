//! Who waits for a target, as the ledger has it: read by whoever takes a partition over.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use siji_lake::LakeError;
use siji_schemas::area::Zone;
use siji_schemas::body::id_hash;

use super::{LedgerReader, Stretches, ints};
use crate::amend::{Amends, Op, Place, Rank};
use crate::derive::{column, text_column};
use crate::judge::Disposition;
use crate::ledger::place_of;
use crate::parked::Waiting;
use crate::position::Partition;

impl LedgerReader {
    /// Who still waits among the records of some stretches, by life of the topic, which reach to where the ledger
    /// stands.
    pub(crate) async fn waiting(
        &self,
        epochs: &[Stretches],
        zone: Zone,
    ) -> Result<Vec<(Partition, Waiting)>, LakeError> {
        let mut parked = BTreeMap::new();
        let mut resolved = HashSet::new();
        for stretches in epochs {
            self.scan(stretches, async |batch: RecordBatch| {
                collect(&batch, zone, &mut parked, &mut resolved)?;
                Ok(())
            })
            .await?;
        }
        parked.retain(|place, _| !resolved.contains(place));
        Ok(parked
            .into_iter()
            .map(|((partition, _), waiting)| (partition, waiting))
            .collect())
    }
}

fn collect(
    batch: &RecordBatch,
    zone: Zone,
    parked: &mut BTreeMap<(Partition, Place), Waiting>,
    resolved: &mut HashSet<(Partition, Place)>,
) -> Result<(), ArrowError> {
    let dispositions = text_column(batch, "disposition")?;
    let resolves = text_column(batch, "resolves")?;
    let partitions = ints(batch, "partition")?;
    let epochs = column(batch, "topic_epoch")?.as_primitive::<Int32Type>();
    let offsets = column(batch, "offset")?.as_primitive::<Int64Type>();
    let days = column(batch, "local_date")?.as_primitive::<Date32Type>();
    let bodies = column(batch, "body_hash")?.as_primitive::<Int64Type>();
    let instants = |name| -> Result<_, ArrowError> {
        Ok(column(batch, name)?.as_primitive::<TimestampMicrosecondType>())
    };
    let (ingested, recorded, target_times) = (
        instants("ingested_at")?,
        instants("recorded_at")?,
        instants("target_occurred_at")?,
    );
    let (ids, ops) = (text_column(batch, "event_id")?, text_column(batch, "op")?);
    let targets = text_column(batch, "target_event_id")?;
    let homes = text_column(batch, "home_area_code")?;
    for row in 0..batch.num_rows() {
        let partition = Partition(partitions.value(row));
        if let Some(place) = resolves.get(row).and_then(place_of) {
            resolved.insert((partition, place));
            continue;
        }
        let op = ops.get(row).and_then(Op::parse);
        let (Some(Disposition::PARKED), Some(op), Some(id), Some(target)) =
            (dispositions.get(row), op, ids.get(row), targets.get(row))
        else {
            continue;
        };
        let place = Place {
            epoch: epochs.value(row),
            offset: offsets.value(row),
        };
        let amends = Amends {
            op,
            target_id: id_hash(target),
            target_day: zone.day_of(target_times.value(row).div_euclid(1000)).0,
            rank: Rank::new(recorded.value(row).div_euclid(1000), id),
        };
        let waiting = Waiting {
            place,
            since_ms: ingested.value(row).div_euclid(1000),
            day: days.value(row),
            id: id_hash(id),
            body: bodies.value(row),
            home: homes.get(row).unwrap_or_default().into(),
            amends: Box::new(amends),
        };
        parked.insert((partition, place), waiting);
    }
    Ok(())
}
