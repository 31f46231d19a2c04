//! What lies in a log's folder, told by name.

use std::time::{Duration, SystemTime};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::LakeError;

/// Names the last checkpoint.
pub(crate) const HINT: &str = "_last_checkpoint";

/// What an object in the log folder is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Entry,
    Checkpoint,
}

pub(crate) fn part_of(name: &str) -> Option<(i64, Part)> {
    let (version, rest) = name.split_once('.')?;
    if version.len() != 20 {
        return None;
    }
    let version = version.parse().ok()?;
    match rest {
        "json" => Some((version, Part::Entry)),
        _ if rest.starts_with("checkpoint.") => Some((version, Part::Checkpoint)),
        _ => None,
    }
}

/// One object of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogObject {
    pub(crate) path: Path,
    pub(crate) version: i64,
    pub(crate) part: Part,
    /// Since 1970.
    pub(crate) modified: Duration,
    pub(crate) bytes: u64,
}

/// All entries and checkpoints of a table, in no order.
pub(crate) async fn list(store: &dyn ObjectStore) -> Result<Vec<LogObject>, LakeError> {
    let mut found = Vec::new();
    let mut listing = store.list(Some(&Path::from("_delta_log")));
    while let Some(object) = listing.try_next().await? {
        if let Some((version, part)) = object.location.filename().and_then(part_of) {
            found.push(LogObject {
                version,
                part,
                modified: since_epoch(object.last_modified),
                bytes: object.size,
                path: object.location,
            });
        }
    }
    Ok(found)
}

/// An instant as time since 1970.
pub(crate) fn since_epoch(at: chrono::DateTime<chrono::Utc>) -> Duration {
    SystemTime::from(at)
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// The version that `_last_checkpoint` names, where readers begin.
pub(crate) async fn last_checkpoint(store: &dyn ObjectStore) -> Result<Option<i64>, LakeError> {
    let hint = Path::from("_delta_log").join(HINT);
    let bytes = match store.get(&hint).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // It is a hint: one that cannot be read is none.
    let hint: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    Ok(hint.and_then(|hint| hint.get("version")?.as_i64()))
}

/// The live files of a checkpoint, as the log writes their paths. `None`: this kind of checkpoint does not list them itself.
pub(crate) fn checkpoint_files(bytes: bytes::Bytes) -> Result<Option<Vec<String>>, LakeError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["add.path", "sidecar.path"]);
    let mut files = Vec::new();
    for batch in builder.with_projection(mask).build()? {
        let batch = batch?;
        let sidecars = batch.column_by_name("sidecar");
        if sidecars.is_some_and(|column| column.null_count() < column.len()) {
            return Ok(None);
        }
        let Some(adds) = batch
            .column_by_name("add")
            .and_then(|column| column.as_struct_opt())
        else {
            return Ok(None);
        };
        let Some(paths) = adds.column_by_name("path") else {
            return Ok(None);
        };
        let paths = cast(paths, &DataType::Utf8)?;
        let paths = paths.as_string::<i32>();
        let present = (0..adds.len()).filter(|row| adds.is_valid(*row) && paths.is_valid(*row));
        files.extend(present.map(|row| paths.value(row).to_owned()));
    }
    Ok(Some(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_objects_are_told_by_name() {
        assert_eq!(
            part_of("00000000000000000042.json"),
            Some((42, Part::Entry))
        );
        assert_eq!(
            part_of("00000000000000000050.checkpoint.parquet"),
            Some((50, Part::Checkpoint))
        );
        assert_eq!(part_of("_last_checkpoint"), None);
        assert_eq!(part_of("00000000000000000042.json.tmp"), None);
        assert_eq!(part_of("42.json"), None);
    }
}
