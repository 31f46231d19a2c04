//! Rows in order into files of about the wanted size, each shelf into files of its own.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Date32Type;
use object_store::ObjectStore;

use super::plan::{Job, Policy, Shelf, shelf_of};
use crate::LakeError;
use crate::datafile::{DataFileWriter, Effort};
use crate::log::Add;
use crate::schema::TableSpec;

/// How files are made.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Of which table.
    pub spec: &'static TableSpec,
    /// Value of the partition column.
    pub partition: Option<String>,
    /// A file is ended at this size.
    pub target_bytes: u64,
    /// Whether readers see rows in it that they did not see before.
    pub data_change: bool,
    /// Sort rows onto shelves, as of this last day; `None`: one shelf.
    pub shelves: Option<i32>,
    /// How hard to compress.
    pub effort: Effort,
}

impl Shape {
    /// For a job's rows again.
    pub fn of_job(spec: &'static TableSpec, job: &Job, policy: &Policy) -> Shape {
        Shape {
            spec,
            partition: job.partition.clone(),
            target_bytes: policy.target_bytes,
            data_change: false,
            shelves: (job.shelf == Shelf::Mixed).then(|| job.last_day.unwrap_or_else(today)),
            effort: effort(policy),
        }
    }
}

/// By hand nobody waits; beside the pipeline a few percent of the bytes are not worth a sixth of a fold's time.
pub fn effort(policy: &Policy) -> Effort {
    match policy.everything {
        true => Effort::Small,
        false => Effort::Fast,
    }
}

/// Days since 1970, UTC.
pub fn today() -> i32 {
    (chrono::Utc::now().timestamp() / 86_400) as i32
}

/// Files under way.
#[derive(Debug)]
pub struct Output<'s, S> {
    store: &'s S,
    shape: Shape,
    open: BTreeMap<Shelf, DataFileWriter<'s, S>>,
    adds: Vec<Add>,
}

impl<'s, S: ObjectStore> Output<'s, S> {
    /// No file yet.
    pub fn new(store: &'s S, shape: Shape) -> Self {
        Self {
            store,
            shape,
            open: BTreeMap::new(),
            adds: Vec::new(),
        }
    }

    /// Adds rows.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let Some(last_day) = self.shape.shelves else {
            return self.write_to(Shelf::Whole, batch).await;
        };
        let days = batch
            .column_by_name("local_date")
            .and_then(|days| days.as_primitive_opt::<Date32Type>())
            .ok_or_else(|| LakeError::Damaged {
                table: self.shape.spec.name.to_owned(),
                reason: "rows without a `local_date` cannot be kept apart by month".to_owned(),
            })?;
        let mut rows: BTreeMap<Shelf, Vec<u32>> = BTreeMap::new();
        for (row, day) in days.iter().enumerate() {
            let shelf = shelf_of(day.unwrap_or(last_day), last_day);
            rows.entry(shelf).or_default().push(row as u32);
        }
        for (shelf, rows) in rows {
            if rows.len() == batch.num_rows() {
                self.write_to(shelf, batch).await?;
            } else {
                let rows = take_record_batch(batch, &UInt32Array::from(rows))?;
                self.write_to(shelf, &rows).await?;
            }
        }
        Ok(())
    }

    async fn write_to(&mut self, shelf: Shelf, batch: &RecordBatch) -> Result<(), LakeError> {
        let mut writer = match self.open.remove(&shelf) {
            Some(writer) => writer,
            None => {
                let (spec, partition) = (self.shape.spec, self.shape.partition.as_deref());
                DataFileWriter::new(self.store, spec, partition, self.shape.effort)?
            }
        };
        writer.write(batch).await?;
        if writer.bytes() as u64 >= self.shape.target_bytes {
            self.end(writer).await?;
        } else {
            self.open.insert(shelf, writer);
        }
        Ok(())
    }

    async fn end(&mut self, writer: DataFileWriter<'s, S>) -> Result<(), LakeError> {
        self.adds
            .extend(writer.finish(self.shape.data_change).await?);
        Ok(())
    }

    /// Ends all files and returns what would add them.
    pub async fn finish(mut self) -> Result<Vec<Add>, LakeError> {
        for writer in std::mem::take(&mut self.open).into_values() {
            self.end(writer).await?;
        }
        Ok(self.adds)
    }
}
