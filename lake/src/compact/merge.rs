//! Files in order, read as one run of rows in order, a batch at a time.
//!
//! Of each file one row group (compressed) and one batch are in memory. The files must be in order themselves, as the
//! aggregator and the maintainer write them. One that is not is reported before any of its rows can do harm; it is then
//! read whole and sorted.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use futures::future::try_join_all;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use crate::LakeError;
use crate::datafile::DataFileReader;
use crate::snapshot::DataFile;

/// Rows of a batch that is given out.
const OUT_ROWS: usize = 8192;
/// Rows that are read ahead of all files together. A reader takes memory for all columns of its batch at once, however
/// few rows a file has.
const AHEAD_ROWS: usize = 32 * 1024;
/// Fewer rows at a time are not worth a call.
const LEAST_ROWS: usize = 64;
/// So many rows of one file in a row are given out as they are, and not gathered with others.
const LONG_RUN: usize = 1024;

/// What is read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The files, in the order in which equal rows are given out.
    pub files: Vec<DataFile>,
    /// Their columns.
    pub schema: SchemaRef,
    /// Columns that the rows are in the order of, nulls first, texts by their bytes. None: one file after the other.
    pub order: Vec<&'static str>,
}

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A file (by its position) is not in order: open again with it among those to be sorted.
    #[error("file {0} is not in order")]
    Unsorted(usize),
    /// Anything else.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

impl From<arrow::error::ArrowError> for MergeError {
    fn from(error: arrow::error::ArrowError) -> Self {
        MergeError::Lake(error.into())
    }
}

type Batches = Pin<Box<dyn Stream<Item = Result<RecordBatch, LakeError>> + Send>>;

/// Rows of several files in order.
pub struct Merge {
    cursors: Vec<Cursor>,
    keys: Keys,
}

impl std::fmt::Debug for Merge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Merge of {} files", self.cursors.len())
    }
}

/// The columns of the order, as bytes that compare like them.
struct Keys {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Keys {
    fn of(schema: &SchemaRef, order: &[&'static str]) -> Result<Keys, arrow::error::ArrowError> {
        let columns = order
            .iter()
            .map(|name| schema.index_of(name))
            .collect::<Result<Vec<_>, _>>()?;
        let fields = columns
            .iter()
            .map(|column| SortField::new(schema.field(*column).data_type().clone()));
        Ok(Keys {
            converter: RowConverter::new(fields.collect())?,
            columns,
        })
    }

    fn rows(&self, batch: &RecordBatch) -> Result<Rows, arrow::error::ArrowError> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|column| Arc::clone(batch.column(*column)))
            .collect();
        self.converter.convert_columns(&columns)
    }
}

/// One file under way.
struct Cursor {
    file: usize,
    batches: Batches,
    batch: RecordBatch,
    /// Keys of `batch`; none when there is no order.
    rows: Option<Rows>,
    at: usize,
    last: Option<OwnedRow>,
    done: bool,
}

impl Cursor {
    /// Makes sure that there is a row to take, unless the file has ended.
    async fn fill(&mut self, keys: &Keys) -> Result<(), MergeError> {
        while !self.done && self.at == self.batch.num_rows() {
            let Some(batch) = self.batches.try_next().await? else {
                self.done = true;
                return Ok(());
            };
            self.at = 0;
            self.batch = batch;
            if keys.columns.is_empty() {
                continue;
            }
            let rows = keys.rows(&self.batch)?;
            for row in 0..rows.num_rows() {
                let behind = match (&self.last, row.checked_sub(1)) {
                    (_, Some(before)) => rows.row(before) > rows.row(row),
                    (Some(last), None) => last.row() > rows.row(row),
                    (None, None) => false,
                };
                if behind {
                    return Err(MergeError::Unsorted(self.file));
                }
            }
            self.last = rows.num_rows().checked_sub(1).map(|n| rows.row(n).owned());
            self.rows = Some(rows);
        }
        Ok(())
    }

    /// Whether this cursor's row comes before that of another one; equal rows in the order of files.
    fn before(&self, other: &Cursor) -> bool {
        self.is_before(self.at, other)
    }

    fn is_before(&self, row: usize, other: &Cursor) -> bool {
        match (&self.rows, &other.rows) {
            (Some(mine), Some(theirs)) => {
                (mine.row(row), self.file) < (theirs.row(other.at), other.file)
            }
            _ => self.file < other.file,
        }
    }

    /// Rows from here on that come before those of another cursor, or all of the batch.
    fn run(&self, other: Option<&Cursor>) -> usize {
        let left = self.batch.num_rows() - self.at;
        let Some(other) = other else { return left };
        let leads = |n: usize| self.is_before(self.at + n, other);
        // Most runs are short, some are the whole batch: in growing steps to behind the end, then by halves.
        let (mut known, mut step) = (1, 1);
        while known < left && leads((known + step).min(left) - 1) {
            known = (known + step).min(left);
            step *= 2;
        }
        let mut end = (known + step).min(left);
        while known < end {
            let middle = known + (end - known) / 2;
            if leads(middle) {
                known = middle + 1;
            } else {
                end = middle;
            }
        }
        known
    }
}

