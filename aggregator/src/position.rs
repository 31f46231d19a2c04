//! How far a partition has come, and what its offsets are called in the tables.
//!
//! A position is some transactions of the ledger's log, so that it moves together with the rows: the next offset
//! (`siji.events/0/3`), and for the last record its offset (`…#last`) and checksum (`…#check`), by which a recreated
//! topic or a broker that lost its tail is recognised (D2); and the oldest record that waits for its target (`…#parked`, with
//! its `…#parked-epoch`), once there has been one. Derived tables carry the first of them only.

use std::collections::HashMap;

use siji_lake::Txn;
use twox_hash::XxHash3_64;

use crate::amend::Place;

/// `…#parked` where nothing waits.
pub const NONE_PARKED: i64 = -1;

/// A partition of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub i32);

/// The last record of a partition that is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecord {
    /// Its offset.
    pub offset: i64,
    /// See [`record_check`].
    pub check: i64,
}

/// How far the ledger has come in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Counts the lives of the topic; an operator begins a new one after a topic was recreated.
    pub epoch: i32,
    /// The next offset to take; `None` before the first.
    pub next: Option<i64>,
    /// The last record taken.
    pub last: Option<LastRecord>,
    /// The oldest record that waits for its target.
    pub parked: Option<Place>,
}

/// Name of a partition's position in every table's log.
pub fn app_id(topic: &str, epoch: i32, partition: Partition) -> String {
    format!("{topic}/{epoch}/{}", partition.0)
}

/// The topic of an id made by [`app_id`], whatever its suffix.
pub fn topic_of(id: &str) -> Option<&str> {
    let (id, _) = id.split_once('#').unwrap_or((id, ""));
    let (rest, partition) = id.rsplit_once('/')?;
    let (topic, epoch) = rest.rsplit_once('/')?;
    let number = |text: &str| text.parse::<u32>().is_ok();
    (number(partition) && number(epoch)).then_some(topic)
}

/// Topic, epoch, partition and next offset of every life of every partition among a table's transactions. Marks (`…#last`) are
/// none.
pub fn all_positions(txns: &HashMap<String, i64>) -> Vec<(String, i32, Partition, i64)> {
    let parse = |(id, next): (&String, &i64)| {
        let (rest, partition) = id.rsplit_once('/')?;
        let (topic, epoch) = rest.rsplit_once('/')?;
        let partition = Partition(partition.parse().ok()?);
        Some((topic.to_owned(), epoch.parse().ok()?, partition, *next))
    };
    let mut all: Vec<_> = txns.iter().filter_map(parse).collect();
    all.sort();
    all
}

/// Name of the offset at which a life of a partition began, where it did not begin with its first row: a partition
/// without rows stands there. It stays when the entry that tells of it has been cleaned up.
pub fn began_id(topic: &str, epoch: i32, partition: Partition) -> String {
    format!("{}#began", app_id(topic, epoch, partition))
}

impl Position {
    /// The position that a ledger's transactions hold.
    pub fn read(txns: &HashMap<String, i64>, topic: &str, partition: Partition) -> Position {
        let mut epoch = 0;
        while txns.contains_key(&app_id(topic, epoch + 1, partition)) {
            epoch += 1;
        }
        let id = app_id(topic, epoch, partition);
        let part = |suffix: &str| txns.get(&format!("{id}{suffix}")).copied();
        let last = match (part("#last"), part("#check")) {
            (Some(offset), Some(check)) => Some(LastRecord { offset, check }),
            _ => None,
        };
        let parked = match (part("#parked"), part("#parked-epoch")) {
            (Some(offset), Some(epoch)) if offset >= 0 => i32::try_from(epoch)
                .ok()
                .map(|epoch| Place { epoch, offset }),
            _ => None,
        };
        Position {
            epoch,
            next: part(""),
            last,
            parked,
        }
    }

    /// The transactions that hold this position in the ledger.
    pub fn txns(&self, topic: &str, partition: Partition, now_ms: i64) -> Vec<Txn> {
        let id = app_id(topic, self.epoch, partition);
        let txn = |suffix: &str, version| Txn {
            app_id: format!("{id}{suffix}"),
            version,
            last_updated: Some(now_ms),
        };
        let mut txns: Vec<Txn> = self.next.map(|next| txn("", next)).into_iter().collect();
        if let Some(last) = self.last {
            txns.extend([txn("#last", last.offset), txn("#check", last.check)]);
        }
        match self.parked {
            Some(Place { epoch, offset }) => txns.extend([
                txn("#parked", offset),
                txn("#parked-epoch", i64::from(epoch)),
            ]),
            None => txns.push(txn("#parked", NONE_PARKED)),
        }
        txns
    }
}

/// Checksum of a record by which it is recognised: XXH3 over timestamp, key and value.
pub fn record_check(timestamp_ms: Option<i64>, key: Option<&[u8]>, value: Option<&[u8]>) -> i64 {
    let mut bytes = timestamp_ms.unwrap_or(-1).to_le_bytes().to_vec();
    for part in [key, value] {
        bytes.extend_from_slice(&part.map_or(-1, |part| part.len() as i64).to_le_bytes());
        bytes.extend_from_slice(part.unwrap_or_default());
    }
    XxHash3_64::oneshot(&bytes) as i64
}

/// What an incoming offset means to a partition that expects `next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The one expected.
    Next,
    /// Offsets `from..=to` were never seen: control records, or records the broker no longer has.
    Gap {
        /// First missing offset.
        from: i64,
        /// Last missing offset.
        to: i64,
    },
    /// In the ledger already.
    Seen,
}

/// Decides what an offset means. `next` is `None` before the first record: a partition begins where its log begins.
pub fn step(next: Option<i64>, offset: i64) -> Step {
    match next {
        Some(next) if offset < next => Step::Seen,
        Some(next) if offset > next => Step::Gap {
            from: next,
            to: offset - 1,
        },
        _ => Step::Next,
    }
}

/// What the broker's log of a partition tells about a stored position, before anything is consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known yet: start at the log's beginning.
    Fresh,
    /// Go on at the position; the record at `verify` must be the one remembered.
    Resume {
        /// Offset to read first and compare.
        verify: LastRecord,
    },
    /// Go on at the position; the remembered record is no longer kept, so nothing can be compared.
    ResumeUnverified,
    /// The log ends before the position: the topic was recreated or the broker lost records.
    Lost,
    /// The log begins after the position: records were deleted before they were read.
    Deleted,
}

/// Compares a stored position with the first offset a log still has (`low`) and the one it will give next (`high`).
pub fn standing(position: &Position, low: i64, high: i64) -> Standing {
    match (position.next, position.last) {
        (None, _) => Standing::Fresh,
        (Some(next), _) if high < next => Standing::Lost,
        (Some(next), _) if low > next => Standing::Deleted,
        (Some(_), Some(last)) if low <= last.offset && last.offset < high => {
            Standing::Resume { verify: last }
        }
        (Some(_), _) => Standing::ResumeUnverified,
    }
}

#[cfg(test)]
mod tests;
