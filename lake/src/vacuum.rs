//! Vacuum: data files that no reader can still hold, and what killed writers left behind, are deleted.
//!
//! A file goes only if all of this holds:
//! - the table as it is now does not name it;
//! - the newest checkpoint that is older than the retention does not name it either: it left the table before that, or
//!   was never in it, so no snapshot taken since then can hold it;
//! - it was written a good while ([`GUARD`]) before that checkpoint, so it is not part of a write under way.
//!
//! When no checkpoint is that old, nothing goes.

use std::collections::HashSet;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::log::objects::{self, Part, since_epoch};
use crate::snapshot::{ReadError, ReaderOptions, TableReader};
use crate::{Lake, LakeError};

/// Between writing a file and committing it lies less than this.
pub const GUARD: Duration = Duration::from_secs(3600);
/// A retention below this endangers queries that are running, and is refused unless allowed expressly.
pub const SHORTEST: Duration = Duration::from_secs(3600);
const AT_ONCE: usize = 16;
/// Names in an answer at most.
const NAMED: usize = 1000;

/// What to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Files that left the table within this time stay.
    pub retain: Duration,
    /// Allow a retention below [`SHORTEST`].
    pub allow_short: bool,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Data files, and temporary files of killed writers.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first of them, relative to the table.
    pub names: Vec<String>,
    /// Data files that are not in the table and stay all the same, for now.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
}

impl Vacuumed {
    fn count(&mut self, name: String, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        if self.names.len() < NAMED {
            self.names.push(name);
        }
    }
}

/// What is decided by: all times since 1970.
#[derive(Debug)]
struct Facts {
    /// Files of the table now.
    live: HashSet<String>,
    /// Files of the table when the retention began, and when that was seen; `None`: nobody knows any more.
    then: Option<(HashSet<String>, Duration)>,
}

impl Facts {
    /// Whether nobody can need a file that was written at `modified`.
    fn may_go(&self, path: &str, modified: Duration) -> bool {
        !self.live.contains(path)
            && self.then.as_ref().is_some_and(|(then, seen_at)| {
                !then.contains(path) && modified < seen_at.saturating_sub(GUARD)
            })
    }
}

/// Deletes what nobody can need any more at `now` (since 1970).
///
/// # Errors
/// [`LakeError::Retention`] when the retention is dangerously short.
pub async fn vacuum(
    lake: &Lake,
    table: &str,
    options: Options,
    now: Duration,
) -> Result<Vacuumed, LakeError> {
    if options.retain < SHORTEST && !options.allow_short {
        return Err(LakeError::Retention(format!(
            "a retention of {} minutes would take files from under queries that are running; keep an hour or more, or \
             allow it expressly when nobody reads the lake",
            options.retain.as_secs() / 60
        )));
    }
    let mut done = Vacuumed::default();
    let store: Arc<dyn ObjectStore> =
        Arc::new(PrefixStore::new(lake.root_store(), lake.table_path(table)));
    let facts = facts(lake, table, &store, options.retain, now).await?;
    let mut doomed: Vec<Path> = Vec::new();
    let mut listing = store.list(None);
    while let Some(object) = listing.try_next().await? {
        let path = object.location.as_ref();
        if !path.ends_with(".parquet") || path.starts_with("_delta_log/") {
            continue;
        }
        if facts.may_go(path, since_epoch(object.last_modified)) {
            done.count(path.to_owned(), object.size);
            doomed.push(object.location);
        } else if !facts.live.contains(path) {
            done.waiting += 1;
            done.waiting_bytes += object.size;
        }
    }
    if !options.dry_run {
        delete(&store, doomed).await?;
    }
    if let Ok(directory) = lake.table_url(table).to_file_path() {
        let before = now.saturating_sub(options.retain.max(GUARD));
        let left =
            tokio::task::spawn_blocking(move || leftovers(&directory, before, options.dry_run));
        let left = left.await.map_err(|error| {
            LakeError::Retention(format!("the search for temporary files broke off: {error}"))
        })?;
        for (name, bytes) in left.map_err(|error| store_error(table, error))? {
            done.count(name, bytes);
        }
    }
    Ok(done)
}

