//! A data file written batch by batch: neither its rows nor its bytes need fit in memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use serde_json::{Map, Value};

use super::encode::FileEncoder;
use super::{Effort, place, statistics};
use crate::LakeError;
use crate::log::Add;
use crate::schema::TableSpec;

/// The columns in a table's files: all but the one that names the folder.
pub fn file_schema(spec: &TableSpec) -> SchemaRef {
    let schema = (spec.schema)();
    let fields = schema.fields().iter();
    let kept = fields.filter(|field| Some(field.name().as_str()) != spec.partition_by);
    Arc::new(Schema::new(kept.cloned().collect::<Vec<_>>()))
}

/// What is sent at a time. A file that stays below is put in one go; S3 takes no smaller parts but the last.
const PART_BYTES: usize = 8 << 20;

/// One file under way. In memory are its open row group, encoded, and parts on their way to the store.
pub struct DataFileWriter<'s, S> {
    store: &'s S,
    spec: &'static TableSpec,
    path: String,
    partition_values: HashMap<String, Option<String>>,
    file: FileEncoder,
    statistics: Option<Value>,
    upload: Option<WriteMultipart>,
    /// Bytes that were handed over.
    sent: usize,
}

impl<S> fmt::Debug for DataFileWriter<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataFileWriter")
            .field("path", &self.path)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl<S> DataFileWriter<'_, S> {
    /// Bytes of the row groups that are complete: rows under way are not counted, for nobody knows how small they get.
    pub fn bytes(&self) -> usize {
        self.file.bytes()
    }
}

impl<'s, S: ObjectStore> DataFileWriter<'s, S> {
    /// An empty file of a table whose store this is.
    pub fn new(
        store: &'s S,
        spec: &'static TableSpec,
        partition: Option<&str>,
        effort: Effort,
    ) -> Result<Self, LakeError> {
        let (path, partition_values) = place(spec, partition)?;
        Ok(Self {
            store,
            spec,
            path,
            partition_values,
            file: FileEncoder::new(spec, effort)?,
            statistics: None,
            upload: None,
            sent: 0,
        })
    }

    /// Adds rows: the columns of [`file_schema`], in order.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.file.write(batch)?;
        let of_batch = statistics(self.spec, std::slice::from_ref(batch))?;
        self.statistics = Some(match self.statistics.take() {
            Some(so_far) => joined(so_far, of_batch),
            None => of_batch,
        });
        if self.file.bytes() - self.sent >= PART_BYTES {
            let part = self.file.take()?;
            self.send(part).await?;
        }
        Ok(())
    }

    /// Hands bytes over; waits while the ones before are still on their way.
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), LakeError> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let path = Path::from(self.path.as_str());
                let upload = self.store.put_multipart(&path).await?;
                none.insert(WriteMultipart::new_with_chunk_size(upload, PART_BYTES))
            }
        };
        upload.wait_for_capacity(1).await?;
        self.sent += bytes.len();
        upload.put(bytes.into());
        Ok(())
    }

    /// Ends the file and returns the action that would add it; `None` if it has no rows. One that is dropped before
    /// leaves nothing behind on a file system; at S3 its parts stay until the bucket's rule for broken-off uploads.
    pub async fn finish(mut self, data_change: bool) -> Result<Option<Add>, LakeError> {
        let Some(statistics) = self.statistics.take() else {
            return Ok(None);
        };
        let rest = self.file.finish()?;
        let size = self.sent + rest.len();
        match self.upload {
            Some(mut upload) => {
                upload.put(rest.into());
                upload.finish().await?;
            }
            None => {
                let path = Path::from(self.path.as_str());
                self.store.put(&path, rest.into()).await?;
            }
        }
        Ok(Some(Add {
            path: self.path,
            partition_values: self.partition_values,
            size: size as i64,
            modification_time: chrono::Utc::now().timestamp_millis(),
            data_change,
            stats: Some(statistics.to_string()),
        }))
    }
}

/// Statistics of two parts of a file as those of both. A bound that one part lacks although it has values there is
/// unknown for both.
fn joined(a: Value, b: Value) -> Value {
    let rows = |of: &Value| of["numRecords"].as_u64().unwrap_or(0);
    let nulls = |of: &Value, name: &str| of["nullCount"][name].as_u64().unwrap_or(0);
    let (mut least, mut most, mut null_counts) = (Map::new(), Map::new(), Map::new());
    let columns = a["nullCount"].as_object().cloned().unwrap_or_default();
    for name in columns.keys() {
        null_counts.insert(name.clone(), (nulls(&a, name) + nulls(&b, name)).into());
        let bound = |kind: &str, larger: bool| -> Option<Value> {
            let of = |part: &Value| part[kind].get(name).cloned();
            let none = |part: &Value| nulls(part, name) == rows(part);
            match (of(&a), of(&b)) {
                (Some(x), Some(y)) => Some(if above(&x, &y) == larger { x } else { y }),
                (Some(x), None) if none(&b) => Some(x),
                (None, Some(y)) if none(&a) => Some(y),
                _ => None,
            }
        };
        if let (Some(low), Some(high)) = (bound("minValues", false), bound("maxValues", true)) {
            least.insert(name.clone(), low);
            most.insert(name.clone(), high);
        }
    }
    serde_json::json!({
        "numRecords": rows(&a) + rows(&b), "minValues": least, "maxValues": most, "nullCount": null_counts,
    })
}

/// Whether a bound is above another. Days and instants are written so that their texts are in order.
fn above(x: &Value, y: &Value) -> bool {
    match (x.as_i64(), y.as_i64(), x.as_str(), y.as_str()) {
        (Some(x), Some(y), ..) => x > y,
        (_, _, Some(x), Some(y)) => x.as_bytes() > y.as_bytes(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
