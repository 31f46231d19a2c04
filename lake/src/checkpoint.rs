//! Checkpoints: the state of a log in one file, so that nobody has to read it from the start.

use std::sync::{Arc, Once};

use deltalake_core::DeltaTableBuilder;
use deltalake_core::logstore::{
    LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories,
};
use url::Url;

use crate::{Lake, LakeError};

mod first_stays;

/// Writes a checkpoint of a table's present state, unless somebody else did, and returns its version.
pub async fn write(lake: &Lake, table: &str) -> Result<i64, LakeError> {
    let store = Arc::new(first_stays::FirstStays::new(lake.root_store()));
    let table = open_delta(store, lake.table_url(table)).await?;
    deltalake_core::checkpoints::create_checkpoint(&table, None).await?;
    Ok(table.version().map_or(-1, |version| version as i64))
}

/// Opens a Delta table with delta-rs on a store of ours, rooted at the file system or bucket.
pub async fn open_delta(
    root: Arc<dyn object_store::ObjectStore>,
    url: Url,
) -> Result<deltalake_core::DeltaTable, LakeError> {
    register_s3();
    let mut table = DeltaTableBuilder::from_url(url.clone())?
        .with_storage_backend(root, url)
        .build()?;
    table.load().await?;
    Ok(table)
}

/// delta-rs knows only `file` and `memory` by itself. S3 needs nothing special any more (it can put conditionally),
/// only an entry for the scheme.
fn register_s3() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        if let Ok(scheme) = Url::parse("s3://") {
            logstore_factories().insert(scheme, Arc::new(PlainLogStore));
        }
    });
}

#[derive(Debug)]
struct PlainLogStore;

impl LogStoreFactory for PlainLogStore {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> deltalake_core::DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(
            prefixed_store,
            root_store,
            location,
            options,
        ))
    }
}

/// The version of a table's last checkpoint, where readers begin.
pub async fn last(lake: &Lake, table: &str) -> Result<Option<i64>, LakeError> {
    let store = object_store::prefix::PrefixStore::new(lake.root_store(), lake.table_path(table));
    crate::log::objects::last_checkpoint(&store).await
}
