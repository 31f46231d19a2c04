//! Ids that are the same at every import: a digest of what the mapping says makes a row the same row.
//!
//! The key of a row is the first 16 bytes of SHA-256 over `siji-import-1`, the mapping's namespace and the columns that
//! make it, each with its length before it. The id of an event is the same of the row's key, the name of the event's
//! rule and its own columns, written as a UUID of version 8 (RFC 9562). These forms are a contract: another one would
//! count everything twice that is imported again.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::row::Row;

/// Most different rows of a file whose repetitions are numbered: about 40 bytes of memory each.
const MAX_NUMBERED: usize = 5_000_000;

/// What becomes of a row that stands in a file twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// It is the same: its events are duplicates.
    Drop,
    /// The second, third, … are rows of their own.
    Number,
}

/// What makes a row the same row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdRule {
    /// Keeps the ids of one log apart from those of another.
    pub namespace: String,
    /// Columns, in this order; `None` = all that are not empty, whatever their order.
    pub columns: Option<Vec<String>>,
    /// Rows that stand twice.
    pub repeated: Repeated,
}

/// The key of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RowKey([u8; 16]);

impl RowKey {
    /// As text: a UUID.
    pub fn text(self) -> String {
        uuid(self.0)
    }

    /// The id of one of the row's events.
    pub fn event_id<'t>(self, name: &str, own: impl IntoIterator<Item = &'t str>) -> String {
        let mut digest = Sha256::new();
        digest.update(self.0);
        put(&mut digest, name);
        own.into_iter().for_each(|text| put(&mut digest, text));
        uuid(first_half(digest))
    }
}

fn put(digest: &mut Sha256, text: &str) {
    digest.update((text.len() as u64).to_le_bytes());
    digest.update(text.as_bytes());
}

fn first_half(digest: Sha256) -> [u8; 16] {
    let digest: [u8; 32] = digest.finalize().into();
    let (half, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    *half
}

fn uuid(bytes: [u8; 16]) -> String {
    let uuid = uuid::Builder::from_custom_bytes(bytes).into_uuid();
    Uuid::hyphenated(uuid).to_string()
}

/// Makes the keys of the rows of one file, in their order.
#[derive(Debug)]
pub(super) struct Keys {
    rule: IdRule,
    /// How often each row stood so far, where that counts.
    seen: HashMap<[u8; 16], u32>,
}

impl IdRule {
    /// Whether nothing stands in any of the columns that make the row's key: then it would be the same as all such rows.
    pub(super) fn is_empty_for(&self, row: &Row) -> bool {
        let columns = self.columns.as_ref();
        columns.is_some_and(|columns| columns.iter().all(|name| row.get(name).is_empty()))
    }
}

impl Keys {
    pub fn new(rule: &IdRule) -> Keys {
        Keys {
            rule: rule.clone(),
            seen: HashMap::new(),
        }
    }

    /// The key of the next row.
    pub fn next(&mut self, row: &Row) -> Result<RowKey, String> {
        let first = self.first(row);
        if self.rule.repeated == Repeated::Drop {
            return Ok(RowKey(first));
        }
        if self.seen.len() >= MAX_NUMBERED && !self.seen.contains_key(&first) {
            return Err(format!(
                "the file has more than {MAX_NUMBERED} different rows, too many to number those that stand twice: split the file, or set `repeated` in [ids] to \"drop\""
            ));
        }
        let times = self.seen.entry(first).or_default();
        *times += 1;
        Ok(RowKey(match *times {
            1 => first,
            nth => {
                let mut digest = Sha256::new();
                digest.update(first);
                digest.update(nth.to_le_bytes());
                first_half(digest)
            }
        }))
    }

    /// The key of the first of all rows like this one.
    fn first(&self, row: &Row) -> [u8; 16] {
        let mut digest = Sha256::new();
        digest.update(b"siji-import-1");
        put(&mut digest, &self.rule.namespace);
        match &self.rule.columns {
            Some(columns) => {
                for column in columns {
                    put(&mut digest, row.get(column));
                }
            }
            None => {
                for (name, text) in row.pairs() {
                    put(&mut digest, name);
                    put(&mut digest, text);
                }
            }
        }
        first_half(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    fn rule(columns: Option<&[&str]>, repeated: Repeated) -> IdRule {
        IdRule {
            namespace: "log".to_owned(),
            columns: columns.map(|all| all.iter().map(|name| (*name).to_owned()).collect()),
            repeated,
        }
    }

    #[test]
    fn the_form_of_an_id_never_changes() {
        let mut keys = Keys::new(&rule(Some(&["no"]), Repeated::Drop));
        let key = keys.next(&row(&[("no", "17"), ("note", "x")])).unwrap();
        assert_eq!(key.text(), PINNED_ROW);
        assert_eq!(key.event_id("case.opened", []), PINNED_EVENT);
        assert_eq!(Uuid::parse_str(&key.text()).unwrap().get_version_num(), 8);
    }

    /// Reckoned by another program, from the description above.
    const PINNED_ROW: &str = "ad91290a-74b6-8e96-9274-309f9ff4fe29";
    const PINNED_EVENT: &str = "bd12d7ef-6efb-81aa-88f4-c97c341d4924";

    #[test]
    fn the_order_of_columns_and_empty_ones_make_no_other_row() {
        let mut keys = Keys::new(&rule(None, Repeated::Drop));
        let one = keys.next(&row(&[("a", "1"), ("b", "2")])).unwrap();
        let moved = keys
            .next(&row(&[("b", " 2 "), ("c", ""), ("a", "1")]))
            .unwrap();
        let other = keys.next(&row(&[("a", "12"), ("b", "")])).unwrap();
        assert_eq!(one, moved);
        assert_ne!(one, other);
    }

    #[test]
    fn rows_that_stand_twice_are_one_or_are_numbered_from_the_second() {
        let rows = [
            row(&[("no", "1")]),
            row(&[("no", "2")]),
            row(&[("no", "1")]),
        ];
        let keys = |repeated| -> Vec<String> {
            let mut keys = Keys::new(&rule(None, repeated));
            rows.iter()
                .map(|row| keys.next(row).unwrap().text())
                .collect()
        };
        let (dropped, numbered) = (keys(Repeated::Drop), keys(Repeated::Number));
        assert_eq!(dropped[0], dropped[2]);
        assert_ne!(numbered[0], numbered[2]);
        assert_eq!(
            dropped[..2],
            numbered[..2],
            "changing the choice adds rows, it doubles none"
        );
        assert_eq!(numbered, keys(Repeated::Number));
    }

    #[test]
    fn events_of_a_row_have_ids_of_their_own() {
        let mut keys = Keys::new(&rule(None, Repeated::Drop));
        let key = keys.next(&row(&[("no", "1")])).unwrap();
        let ids = [
            key.event_id("case.opened", []),
            key.event_id("case.closed", []),
            key.event_id("case.closed", ["2014-01-01"]),
            key.event_id("case.closed", ["2014", "-01-01"]),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{ids:?}");
        }
    }
}
