//! Where a log stands: its last version and every application's position, from the last checkpoint and the entries
//! after it.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::objects::{self, Part};
use super::{Entry, Txn, entry_path};
use crate::LakeError;

/// The end of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Last version.
    pub version: i64,
    /// Position by application.
    pub txns: HashMap<String, i64>,
}

impl State {
    pub(super) fn advance(&mut self, version: i64, txns: Vec<Txn>) {
        self.version = version;
        self.txns
            .extend(txns.into_iter().map(|txn| (txn.app_id, txn.version)));
    }
}

/// Reads a table's log. `None`: there is none.
pub(super) async fn replay(
    table: &str,
    store: &dyn ObjectStore,
) -> Result<Option<State>, LakeError> {
    let damaged = |reason: String| LakeError::Damaged {
        table: table.to_owned(),
        reason,
    };
    let mut checkpoints: BTreeMap<i64, Vec<Path>> = BTreeMap::new();
    let mut entries: Vec<i64> = Vec::new();
    let mut listing = store.list(Some(&Path::from("_delta_log")));
    while let Some(object) = listing.try_next().await? {
        match object.location.filename().and_then(objects::part_of) {
            Some((version, Part::Entry)) => entries.push(version),
            Some((version, Part::Checkpoint)) => checkpoints
                .entry(version)
                .or_default()
                .push(object.location),
            None => {}
        }
    }
    entries.sort_unstable();
    let mut state = State::default();
    let mut next = 0;
    if let Some((version, parts)) = checkpoints.last_key_value() {
        for part in parts {
            let bytes = store.get(part).await?.bytes().await?;
            let txns =
                checkpoint_txns(bytes).map_err(|error| damaged(format!("{part}: {error}")))?;
            state.advance(*version, txns);
        }
        next = version + 1;
    } else if entries.is_empty() {
        return Ok(None);
    }
    let first = next;
    for version in entries.into_iter().filter(|version| *version >= first) {
        if version != next {
            return Err(damaged(format!("{} is missing", entry_path(next))));
        }
        let path = entry_path(version);
        let bytes = store.get(&path).await?.bytes().await?;
        let entry = Entry::parse(&bytes).map_err(|error| damaged(format!("{path}: {error}")))?;
        state.advance(version, entry.txns);
        next = version + 1;
    }
    Ok(Some(state))
}

/// The `txn` actions of a checkpoint file.
fn checkpoint_txns(bytes: bytes::Bytes) -> Result<Vec<Txn>, LakeError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
    let mut txns = Vec::new();
    for batch in builder.with_projection(mask).build()? {
        let batch = batch?;
        let missing = |what: &str| LakeError::Damaged {
            table: "checkpoint".to_owned(),
            reason: format!("without `{what}`: positions cannot be told"),
        };
        let actions = batch
            .column_by_name("txn")
            .and_then(|column| column.as_struct_opt())
            .ok_or_else(|| missing("txn"))?;
        // Other engines write other kinds of strings.
        let part = |name: &str, kind: &DataType| {
            let column = actions.column_by_name(name).ok_or_else(|| missing(name))?;
            Ok::<_, LakeError>(cast(column, kind)?)
        };
        let ids = part("appId", &DataType::Utf8)?;
        let versions = part("version", &DataType::Int64)?;
        let (ids, versions) = (ids.as_string::<i32>(), versions.as_primitive::<Int64Type>());
        for row in (0..actions.len()).filter(|row| actions.is_valid(*row) && ids.is_valid(*row)) {
            txns.push(Txn {
                app_id: ids.value(row).to_owned(),
                version: versions.value(row),
                last_updated: None,
            });
        }
    }
    Ok(txns)
}
