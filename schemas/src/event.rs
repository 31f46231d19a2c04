//! The event record: one flat row, the same columns in every representation.
//!
//! `with_event_columns!` is the one list they all come from; the order is the order of the Avro schema and of the
//! Arrow schema and is a contract (see `schemas/avro/v1.avsc`).

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Calls a macro with every column of the event record except `attrs`, as `name: kind presence "meaning"`.
///
/// Kinds: `text`, `word` (a text that repeats from event to event), `int` (i32), `long` (i64), `instant` (i64, milliseconds UTC), `decimal` (i64, millionths).
/// Presence is that of the Avro schema: a `required` column has no null branch.
macro_rules! with_event_columns {
    ($callback:ident) => {
        $callback! {
            event_id: text required "idempotency key, a UUID of any version; a re-send carries the same id";
            schema_version: int required "layout of the record, 1";
            event_type: word required "dotted name from the catalogue";
            op: word required "assert, correct or retract";
            target_event_id: text optional "event that is corrected or retracted";
            target_occurred_at: instant optional "business time of the target";
            occurred_at: instant required "business time";
            recorded_at: instant required "clock of the collector";
            source_id: word optional "collector, stamped by it";
            incarnation: long optional "random number of one opening of the collector's spool";
            source_seq: long optional "gap-free counter within an incarnation";
            area_code: word required "area where the event belongs, registry form or padded to 12 digits";
            home_area_code: word optional "Kafka key; the area of opening for case.*, else area_code";
            grid_code: word optional "grid within the community";
            subject_kind: word required "kind of thing the event is about";
            subject_id: text required "thing the event is about; a register's code for stock.reported";
            case_kind: word optional "consult, request, complaint, …";
            service_code: word optional "leaf of the service catalogue";
            channel: word optional "hotline, window, web, …";
            actor_role: word optional "who acted, as a role";
            actor_ref: text optional "who acted, as a pseudonym";
            resident_ref: text optional "person served, as a pseudonym";
            handler_code: word optional "body responsible now, `h:<area code>` or an organisation's code";
            handler_tier: int optional "tier of the handler, 1 community to 5 province";
            due_at: instant optional "deadline set by this event";
            outcome: word optional "result, by type";
            rating: int optional "1 to 5, 5 very satisfied, 3 basically satisfied";
            count: long optional "persons, votes or items; never 1 by guess";
            amount_fen: long optional "money in 0.01 yuan";
            minutes: int optional "duration in minutes";
            value: decimal optional "any other measure, in millionths of `unit`";
            unit: word optional "unit of `value`";
            qualifier: word required "exact, approx, at_least, at_most or damaged";
            fee_mode: word optional "free, low or paid";
            fund_source: word optional "where money comes from";
        }
    };
}
pub(crate) use with_event_columns;

macro_rules! owned {
    (text) => { Option<String> };
    (word) => { Option<String> };
    (int) => { Option<i32> };
    ($other:ident) => { Option<i64> };
}
macro_rules! borrowed {
    (text, $a:lifetime) => { Option<&$a str> };
    (word, $a:lifetime) => { Option<&$a str> };
    (int, $a:lifetime) => { Option<i32> };
    ($other:ident, $a:lifetime) => { Option<i64> };
}
macro_rules! borrow {
    (text, $value:expr) => {
        $value.as_deref()
    };
    (word, $value:expr) => {
        $value.as_deref()
    };
    ($other:ident, $value:expr) => {
        $value
    };
}

macro_rules! define_event {
    ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
        /// One service event, owned. An absent column is `None`; what must be present is the validator's business.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct Event {
            $(#[doc = $meaning] pub $name: owned!($kind),)*
            /// Further facts, keys whitelisted per type.
            pub attrs: BTreeMap<String, String>,
        }

        /// One service event, borrowed: from an [`Event`] or from a row of an Arrow batch.
        #[derive(Debug, Clone, Copy, Default)]
        pub struct EventRef<'a> {
            $(#[doc = $meaning] pub $name: borrowed!($kind, 'a),)*
            /// Further facts, keys whitelisted per type.
            pub attrs: Attrs<'a>,
        }

        impl Event {
            /// The same event, borrowed.
            pub fn as_ref(&self) -> EventRef<'_> {
                EventRef {
                    $($name: borrow!($kind, self.$name),)*
                    attrs: Attrs::Owned(&self.attrs),
                }
            }
        }

        /// Column names in the order of the record, `attrs` last.
        pub const COLUMNS: &[&str] = &[$(stringify!($name),)* "attrs"];
    };
}
with_event_columns!(define_event);

