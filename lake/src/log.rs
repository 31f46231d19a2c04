//! The Delta log as siji writes it: append a version, or learn why not.
//!
//! One log entry is one object, put only if it does not exist yet; so of two writers one wins. The loser reads what
//! won. If the winner moved one of the loser's transactions, the loser must decide anew; else it tries the next
//! version. Whether an entry whose reply was lost has landed is told by its commit id.
//!
//! This is far less than Delta allows (no metadata changes, no deletes of rows) and costs the same at version ten and
//! at version a million: nothing but the tail of the log is ever read after opening.

use std::collections::{HashMap, HashSet};

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde::{Deserialize, Serialize};

use crate::LakeError;

mod changes;
pub mod cleanup;
pub(crate) mod objects;
mod replay;
pub use changes::{Changes, changes};
pub use replay::State;

/// A data file joins the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Add {
    /// Relative to the table, URL encoded.
    pub path: String,
    /// Partition column to value.
    pub partition_values: HashMap<String, Option<String>>,
    /// Bytes.
    pub size: i64,
    /// Milliseconds UTC.
    pub modification_time: i64,
    /// False when the file only holds rows of removed files again.
    pub data_change: bool,
    /// Statistics as JSON text.
    pub stats: Option<String>,
}

/// A data file leaves the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remove {
    /// Relative to the table, URL encoded.
    pub path: String,
    /// Milliseconds UTC.
    pub deletion_timestamp: Option<i64>,
    /// False when its rows stand in an added file.
    pub data_change: bool,
}

/// How far an application has come, committed with the rows that took it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Txn {
    /// Who.
    pub app_id: String,
    /// How far.
    pub version: i64,
    /// Milliseconds UTC.
    #[serde(default)]
    pub last_updated: Option<i64>,
}

/// What a log entry is about. Only what siji acts on is read; the rest stays untouched in the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Action {
    CommitInfo(serde_json::Value),
    Protocol(serde_json::Value),
    MetaData(serde_json::Value),
    Add(Box<Add>),
    Remove(Remove),
    Txn(Txn),
    #[serde(untagged)]
    Other(serde_json::Value),
}

/// Key in `commitInfo` by which a writer knows its own entry again.
const COMMIT_ID: &str = "sijiCommitId";
/// Key in `commitInfo` for the number of actions that follow: an entry that was cut off between two of its lines would
/// else be taken for a whole one.
const ACTIONS: &str = "sijiActions";

/// One entry, parsed.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) commit_id: Option<String>,
    pub(crate) txns: Vec<Txn>,
    pub(crate) changes_table: bool,
    pub(crate) adds: Vec<Add>,
    pub(crate) removes: Vec<Remove>,
    /// Adds or removes files in a way that was not understood.
    pub(crate) unclear: bool,
}

