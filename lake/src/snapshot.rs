//! The read side of one Delta table: a cheap, pinned view of which files make up the table at one version.
//!
//! ```text
//! TableReader (one per table and process) --current()--> Arc<Snapshot> (immutable, shared by queries)
//!   delta-rs handle, refreshed at most                     version, Arrow schema, files,
//!   every `refresh_interval`, single flight                statistics as Arrow arrays
//! ```
//!
//! A snapshot never changes after it was handed out, so a query that holds one sees one version of the table however
//! many commits land meanwhile. Nothing is listed and no Parquet footer is read: the log says it all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, ObjectStoreScheme};
use tokio::sync::Mutex;
use url::Url;

use crate::schema::{FOLLOWED_ROLLUP, ROLLUP_DAY};

mod content;
mod protocol;
#[cfg(test)]
mod tests;

pub use content::{ColumnRange, DataFile, FileStatistics, Snapshot};

/// Why a table cannot be read, as far as a caller can do something about it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The table was there before and is not any more: the lake was moved, deleted or its disk is not mounted.
    #[error("table `{table}` is gone from {url}: is the lake still there?")]
    Gone {
        /// Name of the table.
        table: String,
        /// Where it was read from.
        url: Url,
    },
    /// The table uses a Delta feature siji does not read; reading on would give wrong rows.
    #[error(
        "table `{table}` at {url} uses {feature}, which siji does not read: rewrite it without this feature"
    )]
    Unsupported {
        /// Name of the table.
        table: String,
        /// Where it is.
        url: Url,
        /// The feature in words.
        feature: String,
    },
    /// The location cannot be turned into a path of the object store.
    #[error("{url} is no location in an object store")]
    Location {
        /// The location given.
        url: Url,
    },
    /// The object store failed; trying again may help.
    #[error("cannot read the log of table `{table}` at {url}")]
    Store {
        /// Name of the table.
        table: String,
        /// Where it is.
        url: Url,
        /// The store's error.
        #[source]
        source: object_store::Error,
    },
    /// The log is there but cannot be understood.
    #[error("cannot understand the log of table `{table}` at {url}")]
    Log {
        /// Name of the table.
        table: String,
        /// Where it is.
        url: Url,
        /// What delta-rs says.
        #[source]
        source: Box<DeltaTableError>,
    },
}

/// How often a reader looks for new commits.
#[derive(Debug, Clone, Copy)]
pub struct ReaderOptions {
    /// A snapshot younger than this is returned without asking the store.
    pub refresh_interval: Duration,
    /// After this many new versions the table is reopened from its checkpoint, because the handle's memory and refresh time
    /// grow with the commits since it was opened.
    pub reopen_after: u32,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            refresh_interval: Duration::from_millis(200),
            reopen_after: 100,
        }
    }
}

/// Reads one table. Shared by all queries of a process.
#[derive(Debug)]
pub struct TableReader {
    name: String,
    url: Url,
    /// Path of the table in the object store.
    root: Path,
    store: Arc<dyn ObjectStore>,
    log: LogStoreRef,
    options: ReaderOptions,
    /// Held while refreshing, so that a hundred queries cause one refresh.
    handle: Mutex<Handle>,
    latest: std::sync::RwLock<Option<Latest>>,
}

#[derive(Debug, Default)]
struct Handle {
    table: Option<DeltaTable>,
    /// New versions replayed into this handle since it was opened.
    replayed: u32,
    opened_before: bool,
}

#[derive(Debug, Clone)]
struct Latest {
    checked_at: Instant,
    /// `None`: the table does not exist yet.
    snapshot: Option<Arc<Snapshot>>,
}

impl TableReader {
    /// A reader of the table at `url`. `store` is rooted where the URL's path begins (the file system's `/`, the bucket).
    /// Nothing is read yet, so a table that does not exist is no error.
    ///
    /// # Errors
    /// [`ReadError::Location`] when the URL names no object store location.
    pub fn open(
        store: Arc<dyn ObjectStore>,
        url: Url,
        options: ReaderOptions,
    ) -> Result<Self, ReadError> {
        let location = || ReadError::Location { url: url.clone() };
        let (_, root) = ObjectStoreScheme::parse(&url).map_err(|_| location())?;
        let name = root.filename().ok_or_else(location)?.to_owned();
        let prefixed: Arc<dyn ObjectStore> =
            Arc::new(PrefixStore::new(Arc::clone(&store), root.clone()));
        let log = default_logstore(
            prefixed,
            Arc::clone(&store),
            &url,
            &StorageConfig::default(),
        );
        Ok(Self {
            name,
            url,
            root,
            store,
            log,
            options,
            handle: Mutex::default(),
            latest: std::sync::RwLock::default(),
        })
    }

