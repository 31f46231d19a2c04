//! The columns of the event record as values, so that catalogue files can speak of them.

use crate::event::{EventRef, with_event_columns};

const MICROS: i128 = 1_000_000;

macro_rules! present {
    (text, $value:expr) => {
        $value.is_some_and(|text| !text.is_empty())
    };
    (word, $value:expr) => {
        present!(text, $value)
    };
    ($other:ident, $value:expr) => {
        $value.is_some()
    };
}
macro_rules! micros {
    (text, $value:expr) => {
        None
    };
    (word, $value:expr) => {
        None
    };
    (instant, $value:expr) => {
        None
    };
    (decimal, $value:expr) => {
        $value.map(i128::from)
    };
    ($other:ident, $value:expr) => {
        $value.map(|number| i128::from(number) * MICROS)
    };
}
macro_rules! text {
    (text, $value:expr) => {
        $value.filter(|text| !text.is_empty())
    };
    (word, $value:expr) => {
        text!(text, $value)
    };
    ($other:ident, $value:expr) => {
        None
    };
}
macro_rules! is_number {
    (text) => {
        false
    };
    (word) => {
        false
    };
    (instant) => {
        false
    };
    ($other:ident) => {
        true
    };
}

macro_rules! define_columns {
    ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
        /// A column of the event record, except `attrs`.
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Column { $(#[doc = $meaning] $name,)* }

        impl Column {
            /// Every column, in the order of the record.
            pub const ALL: &[Column] = &[$(Column::$name,)*];

            /// The name of the column.
            pub fn name(self) -> &'static str {
                match self { $(Column::$name => stringify!($name),)* }
            }

            /// The column of that name.
            pub fn parse(name: &str) -> Option<Column> {
                match name { $(stringify!($name) => Some(Column::$name),)* _ => None }
            }

            /// Whether the column holds numbers (instants are none).
            pub fn is_number(self) -> bool {
                match self { $(Column::$name => is_number!($kind),)* }
            }

            /// What an event has in this column; `None` where it has nothing or no text.
            pub fn text<'e>(self, event: &EventRef<'e>) -> Option<&'e str> {
                match self { $(Column::$name => text!($kind, event.$name),)* }
            }

            /// What an event has in this column, in millionths; `None` where it has nothing or no number.
            pub fn micros(self, event: &EventRef<'_>) -> Option<i128> {
                match self { $(Column::$name => micros!($kind, event.$name),)* }
            }
        }

        impl Columns {
            /// The columns in which an event has something; empty text counts as nothing.
            pub fn present(event: &EventRef<'_>) -> Columns {
                let mut bits = 0;
                $(bits |= u64::from(present!($kind, event.$name)) << (Column::$name as u8);)*
                Columns(bits)
            }
        }
    };
}

/// A set of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Columns(u64);

with_event_columns!(define_columns);

impl Columns {
    /// Adds a column.
    pub fn insert(&mut self, column: Column) {
        self.0 |= 1 << (column as u8);
    }

    /// Whether the column is in the set.
    pub fn contains(self, column: Column) -> bool {
        self.0 & (1 << (column as u8)) != 0
    }

    /// Those of either set.
    pub fn union(self, other: Columns) -> Columns {
        Columns(self.0 | other.0)
    }

    /// Those of this set that are not in the other.
    pub fn without(self, other: Columns) -> Columns {
        Columns(self.0 & !other.0)
    }

    /// Whether the sets share a column.
    pub fn meets(self, other: Columns) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is no column.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first column in the order of the record.
    pub fn first(self) -> Option<Column> {
        Column::ALL.get(self.0.trailing_zeros() as usize).copied()
    }

    /// The columns in the order of the record.
    pub fn iter(self) -> impl Iterator<Item = Column> {
        Column::ALL
            .iter()
            .copied()
            .filter(move |column| self.contains(*column))
    }
}

impl FromIterator<Column> for Columns {
    fn from_iter<I: IntoIterator<Item = Column>>(columns: I) -> Columns {
        let mut set = Columns::default();
        columns.into_iter().for_each(|column| set.insert(column));
        set
    }
}