async fn facts(
    lake: &Lake,
    table: &str,
    store: &Arc<dyn ObjectStore>,
    retain: Duration,
    now: Duration,
) -> Result<Facts, LakeError> {
    let then = match retain.is_zero() {
        // Without a retention only what is in the table now counts.
        true => Some((HashSet::new(), now)),
        false => files_before(store, now.saturating_sub(retain)).await?,
    };
    let options = ReaderOptions::default();
    let reader = TableReader::open(lake.root_store(), lake.table_url(table), options);
    let reader = reader.map_err(|error| read_error(table, error))?;
    let snapshot = reader.current().await;
    let Some(snapshot) = snapshot.map_err(|error| read_error(table, error))? else {
        // Never committed to: what is there may be part of a first commit.
        return Ok(Facts {
            live: HashSet::new(),
            then: None,
        });
    };
    let root = lake.table_path(table);
    let relative = |path: &Path| -> Option<String> {
        let parts: Vec<String> = path
            .prefix_match(&root)?
            .map(|part| part.as_ref().to_owned())
            .collect();
        Some(parts.join("/"))
    };
    let live = snapshot
        .files()
        .iter()
        .filter_map(|file| relative(&file.path));
    Ok(Facts {
        live: live.collect(),
        then,
    })
}

/// The table's files by its newest checkpoint of before `cutoff`, and when that was written.
async fn files_before(
    store: &Arc<dyn ObjectStore>,
    cutoff: Duration,
) -> Result<Option<(HashSet<String>, Duration)>, LakeError> {
    let anchor = objects::list(store)
        .await?
        .into_iter()
        .filter(|object| object.part == Part::Checkpoint && object.modified <= cutoff)
        .max_by_key(|object| object.version);
    let Some(anchor) = anchor else {
        return Ok(None);
    };
    let bytes = store.get(&anchor.path).await?.bytes().await?;
    let files = objects::checkpoint_files(bytes)?;
    Ok(files.map(|files| (files.into_iter().collect(), anchor.modified)))
}

/// Why a table cannot be read, as an error of the lake.
pub(crate) fn read_error(table: &str, error: ReadError) -> LakeError {
    match error {
        ReadError::Store { source, .. } => LakeError::Store(source),
        other => LakeError::Damaged {
            table: table.to_owned(),
            reason: match std::error::Error::source(&other) {
                Some(source) => format!("{other}: {source}"),
                None => other.to_string(),
            },
        },
    }
}

fn store_error(table: &str, error: std::io::Error) -> LakeError {
    LakeError::Store(object_store::Error::Generic {
        store: "local",
        source: format!("temporary files of `{table}`: {error}").into(),
    })
}

async fn delete(store: &Arc<dyn ObjectStore>, paths: Vec<Path>) -> Result<(), LakeError> {
    stream::iter(paths)
        .map(|path| {
            let store = Arc::clone(store);
            async move {
                match store.delete(&path).await {
                    Err(object_store::Error::NotFound { .. }) => Ok(()),
                    deleted => deleted,
                }
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// Temporary files (`name#number`) of writers that were killed. The store does not list them.
fn leftovers(
    directory: &FsPath,
    before: Duration,
    dry_run: bool,
) -> std::io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    let mut directories: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(current) = directories.pop() {
        let entries = match std::fs::read_dir(&current) {
            Ok(entries) => entries,
            // A table that was never made, or a partition that went away.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() && is_temporary(&entry.file_name().to_string_lossy()) {
                let Ok(metadata) = entry.metadata() else {
                    continue; // Published meanwhile.
                };
                let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH);
                if modified.unwrap_or_default() >= before {
                    continue;
                }
                if !dry_run {
                    std::fs::remove_file(entry.path())?;
                }
                let path = entry.path();
                let name = path.strip_prefix(directory).unwrap_or(&path);
                found.push((name.display().to_string(), metadata.len()));
            }
        }
    }
    Ok(found)
}

/// Whether a name is that of a staged file: see [`crate::durable`].
fn is_temporary(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests;
