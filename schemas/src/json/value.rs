//! The values of an event's members, each read in one pass from the input.
//!
//! A value of the wrong kind is no error of the JSON: reading goes on behind it, and the reason is the result.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{parse_decimal, parse_instant};

/// What a member holds, or why it cannot.
pub(super) type Read<T> = Result<Option<T>, String>;

const INSTANT: &str =
    "expected RFC 3339 with a zone (2026-03-01T08:00:00+08:00) or integer milliseconds";
const ATTRS: &str = "expected an object of strings";

/// Answers of a visitor to values that are not of its kind.
macro_rules! otherwise {
    ($reason:expr; $($kind:ident)*) => { $(otherwise!(@ $kind, $reason);)* };
    (@ bool, $reason:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> { Ok(Err($reason(&self))) }
    };
    (@ integers, $reason:expr) => {
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> { Ok(Err($reason(&self))) }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> { Ok(Err($reason(&self))) }
    };
    (@ float, $reason:expr) => {
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> { Ok(Err($reason(&self))) }
    };
    (@ text, $reason:expr) => {
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> { Ok(Err($reason(&self))) }
    };
    (@ seq, $reason:expr) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Err($reason(&self)))
        }
    };
    (@ map, $reason:expr) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Err($reason(&self)))
        }
    };
    (@ null, $reason:expr) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok(Ok(None)) }
    };
}

macro_rules! seed {
    ($name:ident, $value:ty) => {
        impl<'de> DeserializeSeed<'de> for $name {
            type Value = Read<$value>;
            fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
                input.deserialize_any(self)
            }
        }
    };
}

/// A string; an empty one is none.
pub(super) struct Text;
seed!(Text, Cow<'de, str>);

impl<'de> Visitor<'de> for Text {
    type Value = Read<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Ok((!text.is_empty()).then_some(Cow::Borrowed(text))))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Ok((!text.is_empty()).then(|| Cow::Owned(text.to_owned()))))
    }
    otherwise!(|_: &Self| "expected a string".to_owned(); null bool integers float seq map);
}

/// A whole number within bounds.
pub(super) struct Integer {
    pub min: i64,
    pub max: i64,
}
seed!(Integer, i64);

impl Integer {
    fn expected(&self) -> String {
        format!("expected an integer from {} to {}", self.min, self.max)
    }
    fn within(self, value: Option<i64>) -> Read<i64> {
        match value.filter(|value| (self.min..=self.max).contains(value)) {
            Some(value) => Ok(Some(value)),
            None => Err(self.expected()),
        }
    }
}

impl<'de> Visitor<'de> for Integer {
    type Value = Read<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.within(Some(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.within(i64::try_from(value).ok()))
    }
    otherwise!(Self::expected; null bool float text seq map);
}

/// An instant in milliseconds.
pub(super) struct Instant;
seed!(Instant, i64);

impl<'de> Visitor<'de> for Instant {
    type Value = Read<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an instant")
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        if text.is_empty() {
            return Ok(Ok(None));
        }
        Ok(parse_instant(text).map(Some))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Ok(Some(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value)
            .map(Some)
            .map_err(|_| INSTANT.to_owned()))
    }
    otherwise!(|_: &Self| INSTANT.to_owned(); null bool float seq map);
}

/// A decimal in millionths. It is read from its digits: a binary number would not be exact.
pub(super) fn decimal(raw: &RawValue) -> Read<i64> {
    match raw.get() {
        "null" | "\"\"" => Ok(None),
        quoted if quoted.starts_with('"') => match serde_json::from_str::<Cow<'_, str>>(quoted) {
            Ok(text) => parse_decimal(&text).map(Some),
            Err(_) => Err("no valid JSON string".to_owned()),
        },
        number => parse_decimal(number).map(Some),
    }
}

/// `attrs`: strings by key.
pub(super) struct Pairs;
type Pair<'de> = (Cow<'de, str>, Cow<'de, str>);

impl<'de> DeserializeSeed<'de> for Pairs {
    type Value = Result<Vec<Pair<'de>>, String>;
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pairs {
    type Value = Result<Vec<Pair<'de>>, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ATTRS)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(Vec::new()))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs: Vec<Pair<'de>> = Vec::new();
        let mut strings = true;
        while let Some(key) = map.next_key_seed(Key)? {
            match map.next_value_seed(Whole)? {
                Some(value) => pairs.push((key, value)),
                None => strings = false,
            }
        }
        if !strings {
            return Ok(Err(ATTRS.to_owned()));
        }
        // Sorted, and of keys that stand twice the last, as in any map.
        if !pairs.is_sorted_by(|(a, _), (b, _)| a < b) {
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            pairs.reverse();
            pairs.dedup_by(|(a, _), (b, _)| a == b);
            pairs.reverse();
        }
        Ok(Ok(pairs))
    }
    otherwise!(|_: &Self| ATTRS.to_owned(); bool integers float text seq);
}

/// A string as it is, empty or not; `None` for anything else.
struct Whole;

impl<'de> DeserializeSeed<'de> for Whole {
    type Value = Option<Cow<'de, str>>;
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// A member's name. (`Cow` by itself would always be copied.)
pub(super) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
