//! Reading the ledger back: which events were accepted on a day, and the rows between two offsets.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Date32Type, Int32Type, Int64Type};
use arrow::error::ArrowError;
use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt, TryStreamExt, stream};
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use siji_lake::datafile::DataFileReader;
use siji_lake::snapshot::{DataFile, ReadError, ReaderOptions, TableReader};
use siji_lake::{Lake, LakeError};
use siji_schemas::body::id_hash;

use crate::dedup::Day;
use crate::derive::column;
use crate::judge::Disposition;
use crate::position::Partition;

mod prune;
mod records;
mod targets;
mod waiting;

use prune::{may_hold_day, outside};
pub(crate) use records::{Records, pick};
pub(crate) use targets::TargetRows;

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

impl LedgerReadError {
    /// Whether reading again may help. A log that cannot be understood stays so.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            LedgerReadError::Read(ReadError::Store { .. } | ReadError::Gone { .. })
                | LedgerReadError::File { .. }
        )
    }
}

impl From<LedgerReadError> for LakeError {
    fn from(error: LedgerReadError) -> Self {
        match error {
            LedgerReadError::Read(ReadError::Store { source, .. }) => LakeError::Store(source),
            other => LakeError::Damaged {
                table: "ledger".to_owned(),
                reason: siji_lake::in_full(&other),
            },
        }
    }
}

/// Files read at the same time.
const FILES_AT_ONCE: usize = 8;

/// Hashes of id and body of accepted events, by partition and local day.
pub type AcceptedOn = HashMap<(Partition, Day), Vec<(u64, i64)>>;

/// Offsets `from..to` of one life of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Life of the topic.
    pub epoch: i32,
    /// First offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
}

/// What to read of which partition.
pub type Stretches = BTreeMap<Partition, Stretch>;

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

    /// (id hash, body hash) of every event accepted on some local days, by partition and day.
    pub async fn accepted_on(&self, days: &[Day]) -> Result<AcceptedOn, LedgerReadError> {
        let mut found = AcceptedOn::new();
        let Some(snapshot) = self.table.current().await? else {
            return Ok(found);
        };
        let columns = [
            "partition",
            "disposition",
            "local_date",
            "event_id",
            "body_hash",
        ];
        let wanted: HashSet<Day> = days.iter().copied().collect();
        let files = snapshot.files().iter().enumerate();
        let mut read = stream::iter(
            files
                .filter(|(index, _)| days.iter().any(|day| may_hold_day(&snapshot, *index, *day)))
                .map(|(_, file)| self.read_columns(file, &columns)),
        )
        // Batch by batch: a folded file may be large.
        .flatten_unordered(FILES_AT_ONCE);
        while let Some(batch) = read.try_next().await? {
            collect_accepted(&batch, &wanted, &mut found)?;
        }
        Ok(found)
    }

    /// Gives the rows of some stretches, file by file, to `take`. A file's rows are in order of partition and offset,
    /// files are in no order.
    pub async fn scan(
        &self,
        stretches: &Stretches,
        mut take: impl AsyncFnMut(RecordBatch) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        let Some(snapshot) = self.table.current().await.map_err(LedgerReadError::from)? else {
            return Ok(());
        };
        for (index, file) in snapshot.files().iter().enumerate() {
            let elsewhere = stretches.iter().all(|(partition, stretch)| {
                let number = i64::from(partition.0);
                outside(&snapshot, "partition", index, number, number)
                    || outside(&snapshot, "offset", index, stretch.from, stretch.to - 1)
            });
            if elsewhere {
                continue;
            }
            let mut batches = std::pin::pin!(self.read(file, None).await?);
            while let Some(batch) = batches
                .try_next()
                .await
                .map_err(|source| in_file(file, source))?
            {
                let batch = within(&batch, stretches)?;
                if batch.num_rows() > 0 {
                    take(batch).await?;
                }
            }
        }
        Ok(())
    }

    fn read_columns<'a>(
        &'a self,
        file: &'a DataFile,
        columns: &'a [&'a str],
    ) -> BoxStream<'a, Result<RecordBatch, LedgerReadError>> {
        let opened = self.read(file, Some(columns));
        let batches = opened.map_ok(|batches| batches.map_err(|source| in_file(file, source)));
        batches.try_flatten_stream().boxed()
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
    wanted: &HashSet<Day>,
    found: &mut AcceptedOn,
) -> Result<(), ArrowError> {
    let partitions = ints(batch, "partition")?;
    let dispositions = column(batch, "disposition")?.as_string::<i32>();
    let days = column(batch, "local_date")?.as_primitive::<Date32Type>();
    let ids = column(batch, "event_id")?.as_string::<i32>();
    let bodies = column(batch, "body_hash")?.as_primitive::<Int64Type>();
    for row in 0..batch.num_rows() {
        let there = dispositions.value(row) == Disposition::Accepted.as_str()
            && days.is_valid(row)
            && wanted.contains(&days.value(row))
            && ids.is_valid(row)
            && bodies.is_valid(row);
        if there {
            found
                .entry((Partition(partitions.value(row)), days.value(row)))
                .or_default()
                .push((id_hash(ids.value(row)), bodies.value(row)));
        }
    }
    Ok(())
}

/// The rows of a batch that lie in a stretch.
fn within(batch: &RecordBatch, stretches: &Stretches) -> Result<RecordBatch, ArrowError> {
    let epochs = ints(batch, "topic_epoch")?;
    let partitions = ints(batch, "partition")?;
    let offsets = column(batch, "offset")?.as_primitive::<Int64Type>();
    let mask: BooleanArray = (0..batch.num_rows())
        .map(|row| {
            let offset = offsets.value(row);
            let stretch = stretches.get(&Partition(partitions.value(row)));
            Some(stretch.is_some_and(|stretch| {
                stretch.epoch == epochs.value(row) && (stretch.from..stretch.to).contains(&offset)
            }))
        })
        .collect();
    if mask.true_count() == mask.len() {
        return Ok(batch.clone());
    }
    filter_record_batch(batch, &mask)
}

fn ints<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a arrow::array::Int32Array, ArrowError> {
    Ok(column(batch, name)?.as_primitive::<Int32Type>())
}
