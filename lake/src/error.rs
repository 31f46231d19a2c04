/// What can go wrong with a lake, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The location makes no sense.
    #[error("`{location}` is no lake location: {reason}")]
    Location {
        /// As given.
        location: String,
        /// Why.
        reason: String,
    },
    /// There is no lake there, or no longer.
    #[error("no siji lake at {url}; the aggregator creates it, `siji demo` too")]
    Missing {
        /// Where.
        url: String,
    },
    /// The lake was written by another version, or with another setting that cannot change.
    #[error("the lake at {url} has {found}, this siji needs {wanted}")]
    Incompatible {
        /// Where.
        url: String,
        /// What stands there.
        found: String,
        /// What this program reads.
        wanted: String,
    },
    /// A table's log or files are not what this program writes.
    #[error("table `{table}` is damaged: {reason}")]
    Damaged {
        /// Table.
        table: String,
        /// What is wrong, naming the object.
        reason: String,
    },
    /// Another writer committed one of the same transactions first: read the positions again and decide anew.
    #[error("another writer moved `{app_id}` of table `{table}` to {version}")]
    Conflict {
        /// Table.
        table: String,
        /// Transaction identifier.
        app_id: String,
        /// Where it stands now.
        version: i64,
    },
    /// Another writer removed a file that this commit would have replaced: read the table again and decide anew.
    #[error("another writer removed {path} of table `{table}`")]
    Removed {
        /// Table.
        table: String,
        /// Relative to the table.
        path: String,
    },
    /// Too short a time for readers or writers that are at work.
    #[error("{0}")]
    Retention(String),
    /// The object store failed. A commit may or may not have landed: open the table again and look.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// Arrow could not build a batch.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Parquet could not be written or read.
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// delta-rs failed.
    #[error("delta: {0}")]
    Delta(#[from] Box<deltalake_core::DeltaTableError>),
}

impl From<deltalake_core::DeltaTableError> for LakeError {
    fn from(error: deltalake_core::DeltaTableError) -> Self {
        LakeError::Delta(Box::new(error))
    }
}

/// What went wrong, and why, as far as it is known: an error's own words often name only the place.
pub fn in_full(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    message
}