/// The layout this code writes.
pub const SCHEMA_VERSION: i32 = 1;

/// The `attrs` of an event, wherever they are kept.
#[derive(Debug, Clone, Copy, Default)]
pub enum Attrs<'a> {
    /// No attrs.
    #[default]
    Empty,
    /// Those of an owned event.
    Owned(&'a BTreeMap<String, String>),
    /// Those of an event just read, sorted by key.
    Pairs(&'a [Pair<'a>]),
    /// Entries `start..end` of an Arrow map column.
    Column {
        /// Keys of all rows of the column.
        keys: &'a arrow::array::StringArray,
        /// Values of all rows of the column.
        values: &'a arrow::array::StringArray,
        /// First entry of this row.
        start: usize,
        /// One past the last entry of this row.
        end: usize,
    },
}

impl<'a> Attrs<'a> {
    /// Number of entries.
    pub fn len(&self) -> usize {
        match self {
            Attrs::Empty => 0,
            Attrs::Owned(map) => map.len(),
            Attrs::Pairs(pairs) => pairs.len(),
            Attrs::Column { start, end, .. } => end - start,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries in stored order (sorted by key when written by siji).
    #[inline]
    pub fn iter(self) -> AttrsIter<'a> {
        match self {
            Attrs::Empty => AttrsIter::Pairs([].iter()),
            Attrs::Owned(map) => AttrsIter::Owned(map.iter()),
            Attrs::Pairs(pairs) => AttrsIter::Pairs(pairs.iter()),
            Attrs::Column {
                keys,
                values,
                start,
                end,
            } => AttrsIter::Column {
                keys,
                values,
                rows: start..end,
            },
        }
    }

    /// The value of a key.
    pub fn get(self, key: &str) -> Option<&'a str> {
        match self {
            Attrs::Owned(map) => map.get(key).map(String::as_str),
            other => other.iter().find(|(k, _)| *k == key).map(|(_, v)| v),
        }
    }
}

/// See [`Attrs::iter`].
#[derive(Debug, Clone)]
pub enum AttrsIter<'a> {
    /// Of [`Attrs::Owned`].
    Owned(std::collections::btree_map::Iter<'a, String, String>),
    /// Of [`Attrs::Pairs`].
    Pairs(std::slice::Iter<'a, Pair<'a>>),
    /// Of [`Attrs::Column`].
    Column {
        /// Keys of all rows of the column.
        keys: &'a arrow::array::StringArray,
        /// Values of all rows of the column.
        values: &'a arrow::array::StringArray,
        /// Entries that are still to come.
        rows: std::ops::Range<usize>,
    },
}

impl<'a> Iterator for AttrsIter<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            AttrsIter::Owned(map) => map
                .next()
                .map(|(key, value)| (key.as_str(), value.as_str())),
            AttrsIter::Pairs(pairs) => pairs
                .next()
                .map(|(key, value)| (key.as_ref(), value.as_ref())),
            AttrsIter::Column { keys, values, rows } => {
                rows.next().map(|row| (keys.value(row), values.value(row)))
            }
        }
    }
}

/// A key and a value of `attrs`.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// One service event just read: its texts are those of the input.
#[derive(Debug, Clone, Default)]
pub struct BorrowedEvent<'a> {
    pub(crate) columns: EventRef<'a>,
    pub(crate) attrs: Vec<Pair<'a>>,
}

impl BorrowedEvent<'_> {
    /// The event.
    pub fn as_ref(&self) -> EventRef<'_> {
        EventRef {
            attrs: Attrs::Pairs(&self.attrs),
            ..self.columns
        }
    }
}

impl EventRef<'_> {
    /// An owned copy.
    pub fn to_event(self) -> Event {
        macro_rules! copy {
            ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
                Event {
                    $($name: copy!(@ $kind, self.$name),)*
                    attrs: self.attrs.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                }
            };
            (@ text, $value:expr) => { $value.map(str::to_owned) };
            (@ word, $value:expr) => { $value.map(str::to_owned) };
            (@ $other:ident, $value:expr) => { $value };
        }
        with_event_columns!(copy)
    }
}