impl Entry {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Entry, serde_json::Error> {
        let mut entry = Entry::default();
        let (mut said, mut found) = (None, 0i64);
        for line in bytes
            .split(|b| *b == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
        {
            found += 1;
            match serde_json::from_slice(line)? {
                Action::CommitInfo(info) => {
                    said = info.get(ACTIONS).and_then(serde_json::Value::as_u64);
                    // Not one of those that follow.
                    found -= 1;
                    entry.commit_id = info
                        .get(COMMIT_ID)
                        .and_then(|id| id.as_str())
                        .map(str::to_owned);
                }
                Action::Protocol(_) | Action::MetaData(_) => entry.changes_table = true,
                Action::Txn(txn) => entry.txns.push(txn),
                Action::Add(add) => entry.adds.push(*add),
                Action::Remove(remove) => entry.removes.push(remove),
                Action::Other(other) => {
                    entry.unclear |= other.get("add").is_some() || other.get("remove").is_some();
                }
            }
        }
        match said {
            None if found == 0 => Err(serde::de::Error::custom("the entry is empty")),
            Some(said) if i64::try_from(said) != Ok(found) => Err(serde::de::Error::custom(
                format!("{found} actions found, {said} were written: the entry was cut off"),
            )),
            _ => Ok(entry),
        }
    }
}

/// What a commit writes.
#[derive(Debug, Default, Clone)]
pub struct Change {
    /// Files that join.
    pub adds: Vec<Add>,
    /// Files that leave.
    pub removes: Vec<Remove>,
    /// Positions that move with them.
    pub txns: Vec<Txn>,
    /// For people who read the log (`operation`, counts, versions of reference data).
    pub info: serde_json::Map<String, serde_json::Value>,
}

/// What no other writer may touch between the state a change was made from and its commit.
#[derive(Debug, Default)]
struct Claims {
    app_ids: HashSet<String>,
    removes: HashSet<String>,
}

impl Claims {
    fn of(change: &Change) -> Claims {
        Claims {
            app_ids: change.txns.iter().map(|txn| txn.app_id.clone()).collect(),
            removes: change.removes.iter().map(|r| r.path.clone()).collect(),
        }
    }
}

/// The end of one table's log.
#[derive(Debug)]
pub struct Log<S> {
    table: String,
    store: S,
    state: State,
}

impl<S: ObjectStore> Log<S> {
    /// Reads where the log of a table stands. `None`: there is no log.
    pub async fn open(table: &str, store: S) -> Result<Option<Log<S>>, LakeError> {
        let state = replay::replay(table, &store).await?;
        Ok(state.map(|state| Log {
            table: table.to_owned(),
            store,
            state,
        }))
    }

