//! Reading the ledger back: which events were accepted on a day, and the rows between two offsets.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Date32Type, Int32Type, Int64Type};
use arrow::error::ArrowError;
use futures::TryStreamExt;
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use siji_lake::datafile::DataFileReader;
use siji_lake::snapshot::{DataFile, ReadError, ReaderOptions, Snapshot, TableReader};
use siji_lake::{Lake, LakeError};
use siji_schemas::body::id_hash;

use crate::dedup::Day;
use crate::derive::column;
use crate::judge::Disposition;
use crate::position::Partition;

/// Why the ledger could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerReadError {
    /// Its log.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// One of its files.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: parquet::errors::ParquetError,
    },
    /// A file without the expected columns.
    #[error("unexpected ledger columns: {0}")]
    Columns(#[from] ArrowError),
}

impl From<LedgerReadError> for LakeError {
    fn from(error: LedgerReadError) -> Self {
        LakeError::Damaged {
            table: "ledger".to_owned(),
            reason: error.to_string(),
        }
    }
}

/// The reading side of the ledger.
#[derive(Debug)]
pub struct LedgerReader {
    table: TableReader,
    store: Arc<dyn ObjectStore>,
}

impl LedgerReader {
    /// A reader that sees every commit at once.
    pub fn open(lake: &Lake) -> Result<Self, LedgerReadError> {
        let options = ReaderOptions {
            refresh_interval: std::time::Duration::ZERO,
            ..ReaderOptions::default()
        };
        let table = TableReader::open(lake.root_store(), lake.table_url("ledger"), options)?;
        Ok(Self {
            table,
            store: lake.root_store(),
        })
    }

    /// (id hash, body hash) of every event accepted on a local day, by partition.
    pub async fn accepted_on(
        &self,
        day: Day,
    ) -> Result<HashMap<Partition, Vec<(u64, i64)>>, LedgerReadError> {
        let mut found: HashMap<Partition, Vec<(u64, i64)>> = HashMap::new();
        let Some(snapshot) = self.table.current().await? else {
            return Ok(found);
        };
        for (index, file) in snapshot.files().iter().enumerate() {
            if !may_hold_day(&snapshot, index, day) {
                continue;
            }
            let columns = [
                "partition",
                "disposition",
                "local_date",
                "event_id",
                "body_hash",
            ];
            let mut batches = std::pin::pin!(self.read(file, Some(&columns)).await?);
            while let Some(batch) = batches
                .try_next()
                .await
                .map_err(|source| in_file(file, source))?
            {
                collect_accepted(&batch, day, &mut found)?;
            }
        }
        Ok(found)
    }

    /// All rows of a partition with `from <= offset < to`, in order, in batches.
    pub async fn rows(
        &self,
        epoch: i32,
        partition: Partition,
        from: i64,
        to: i64,
    ) -> Result<Vec<RecordBatch>, LedgerReadError> {
        let mut rows = Vec::new();
        let Some(snapshot) = self.table.current().await? else {
            return Ok(rows);
        };
        for (index, file) in snapshot.files().iter().enumerate() {
            let elsewhere = outside(
                &snapshot,
                "partition",
                index,
                i64::from(partition.0),
                i64::from(partition.0),
            ) || outside(&snapshot, "offset", index, from, to - 1);
            if elsewhere {
                continue;
            }
            let mut batches = std::pin::pin!(self.read(file, None).await?);
            while let Some(batch) = batches
                .try_next()
                .await
                .map_err(|source| in_file(file, source))?
            {
                let epochs = ints(&batch, "topic_epoch")?;
                let partitions = ints(&batch, "partition")?;
                let offsets = column(&batch, "offset")?.as_primitive::<Int64Type>();
                let mask: BooleanArray = (0..batch.num_rows())
                    .map(|row| {
                        let offset = offsets.value(row);
                        let here =
                            epochs.value(row) == epoch && partitions.value(row) == partition.0;
                        Some(here && from <= offset && offset < to)
                    })
                    .collect();
                let batch = filter_record_batch(&batch, &mask)?;
                if batch.num_rows() > 0 {
                    rows.push(batch);
                }
            }
        }
        rows.sort_by_key(|batch| {
            batch
                .column_by_name("offset")
                .map_or(0, |offsets| offsets.as_primitive::<Int64Type>().value(0))
        });
        Ok(rows)
    }

    async fn read(
        &self,
        file: &DataFile,
        columns: Option<&[&str]>,
    ) -> Result<
        impl futures::Stream<Item = parquet::errors::Result<RecordBatch>> + use<>,
        LedgerReadError,
    > {
        let reader = DataFileReader::new(Arc::clone(&self.store), file.path.clone(), file.size);
        let mut builder = ParquetRecordBatchStreamBuilder::new(reader)
            .await
            .map_err(|source| in_file(file, source))?;
        if let Some(columns) = columns {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        builder.build().map_err(|source| in_file(file, source))
    }
}

fn in_file(file: &DataFile, source: parquet::errors::ParquetError) -> LedgerReadError {
    LedgerReadError::File {
        path: file.path.to_string(),
        source,
    }
}

fn collect_accepted(
    batch: &RecordBatch,
    day: Day,
    found: &mut HashMap<Partition, Vec<(u64, i64)>>,
) -> Result<(), ArrowError> {
    let partitions = ints(batch, "partition")?;
    let dispositions = column(batch, "disposition")?.as_string::<i32>();
    let days = column(batch, "local_date")?.as_primitive::<Date32Type>();
    let ids = column(batch, "event_id")?.as_string::<i32>();
    let bodies = column(batch, "body_hash")?.as_primitive::<Int64Type>();
    for row in 0..batch.num_rows() {
        let there = dispositions.value(row) == Disposition::Accepted.as_str()
            && days.is_valid(row)
            && days.value(row) == day
            && ids.is_valid(row)
            && bodies.is_valid(row);
        if there {
            let seen = (id_hash(ids.value(row)), bodies.value(row));
            found
                .entry(Partition(partitions.value(row)))
                .or_default()
                .push(seen);
        }
    }
    Ok(())
}

fn ints<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a arrow::array::Int32Array, ArrowError> {
    Ok(column(batch, name)?.as_primitive::<Int32Type>())
}

/// Whether the statistics leave room for a day in a file. No statistics, no pruning.
fn may_hold_day(snapshot: &Snapshot, file: usize, day: Day) -> bool {
    let Some(range) = snapshot.statistics().range("local_date") else {
        return true;
    };
    let (Some(min), Some(max)) = (
        range.min.as_primitive_opt::<Date32Type>(),
        range.max.as_primitive_opt::<Date32Type>(),
    ) else {
        return true;
    };
    !(min.is_valid(file) && day < min.value(file) || max.is_valid(file) && day > max.value(file))
}

/// Whether the statistics rule out that a file holds `from..=to` in an integer column.
fn outside(snapshot: &Snapshot, name: &str, file: usize, from: i64, to: i64) -> bool {
    let Some(range) = snapshot.statistics().range(name) else {
        return false;
    };
    let bound = |array: &arrow::array::ArrayRef| {
        if array.is_null(file) {
            return None;
        }
        match (
            array.as_primitive_opt::<Int64Type>(),
            array.as_primitive_opt::<Int32Type>(),
        ) {
            (Some(longs), _) => Some(longs.value(file)),
            (_, Some(ints)) => Some(i64::from(ints.value(file))),
            _ => None,
        }
    };
    bound(&range.min).is_some_and(|min| min > to) || bound(&range.max).is_some_and(|max| max < from)
}
