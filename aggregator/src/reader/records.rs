//! The rows of single records, by where the records lie.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::error::ArrowError;
use futures::TryStreamExt;
use siji_lake::schema::ledger_schema;

use super::prune::outside;
use super::{LedgerReadError, LedgerReader, in_file, ints};
use crate::amend::Place;
use crate::derive::{column, text_column};
use crate::position::Partition;

/// Rows of single records of a partition, each as stored.
pub(crate) type Records = BTreeMap<Place, RecordBatch>;

impl LedgerReader {
    /// Adds the committed rows of records to `found`: those that say what was decided about a record when it came.
    pub(crate) async fn records(
        &self,
        partition: Partition,
        wanted: &HashSet<Place>,
        found: &mut Records,
    ) -> Result<(), LedgerReadError> {
        let Some(snapshot) = self.table.current().await? else {
            return Ok(());
        };
        let number = i64::from(partition.0);
        for (index, file) in snapshot.files().iter().enumerate() {
            let missing = wanted.iter().filter(|place| !found.contains_key(place));
            let mut missing = missing.map(|place| place.offset);
            let elsewhere = outside(&snapshot, "partition", index, number, number)
                || missing.all(|offset| outside(&snapshot, "offset", index, offset, offset));
            if elsewhere {
                continue;
            }
            let mut batches = std::pin::pin!(self.read(file, None).await?);
            while let Some(batch) = batches
                .try_next()
                .await
                .map_err(|source| in_file(file, source))?
            {
                pick(&batch, partition, wanted, found)?;
            }
        }
        Ok(())
    }
}

/// Adds the rows of records among ledger rows, stored ones or such that are to be.
pub(crate) fn pick(
    batch: &RecordBatch,
    partition: Partition,
    wanted: &HashSet<Place>,
    found: &mut Records,
) -> Result<(), ArrowError> {
    let partitions = ints(batch, "partition")?;
    let epochs = column(batch, "topic_epoch")?.as_primitive::<Int32Type>();
    let offsets = column(batch, "offset")?.as_primitive::<Int64Type>();
    let resolves = text_column(batch, "resolves")?;
    for row in 0..batch.num_rows() {
        let place = Place {
            epoch: epochs.value(row),
            offset: offsets.value(row),
        };
        if partitions.value(row) == partition.0
            && resolves.get(row).is_none()
            && wanted.contains(&place)
        {
            found.insert(place, stored_row(batch, row)?);
        }
    }
    Ok(())
}

/// One row by itself, with the types that columns are stored with.
fn stored_row(batch: &RecordBatch, row: usize) -> Result<RecordBatch, ArrowError> {
    let row = u32::try_from(row).map_err(|e| ArrowError::ComputeError(e.to_string()))?;
    let alone = take_record_batch(batch, &UInt32Array::from(vec![row]))?;
    let schema = ledger_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| cast(column(&alone, field.name())?, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns)
}