impl Merge {
    /// Opens the files. Those of `sort` (by position) are read whole and put in order.
    pub async fn open(
        store: &Arc<dyn ObjectStore>,
        source: &Source,
        sort: &HashSet<usize>,
    ) -> Result<Merge, MergeError> {
        let keys = Keys::of(&source.schema, &source.order)?;
        let rows = (AHEAD_ROWS / source.files.len().max(1)).clamp(LEAST_ROWS, OUT_ROWS);
        let opened = try_join_all(
            source
                .files
                .iter()
                .map(|file| open(store, source, file, rows)),
        );
        let mut cursors = Vec::new();
        for (file, batches) in opened.await?.into_iter().enumerate() {
            let batches = if sort.contains(&file) {
                sorted(batches, &source.schema, &keys).await?
            } else {
                batches
            };
            let mut cursor = Cursor {
                file,
                batches,
                batch: RecordBatch::new_empty(Arc::clone(&source.schema)),
                rows: None,
                at: 0,
                last: None,
                done: false,
            };
            cursor.fill(&keys).await?;
            cursors.push(cursor);
        }
        Ok(Merge { cursors, keys })
    }

    /// The next rows; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, MergeError> {
        // Batches that rows are taken from, and the rows.
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut current: Vec<Option<usize>> = vec![None; self.cursors.len()];
        let mut taken: Vec<(usize, usize)> = Vec::with_capacity(OUT_ROWS);
        while taken.len() < OUT_ROWS {
            let Some((first, second)) = self.leaders() else {
                break;
            };
            let run = self.cursors[first].run(second.map(|second| &self.cursors[second]));
            if run >= LONG_RUN && taken.len() >= LONG_RUN {
                break;
            }
            if run >= LONG_RUN && taken.is_empty() {
                let cursor = &mut self.cursors[first];
                let rows = cursor.batch.slice(cursor.at, run);
                cursor.at += run;
                cursor.fill(&self.keys).await?;
                return Ok(Some(rows));
            }
            let batch = *current[first].get_or_insert_with(|| {
                batches.push(self.cursors[first].batch.clone());
                batches.len() - 1
            });
            let run = run.min(OUT_ROWS - taken.len());
            let cursor = &mut self.cursors[first];
            taken.extend((cursor.at..cursor.at + run).map(|row| (batch, row)));
            cursor.at += run;
            if cursor.at == cursor.batch.num_rows() {
                current[first] = None;
                cursor.fill(&self.keys).await?;
            }
        }
        if taken.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        Ok(Some(interleave_record_batch(&batches, &taken)?))
    }

    /// The file whose row is next, and the one after it.
    fn leaders(&self) -> Option<(usize, Option<usize>)> {
        let mut leaders: Option<(usize, Option<usize>)> = None;
        for (index, cursor) in self.cursors.iter().enumerate() {
            if cursor.done {
                continue;
            }
            let before = |other: usize| cursor.before(&self.cursors[other]);
            leaders = Some(match leaders {
                None => (index, None),
                Some((first, _)) if before(first) => (index, Some(first)),
                Some((first, Some(second))) if !before(second) => (first, Some(second)),
                Some((first, _)) => (first, Some(index)),
            });
        }
        leaders
    }
}

async fn open(
    store: &Arc<dyn ObjectStore>,
    source: &Source,
    file: &DataFile,
    rows: usize,
) -> Result<Batches, LakeError> {
    let reader = DataFileReader::new(Arc::clone(store), file.path.clone(), file.size);
    let known = file.rows.and_then(|rows| usize::try_from(rows).ok());
    let rows = known.map_or(rows, |known| rows.min(known.max(1)));
    let stream = ParquetRecordBatchStreamBuilder::new(reader)
        .await?
        .with_batch_size(rows)
        .build()?;
    let schema = Arc::clone(&source.schema);
    Ok(stream.map(move |batch| conform(&batch?, &schema)).boxed())
}

/// The columns of a schema out of a file's, whatever encoding the file's own reader made of them.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, LakeError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = batch.column(batch.schema_ref().index_of(field.name())?);
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                cast(column, field.data_type())
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// A whole file in order.
async fn sorted(batches: Batches, schema: &SchemaRef, keys: &Keys) -> Result<Batches, MergeError> {
    let batches: Vec<RecordBatch> = batches.try_collect().await?;
    let batch = arrow::compute::concat_batches(schema, &batches)?;
    let rows = keys.rows(&batch)?;
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    order.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
    let batch = take_record_batch(&batch, &UInt32Array::from(order))?;
    Ok(futures::stream::iter([Ok(batch)]).boxed())
}

#[cfg(test)]
mod tests;