    /// Writes version 0 with protocol and metadata, unless somebody else does.
    pub(crate) async fn create(
        table: &str,
        store: &S,
        protocol: serde_json::Value,
        metadata: serde_json::Value,
    ) -> Result<(), LakeError> {
        let actions = [
            commit_info("CREATE TABLE", None, Default::default()),
            Action::Protocol(protocol),
            Action::MetaData(metadata),
        ];
        let bytes = lines(table, &actions)?;
        match store
            .put_opts(&entry_path(0), bytes.into(), PutMode::Create.into())
            .await
        {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What was read.
    pub fn into_state(self) -> State {
        self.state
    }

    /// Version of the last known entry.
    pub fn version(&self) -> i64 {
        self.state.version
    }

    /// How far an application has come.
    pub fn txn(&self, app_id: &str) -> Option<i64> {
        self.state.txns.get(app_id).copied()
    }

    /// All positions.
    pub fn txns(&self) -> &HashMap<String, i64> {
        &self.state.txns
    }

    /// Appends a change and returns its version.
    ///
    /// [`LakeError::Conflict`]: another writer moved one of `change.txns`; nothing was written, the position is now
    /// that of the winner. [`LakeError::Removed`]: another writer removed one of `change.removes`; nothing was written.
    /// [`LakeError::Store`]: unknown whether it landed; open the log again and compare.
    pub async fn commit(&mut self, change: Change) -> Result<i64, LakeError> {
        let commit_id = uuid::Uuid::new_v4().to_string();
        let mine = Claims::of(&change);
        let txns = change.txns.clone();
        let mut info = change.info;
        let count = change.removes.len() + change.adds.len() + change.txns.len();
        info.insert(ACTIONS.to_owned(), count.into());
        let mut actions = vec![commit_info("WRITE", Some(&commit_id), info)];
        actions.extend(change.removes.into_iter().map(Action::Remove));
        actions.extend(
            change
                .adds
                .into_iter()
                .map(|add| Action::Add(Box::new(add))),
        );
        actions.extend(change.txns.into_iter().map(Action::Txn));
        let bytes = bytes::Bytes::from(lines(&self.table, &actions)?);
        loop {
            let version = self.state.version + 1;
            let outcome = self
                .store
                .put_opts(
                    &entry_path(version),
                    bytes.clone().into(),
                    PutMode::Create.into(),
                )
                .await;
            let failure = match outcome {
                Ok(_) => {
                    self.state.advance(version, txns);
                    return Ok(version);
                }
                Err(error) => error,
            };
            // Whatever the error says, what stands in the log decides.
            match self.read(version).await? {
                None => return Err(failure.into()),
                Some(entry) if entry.commit_id.as_deref() == Some(&commit_id) => {
                    tracing::warn!(table = self.table, version, error = %failure, "a commit landed although its reply was an error");
                    self.state.advance(version, txns);
                    return Ok(version);
                }
                Some(entry) => self.pass(version, entry, &mine)?,
            }
        }
    }

    /// Reads the entries that others appended.
    pub async fn refresh(&mut self) -> Result<(), LakeError> {
        while let Some(entry) = self.read(self.state.version + 1).await? {
            self.pass(self.state.version + 1, entry, &Claims::default())?;
        }
        Ok(())
    }

    /// Takes in an entry of another writer, and says whether it leaves room for what is `mine`.
    fn pass(&mut self, version: i64, entry: Entry, mine: &Claims) -> Result<(), LakeError> {
        let moved = entry
            .txns
            .iter()
            .find(|txn| mine.app_ids.contains(&txn.app_id))
            .cloned();
        let removed = entry
            .removes
            .iter()
            .find(|remove| mine.removes.contains(&remove.path));
        let removed = removed.map(|remove| remove.path.clone());
        let changes_table = entry.changes_table;
        self.state.advance(version, entry.txns);
        if changes_table {
            return Err(self.damaged(format!(
                "version {version} changes protocol or metadata; siji only appends"
            )));
        }
        match moved {
            Some(txn) => Err(LakeError::Conflict {
                table: self.table.clone(),
                app_id: txn.app_id,
                version: txn.version,
            }),
            None => match removed {
                // Its rows stand elsewhere by now, or nowhere: adding them once more would double or revive them.
                Some(path) => Err(LakeError::Removed {
                    table: self.table.clone(),
                    path,
                }),
                None => Ok(()),
            },
        }
    }

    async fn read(&self, version: i64) -> Result<Option<Entry>, LakeError> {
        let path = entry_path(version);
        let bytes = match self.store.get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Entry::parse(&bytes)
            .map(Some)
            .map_err(|error| self.damaged(format!("{path}: {error}")))
    }

    fn damaged(&self, reason: String) -> LakeError {
        LakeError::Damaged {
            table: self.table.clone(),
            reason,
        }
    }
}

/// Where a table's log lies.
pub(crate) const FOLDER: &str = "_delta_log";

/// `00000000000000000042.json`
pub(crate) fn entry_name(version: i64) -> String {
    format!("{version:020}.json")
}

/// `_delta_log/00000000000000000042.json`
pub(crate) fn entry_path(version: i64) -> Path {
    Path::from_iter([FOLDER, entry_name(version).as_str()])
}

fn commit_info(
    operation: &str,
    commit_id: Option<&str>,
    mut info: serde_json::Map<String, serde_json::Value>,
) -> Action {
    info.insert(
        "timestamp".into(),
        chrono::Utc::now().timestamp_millis().into(),
    );
    info.entry("operation").or_insert_with(|| operation.into());
    info.insert(
        "operationParameters".into(),
        serde_json::json!({ "mode": "Append" }),
    );
    info.insert(
        "engineInfo".into(),
        concat!("siji/", env!("CARGO_PKG_VERSION")).into(),
    );
    if let Some(commit_id) = commit_id {
        info.insert(COMMIT_ID.into(), commit_id.into());
    }
    Action::CommitInfo(info.into())
}

fn lines(table: &str, actions: &[Action]) -> Result<Vec<u8>, LakeError> {
    let mut out = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut out, action).map_err(|error| LakeError::Damaged {
            table: table.to_owned(),
            reason: error.to_string(),
        })?;
        out.push(b'\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
