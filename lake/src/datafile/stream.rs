//! A data file written batch by batch: what is folded need not fit in memory, only its compressed bytes.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
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

/// One file under way.
pub struct DataFileWriter {
    spec: &'static TableSpec,
    file: FileEncoder,
    statistics: Option<Value>,
}

impl fmt::Debug for DataFileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataFileWriter")
            .field("table", &self.spec.name)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl DataFileWriter {
    /// An empty file of a table.
    pub fn new(spec: &'static TableSpec, effort: Effort) -> Result<Self, LakeError> {
        Ok(Self {
            spec,
            file: FileEncoder::new(spec, effort)?,
            statistics: None,
        })
    }

    /// Adds rows: the columns of [`file_schema`], in order.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.file.write(batch)?;
        let of_batch = statistics(self.spec, std::slice::from_ref(batch))?;
        self.statistics = Some(match self.statistics.take() {
            Some(so_far) => joined(so_far, of_batch),
            None => of_batch,
        });
        Ok(())
    }

    /// Bytes of the row groups that are complete: rows under way are not counted, for nobody knows how small they get.
    pub fn bytes(&self) -> usize {
        self.file.bytes()
    }

    /// Puts the file into the table's store and returns the action that would add it; `None` if it has no rows.
    pub async fn finish<S: ObjectStore>(
        self,
        store: &S,
        partition: Option<&str>,
        data_change: bool,
    ) -> Result<Option<Add>, LakeError> {
        let Some(statistics) = self.statistics else {
            return Ok(None);
        };
        let (path, partition_values) = place(self.spec, partition)?;
        let bytes = self.file.finish()?;
        let size = bytes.len();
        store.put(&Path::from(path.as_str()), bytes.into()).await?;
        Ok(Some(Add {
            path,
            partition_values,
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
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn joined_statistics_are_those_of_all_rows() {
        let a = json!({"numRecords": 2, "minValues": {"n": 9, "t": "b"}, "maxValues": {"n": 10, "t": "c"},
            "nullCount": {"n": 0, "t": 0, "x": 2}});
        let b = json!({"numRecords": 3, "minValues": {"n": -1, "x": "q"}, "maxValues": {"n": 9, "x": "r"},
            "nullCount": {"n": 1, "t": 3, "x": 1}});
        let both = joined(a.clone(), b);
        assert_eq!(both["numRecords"], 5);
        assert_eq!(both["minValues"], json!({"n": -1, "t": "b", "x": "q"}));
        assert_eq!(both["maxValues"], json!({"n": 10, "t": "c", "x": "r"}));
        assert_eq!(both["nullCount"], json!({"n": 1, "t": 3, "x": 3}));
        // Values without bounds, as texts that are too long: nothing is known of the whole.
        let long = json!({"numRecords": 1, "minValues": {}, "maxValues": {}, "nullCount": {"n": 0, "t": 0, "x": 0}});
        let unknown = joined(a, long);
        assert_eq!(unknown["minValues"], json!({}));
    }
}