    /// The table's name: the last part of its location.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table as it is now, at most `refresh_interval` old; `None` while it has not been created.
    ///
    /// # Errors
    /// [`ReadError`]; the last good snapshot is not served in place of an error, because a reader could not tell.
    pub async fn current(&self) -> Result<Option<Arc<Snapshot>>, ReadError> {
        if let Some(latest) = self.young_enough() {
            return Ok(latest.snapshot);
        }
        let mut handle = self.handle.lock().await;
        if let Some(latest) = self.young_enough() {
            return Ok(latest.snapshot);
        }
        let checked_at = Instant::now();
        let snapshot = match self.refresh(&mut handle).await {
            // What was listed may have been replaced or removed before it was read: a second look, from the start,
            // finds what is there now. An error took the handle out.
            Err(ReadError::Log { source, .. }) => {
                tracing::debug!(table = self.name, %source, "looking at the log again");
                self.refresh(&mut handle).await?
            }
            refreshed => refreshed?,
        };
        let latest = Latest {
            checked_at,
            snapshot: snapshot.clone(),
        };
        *self
            .latest
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(latest);
        Ok(snapshot)
    }

    fn latest(&self) -> Option<Latest> {
        self.latest
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn young_enough(&self) -> Option<Latest> {
        self.latest()
            .filter(|latest| latest.checked_at.elapsed() < self.options.refresh_interval)
    }

    async fn refresh(&self, handle: &mut Handle) -> Result<Option<Arc<Snapshot>>, ReadError> {
        if handle.replayed >= self.options.reopen_after {
            tracing::debug!(table = self.name, "reopening the table from its checkpoint");
            handle.table = None;
        }
        if let Some(table) = handle.table.take()
            && let Some(version) = table.version()
        {
            match self.newer_than(version).await? {
                Newer::No => {
                    let known = self.latest().and_then(|latest| latest.snapshot);
                    let snapshot = match known.filter(|s| s.version() == version) {
                        Some(known) => known,
                        None => self.snapshot_of(&table).await?,
                    };
                    handle.table = Some(table);
                    return Ok(Some(snapshot));
                }
                Newer::Yes => {
                    let mut table = table;
                    table
                        .update_incremental(None)
                        .await
                        .map_err(|e| self.log_error(e))?;
                    let snapshot = self.snapshot_of(&table).await?;
                    handle.table = Some(table);
                    handle.replayed += 1;
                    return Ok(Some(snapshot));
                }
                // The table is opened anew below, as after any error above: the handle was taken out.
                Newer::Unknown => {}
            }
        }
        let mut table = DeltaTable::new(Arc::clone(&self.log));
        if let Err(error) = table.load().await {
            // delta-rs has several errors for "nothing there"; the log's folder decides.
            if self.log.is_delta_table_location().await.unwrap_or(true) {
                return Err(self.log_error(error));
            }
            if handle.opened_before {
                return Err(ReadError::Gone {
                    table: self.name.clone(),
                    url: self.url.clone(),
                });
            }
            return Ok(None);
        }
        let snapshot = self.snapshot_of(&table).await?;
        *handle = Handle {
            table: Some(table),
            replayed: 0,
            opened_before: true,
        };
        Ok(Some(snapshot))
    }

    /// Two `HEAD` requests instead of a listing: versions are contiguous, so the next one either exists or nothing is newer.
    /// When even the known one is missing, the log was cleaned or the table is gone.
    async fn newer_than(&self, version: u64) -> Result<Newer, ReadError> {
        for (version, found) in [
            (version.saturating_add(1), Newer::Yes),
            (version, Newer::No),
        ] {
            let entry = self
                .root
                .clone()
                .join("_delta_log")
                .join(format!("{version:020}.json"));
            match self.store.head(&entry).await {
                Ok(_) => return Ok(found),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => {
                    return Err(ReadError::Store {
                        table: self.name.clone(),
                        url: self.url.clone(),
                        source,
                    });
                }
            }
        }
        Ok(Newer::Unknown)
    }

    async fn snapshot_of(&self, table: &DeltaTable) -> Result<Arc<Snapshot>, ReadError> {
        let state = table.snapshot().map_err(|e| self.log_error(e))?;
        if let Some(feature) = protocol::unreadable_feature(state.protocol(), state.metadata()) {
            return Err(ReadError::Unsupported {
                table: self.name.clone(),
                url: self.url.clone(),
                feature,
            });
        }
        let followed = if self.name == ROLLUP_DAY.name {
            let position = state.transaction_version(self.log.as_ref(), FOLLOWED_ROLLUP);
            position.await.map_err(|e| self.log_error(e))?
        } else {
            None
        };
        Snapshot::of(&self.name, &self.root, state, followed)
            .map(Arc::new)
            .map_err(|e| self.log_error(e))
    }

    fn log_error(&self, source: DeltaTableError) -> ReadError {
        ReadError::Log {
            table: self.name.clone(),
            url: self.url.clone(),
            source: Box::new(source),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newer {
    Yes,
    No,
    Unknown,
}
