//! What one entry of a log did to the rows of its table: what a table that follows it needs to know.

use object_store::ObjectStoreExt;

use super::{Add, Entry, entry_path};
use crate::{Lake, LakeError};

/// What an entry did to the rows. Files that only hold rows of other files again are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Files with new rows.
    pub added: Vec<Add>,
    /// Rows went away, or it cannot be told: a follower must begin anew.
    pub took_rows: bool,
}

/// Reads an entry. `None`: it is not there (yet, or any more).
pub async fn changes(lake: &Lake, table: &str, version: i64) -> Result<Option<Changes>, LakeError> {
    let path = lake
        .table_path(table)
        .parts()
        .chain(entry_path(version).parts())
        .collect();
    let bytes = match lake.root_store().get(&path).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let entry = Entry::parse(&bytes).map_err(|error| LakeError::Damaged {
        table: table.to_owned(),
        reason: format!("{path}: {error}"),
    })?;
    Ok(Some(Changes::of(entry)))
}

impl Changes {
    fn of(entry: Entry) -> Changes {
        Changes {
            took_rows: entry.unclear || entry.removes.iter().any(|remove| remove.data_change),
            added: entry
                .adds
                .into_iter()
                .filter(|add| add.data_change)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Changes {
        Changes::of(Entry::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn files_that_hold_the_same_rows_again_are_no_change() {
        let folded = of(
            r#"{"add":{"path":"new","partitionValues":{},"size":1,"modificationTime":0,"dataChange":false,"stats":null}}
            {"remove":{"path":"old","deletionTimestamp":0,"dataChange":false}}"#,
        );
        assert_eq!(folded, Changes::default());
    }

    #[test]
    fn rows_that_went_away_or_are_not_understood_make_a_follower_begin_anew() {
        let add = r#"{"add":{"path":"new","partitionValues":{},"size":1,"modificationTime":0,"dataChange":true,"stats":null}}"#;
        let added = of(add);
        assert_eq!((added.added.len(), added.took_rows), (1, false));
        assert!(of(r#"{"remove":{"path":"old","dataChange":true}}"#).took_rows);
        assert!(of(r#"{"add":{"path":"of another kind"}}"#).took_rows);
    }
}
