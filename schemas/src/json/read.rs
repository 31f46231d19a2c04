//! Reading an event in one pass, borrowing its texts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::describe;
use super::value::{Instant, Integer, Key, Pairs, Text, decimal};
use crate::catalogue::Column;
use crate::event::{Attrs, Event, EventRef, with_event_columns};
use crate::refusal::{Code, Refusal};

/// Number of `attrs` among the members; columns have their own.
const ATTRS: usize = Column::ALL.len();

macro_rules! kind {
    (text, $a:lifetime) => { Option<Cow<$a, str>> };
    (word, $a:lifetime) => { Option<Cow<$a, str>> };
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
macro_rules! member {
    (text, $map:ident) => {
        $map.next_value_seed(Text)?
    };
    (word, $map:ident) => {
        $map.next_value_seed(Text)?
    };
    (int, $map:ident) => {
        $map.next_value_seed(Integer {
            min: i64::from(i32::MIN),
            max: i64::from(i32::MAX),
        })?
        .map(|value| value.map(|value| value as i32))
    };
    (long, $map:ident) => {
        $map.next_value_seed(Integer {
            min: i64::MIN,
            max: i64::MAX,
        })?
    };
    (instant, $map:ident) => {
        $map.next_value_seed(Instant)?
    };
    (decimal, $map:ident) => {
        decimal($map.next_value::<&RawValue>()?)
    };
}

macro_rules! define_parsed {
    ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
        /// One service event as read from JSON: its texts are those of the input where that has no escapes.
        #[derive(Debug, Clone, Default)]
        pub struct Parsed<'a> {
            $(#[doc = $meaning] pub $name: kind!($kind, 'a),)*
            /// Further facts, sorted by key.
            pub attrs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
        }

        impl Parsed<'_> {
            /// The same event, borrowed.
            pub fn as_ref(&self) -> EventRef<'_> {
                EventRef {
                    $($name: borrow!($kind, self.$name),)*
                    attrs: Attrs::Pairs(&self.attrs),
                }
            }
        }

        impl<'a> Parsed<'a> {
            /// Reads the value of a column.
            fn take<A: MapAccess<'a>>(&mut self, column: Column, map: &mut A) -> Result<Result<(), String>, A::Error> {
                Ok(match column {
                    $(Column::$name => member!($kind, map).map(|value| self.$name = value),)*
                })
            }
        }
    };
}
with_event_columns!(define_parsed);

macro_rules! define_parsed_from {
    ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
        impl From<Event> for Parsed<'static> {
            /// An event that was not read, as if it had been.
            fn from(event: Event) -> Parsed<'static> {
                Parsed {
                    $($name: define_parsed_from!(@ $kind, event.$name),)*
                    attrs: event.attrs.into_iter().map(|(key, value)| (Cow::Owned(key), Cow::Owned(value))).collect(),
                }
            }
        }
    };
    (@ text, $value:expr) => { $value.map(Cow::Owned) };
    (@ word, $value:expr) => { $value.map(Cow::Owned) };
    (@ $other:ident, $value:expr) => { $value };
}
with_event_columns!(define_parsed_from);

/// Reads one event from a JSON object.
///
/// A column that is not part of the record is V01, unless `extra` takes it: the collector does so for input-only
/// members such as `resident`.
pub fn read<'a>(
    bytes: &'a [u8],
    extra: &mut dyn FnMut(&str, &RawValue) -> Result<bool, Refusal>,
) -> Result<Parsed<'a>, Refusal> {
    let mut fault = None;
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let parsed = Object {
        extra,
        fault: &mut fault,
    }
    .deserialize(&mut input);
    let parsed = match (parsed, fault) {
        (_, Some(refusal)) => return Err(refusal),
        (Err(error), None) => return Err(Refusal::whole(Code::V01, describe(&error))),
        (Ok(parsed), None) => parsed,
    };
    input
        .end()
        .map_err(|error| Refusal::whole(Code::V01, describe(&error)))?;
    Ok(parsed)
}

struct Object<'s> {
    extra: &'s mut dyn FnMut(&str, &RawValue) -> Result<bool, Refusal>,
    fault: &'s mut Option<Refusal>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Parsed<'de>;
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Parsed<'de>, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Parsed<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed<'de>, A::Error> {
        let mut parsed = Parsed::default();
        let mut seen = 0u64;
        let mut expected = 0;
        while let Some(key) = map.next_key_seed(Key)? {
            let member = member(&key, expected);
            if let Some(member) = member {
                expected = member + 1;
                if seen & (1 << member) != 0 {
                    self.fault
                        .replace(Refusal::of(Code::V01, &key, "the column stands twice"));
                    return Err(A::Error::custom("duplicate column"));
                }
                seen |= 1 << member;
            }
            let read = match member.map(|member| Column::ALL.get(member)) {
                Some(Some(column)) => parsed.take(*column, &mut map)?,
                Some(None) => map
                    .next_value_seed(Pairs)?
                    .map(|attrs| parsed.attrs = attrs),
                None => match (self.extra)(&key, map.next_value()?) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(
                        "no column of that name; see the event model for the columns".to_owned(),
                    ),
                    Err(refusal) => {
                        self.fault.replace(refusal);
                        return Err(A::Error::custom("refused"));
                    }
                },
            };
            if let Err(reason) = read {
                self.fault
                    .replace(Refusal::of(Code::V01, shown(&key), reason));
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(parsed)
    }
}

/// The number of a member of that name. Writers keep an order, most of them ours: look where the next one is expected.
fn member(name: &str, expected: usize) -> Option<usize> {
    let is = |at: &usize| match Column::ALL.get(*at) {
        Some(column) => column.name() == name,
        None => name == "attrs",
    };
    (expected..=ATTRS)
        .find(is)
        .or_else(|| (0..expected.min(ATTRS + 1)).find(is))
}

/// A name that is safe to show: an unknown key may itself be personal data, so only words are repeated.
fn shown(key: &str) -> &str {
    let word = key.len() <= 64 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if word { key } else { "(unreadable name)" }
}
