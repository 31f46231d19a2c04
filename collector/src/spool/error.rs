//! Why a spool does not work.

use std::path::{Path, PathBuf};

use super::store::FORMAT;

/// Why a spool cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process holds the file.
    #[error("spool {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// There is none where one was expected.
    #[error("there is no spool {}: check data_dir", .0.display())]
    Missing(PathBuf),
    /// Written by another version of siji, or of the database under it.
    #[error("spool {} has format {found}, this version reads {FORMAT}: deliver it with the version that wrote it", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it says it has.
        found: String,
    },
    /// Some other file.
    #[error("{} is not a spool", .0.display())]
    NotASpool(PathBuf),
    /// Not readable as it was written.
    #[error("spool {} is damaged: {what}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database says.
        what: String,
    },
    /// The disk failed, or is full.
    #[error("spool {}: {what}", .path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        what: String,
    },
    /// The spool was closed.
    #[error("spool is closed")]
    Closed,
}

impl SpoolError {
    pub(super) fn of(path: &Path, error: redb::Error) -> SpoolError {
        let path = path.to_owned();
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                SpoolError::Locked(path)
            }
            redb::Error::UpgradeRequired(found) => SpoolError::Format {
                path,
                found: format!("redb {found}"),
            },
            redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                SpoolError::NotASpool(path)
            }
            redb::Error::Corrupted(what) => SpoolError::Damaged { path, what },
            error => SpoolError::Disk {
                path,
                what: error.to_string(),
            },
        }
    }
}
