//! Entries of a table's log, as far as an audit reads them: positions, and what siji says of a commit.

use std::collections::BTreeMap;

use object_store::ObjectStoreExt;
use serde_json::Value;
use siji_lake::{Lake, LakeError};

/// Next offset by epoch and partition.
pub(super) type Positions = BTreeMap<(i32, i32), i64>;

/// One entry.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Transactions it moves, by application.
    pub txns: Vec<(String, i64)>,
    /// What siji noted in `commitInfo`.
    note: Value,
}

impl Entry {
    /// Whether an epoch of a partition may begin here: where the topic ended (`start = "latest"`), or where an operator
    /// accepted it to begin.
    pub(super) fn begins_epochs(&self) -> bool {
        self.note.get("start").is_some() || self.note.get("accepted").is_some()
    }

    fn parse(bytes: &[u8]) -> Result<Entry, serde_json::Error> {
        let mut entry = Entry::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let mut action: Value = serde_json::from_slice(line)?;
            if let Some(note) = action.pointer_mut("/commitInfo/siji") {
                entry.note = note.take();
            }
            let txn = action.get("txn");
            let id = txn.and_then(|txn| txn.get("appId")?.as_str());
            let version = txn.and_then(|txn| txn.get("version")?.as_i64());
            entry.txns.extend(id.map(str::to_owned).zip(version));
        }
        Ok(entry)
    }
}

/// Reads one entry; `None`: it is not there.
pub(super) async fn entry(
    lake: &Lake,
    table: &str,
    version: i64,
) -> Result<Option<Entry>, LakeError> {
    let path = lake
        .table_path(table)
        .join("_delta_log")
        .join(format!("{version:020}.json"));
    let bytes = match lake.root_store().get(&path).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |error: serde_json::Error| LakeError::Damaged {
        table: table.to_owned(),
        reason: format!("{path}: {error}"),
    };
    Entry::parse(&bytes).map(Some).map_err(damaged)
}

/// The positions among transactions: `siji.events/0/3` is that of partition 3 in epoch 0. Marks of the last record
/// (`…#last`, `…#check`) are none.
pub(super) fn positions<'a>(txns: impl IntoIterator<Item = (&'a String, &'a i64)>) -> Positions {
    let parse = |(id, next): (&String, &i64)| {
        let mut parts = id.rsplit('/');
        let partition = parts.next()?.parse().ok()?;
        let epoch = parts.next()?.parse().ok()?;
        parts.next()?;
        Some(((epoch, partition), *next))
    };
    txns.into_iter().filter_map(parse).collect()
}

/// Where lives of partitions began that have no rows to tell it, among transactions (`siji.events/0/3#began`).
pub(super) fn beginnings(txns: &std::collections::HashMap<String, i64>) -> Positions {
    let marks = txns
        .iter()
        .filter_map(|(id, at)| Some((id.strip_suffix("#began")?.to_owned(), *at)));
    let marks: Vec<(String, i64)> = marks.collect();
    positions(marks.iter().map(|(id, at)| (id, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_told_from_marks_and_notes() {
        let text = r#"{"commitInfo":{"timestamp":1,"siji":{"start":"latest"}}}
            {"txn":{"appId":"siji.events/1/3","version":70}}
            {"txn":{"appId":"siji.events/1/3#last","version":69}}
            {"txn":{"appId":"siji.events/1/3#began","version":60}}
            {"txn":{"appId":"siji.events#partitions","version":12}}

            {"add":{"path":"x"}}"#;
        let entry = Entry::parse(text.as_bytes()).unwrap();
        assert!(entry.begins_epochs());
        let found = positions(entry.txns.iter().map(|(id, next)| (id, next)));
        assert_eq!(found, [((1, 3), 70)].into());
        let began = beginnings(&entry.txns.into_iter().collect());
        assert_eq!(began, [((1, 3), 60)].into());
        let ordinary = Entry::parse(br#"{"commitInfo":{"siji":{"rows":3}}}"#).unwrap();
        assert!(!ordinary.begins_epochs());
    }
}
