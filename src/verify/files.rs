//! Every file of a table is there, whole.

use object_store::ObjectStoreExt;
use siji_lake::Lake;
use siji_lake::snapshot::Snapshot;

use super::{Report, VerifyError};

/// Compares the log's list of files with the store.
pub(super) async fn check(
    lake: &Lake,
    snapshot: &Snapshot,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let (store, table) = (lake.root_store(), snapshot.table());
    for file in snapshot.files() {
        match store.head(&file.path).await {
            Ok(found) if found.size == file.size => {}
            Ok(found) => {
                report.difference(format!(
                    "{table}: {} has {} bytes, the log says {}",
                    file.path, found.size, file.size
                ));
            }
            Err(object_store::Error::NotFound { .. }) => {
                report.difference(format!("{table}: {} is missing", file.path))
            }
            Err(error) => return Err(siji_lake::LakeError::from(error).into()),
        }
    }
    Ok(())
}
