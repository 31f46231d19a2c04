//! A table being written: its files and its log together.

use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;

use crate::datafile::{Effort, EncodedFile};
pub use crate::log::State;
pub use crate::log::Txn;
use crate::log::{Add, Change, Log};
use crate::schema::TableSpec;
use crate::{Lake, LakeError};

type Store = PrefixStore<Arc<dyn ObjectStore>>;

/// The writing side of one table.
#[derive(Debug)]
pub struct TableWriter {
    spec: &'static TableSpec,
    store: Arc<Store>,
    log: Log<Arc<Store>>,
}

impl TableWriter {
    /// Opens a table for writing, creating it if need be.
    pub async fn open(lake: &Lake, spec: &'static TableSpec) -> Result<TableWriter, LakeError> {
        let store = Arc::new(PrefixStore::new(
            lake.root_store(),
            lake.table_path(spec.name),
        ));
        let log = match Log::open(spec.name, Arc::clone(&store)).await? {
            Some(log) => log,
            None => {
                Log::<Arc<Store>>::create(
                    spec.name,
                    &store,
                    protocol(),
                    metadata(spec, lake.tombstones())?,
                )
                .await?;
                let missing = || LakeError::Damaged {
                    table: spec.name.into(),
                    reason: "the new log is not there".into(),
                };
                Log::open(spec.name, Arc::clone(&store))
                    .await?
                    .ok_or_else(missing)?
            }
        };
        Ok(TableWriter { spec, store, log })
    }

    /// The table.
    pub fn spec(&self) -> &'static TableSpec {
        self.spec
    }

    /// Last known version.
    pub fn version(&self) -> i64 {
        self.log.version()
    }

    /// How far an application has come, as of [`Self::version`].
    pub fn txn(&self, app_id: &str) -> Option<i64> {
        self.log.txn(app_id)
    }

    /// All positions, as of [`Self::version`].
    pub fn txns(&self) -> &std::collections::HashMap<String, i64> {
        self.log.txns()
    }

    /// Writes a data file; nobody sees it before [`Self::commit`].
    pub async fn write_file(
        &self,
        partition: Option<&str>,
        batches: &[RecordBatch],
    ) -> Result<Add, LakeError> {
        let file = EncodedFile::new(self.spec, partition, batches, Effort::Fast)?;
        self.put_file(file).await
    }

    /// Puts a file of this table that was encoded elsewhere; nobody sees it before [`Self::commit`].
    pub async fn put_file(&self, file: EncodedFile) -> Result<Add, LakeError> {
        file.put(&self.store).await
    }

    /// Makes files and positions visible, together. See [`Log::commit`] for the errors.
    pub async fn commit(&mut self, change: Change) -> Result<i64, LakeError> {
        self.log.commit(change).await
    }

    /// The table's store: paths in it are relative to the table.
    pub fn store(&self) -> &(impl ObjectStore + use<>) {
        self.store.as_ref()
    }

    /// Reads what others committed.
    pub async fn refresh(&mut self) -> Result<(), LakeError> {
        self.log.refresh().await
    }
}

/// Where a table's log stands, without writing anything. `None`: there is no table.
pub async fn state(lake: &Lake, table: &str) -> Result<Option<State>, LakeError> {
    let store = Arc::new(PrefixStore::new(lake.root_store(), lake.table_path(table)));
    Ok(Log::open(table, store).await?.map(Log::into_state))
}

/// The oldest protocol: any reader works.
fn protocol() -> serde_json::Value {
    serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": 2 })
}

fn metadata(
    spec: &TableSpec,
    tombstones: std::time::Duration,
) -> Result<serde_json::Value, LakeError> {
    let damaged = |reason: String| LakeError::Damaged {
        table: spec.name.to_owned(),
        reason,
    };
    let schema: StructType = (spec.schema)()
        .as_ref()
        .try_into_kernel()
        .map_err(|error: arrow::error::ArrowError| damaged(error.to_string()))?;
    let schema = serde_json::to_string(&schema).map_err(|error| damaged(error.to_string()))?;
    Ok(serde_json::json!({
        "id": uuid::Uuid::new_v4().to_string(),
        "name": spec.name,
        "format": { "provider": "parquet", "options": {} },
        "schemaString": schema,
        "partitionColumns": spec.partition_by.into_iter().collect::<Vec<_>>(),
        "configuration": {
            "delta.appendOnly": "false",
            // How long checkpoints name files that were folded. siji's own vacuum does not need them, and at a commit
            // a second a week of them, the default, would be millions.
            "delta.deletedFileRetentionDuration": format!("interval {} seconds", tombstones.as_secs().max(1)),
            // Other engines keep and read statistics of the first 32 columns only, unless told which.
            "delta.dataSkippingStatsColumns": spec.statistics.join(","),
        },
        "createdTime": chrono::Utc::now().timestamp_millis(),
    }))
}

#[cfg(test)]
pub(crate) mod tests;
