//! Every file of a table is there, whole.

use object_store::ObjectStoreExt;
use siji_lake::Lake;
use siji_lake::snapshot::{ReaderOptions, TableReader};

use super::{Report, VerifyError};

/// Compares the log's list of files with the store.
pub(super) async fn check(
    lake: &Lake,
    table: &str,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let store = lake.root_store();
    let opened = TableReader::open(
        lake.root_store(),
        lake.table_url(table),
        ReaderOptions::default(),
    );
    let snapshot = match opened {
        Ok(reader) => reader.current().await,
        Err(error) => Err(error),
    };
    let snapshot = match snapshot {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return Ok(()),
        Err(error) => {
            report.difference(format!("{table}: {error}"));
            return Ok(());
        }
    };
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
