//! The event record as JSON: the same column names, instants as RFC 3339 with zone or integer milliseconds, `value` as
//! an exact decimal.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::{COLUMNS, Event, with_event_columns};
use crate::refusal::{Code, Refusal};

/// Millionths in one unit of `value`.
pub const MICROS: i64 = 1_000_000;

/// Reads one event from a JSON object.
///
/// A column that is not part of the record is V01, unless `extra` takes it: the collector does so for input-only
/// members such as `resident`.
pub fn parse(
    bytes: &[u8],
    extra: &mut dyn FnMut(&str, &RawValue) -> Result<bool, Refusal>,
) -> Result<Event, Refusal> {
    let mut fault = None;
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let event = EventSeed {
        extra,
        fault: &mut fault,
    }
    .deserialize(&mut input);
    let event = match (event, fault) {
        (_, Some(refusal)) => return Err(refusal),
        (Err(error), None) => return Err(Refusal::whole(Code::V01, describe(&error))),
        (Ok(event), None) => event,
    };
    input
        .end()
        .map_err(|error| Refusal::whole(Code::V01, describe(&error)))?;
    Ok(event)
}

/// Says what is wrong with JSON and where, without quoting any of it: the text may hold personal data.
pub fn describe(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends too early",
        serde_json::error::Category::Syntax => "no valid JSON",
        serde_json::error::Category::Data => "not a JSON object with the columns of an event",
        serde_json::error::Category::Io => "unreadable",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

struct EventSeed<'s> {
    extra: &'s mut dyn FnMut(&str, &RawValue) -> Result<bool, Refusal>,
    fault: &'s mut Option<Refusal>,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = Event;
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Event, D::Error> {
        input.deserialize_map(self)
    }
}

macro_rules! read {
    (text, $raw:expr) => {
        text($raw)
    };
    (int, $raw:expr) => {
        integer($raw, i64::from(i32::MIN), i64::from(i32::MAX)).map(|v| v.map(|v| v as i32))
    };
    (long, $raw:expr) => {
        integer($raw, i64::MIN, i64::MAX)
    };
    (instant, $raw:expr) => {
        instant($raw)
    };
    (decimal, $raw:expr) => {
        decimal($raw)
    };
}

macro_rules! define_visitor {
    ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
        impl<'de> Visitor<'de> for EventSeed<'_> {
            type Value = Event;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
                let mut event = Event::default();
                let mut seen = 0u64;
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    let raw: &RawValue = map.next_value()?;
                    let position = COLUMNS.iter().position(|column| *column == key);
                    if let Some(position) = position {
                        if seen & (1 << position) != 0 {
                            self.fault.replace(Refusal::of(Code::V01, &key, "the column stands twice"));
                            return Err(A::Error::custom("duplicate column"));
                        }
                        seen |= 1 << position;
                    }
                    let read = match key.as_ref() {
                        $(stringify!($name) => read!($kind, raw).map(|value| event.$name = value),)*
                        "attrs" => attrs(raw).map(|value| event.attrs = value),
                        other => match (self.extra)(other, raw) {
                            Ok(true) => Ok(()),
                            Ok(false) => Err("no column of that name; see the event model for the columns".to_owned()),
                            Err(refusal) => {
                                self.fault.replace(refusal);
                                return Err(A::Error::custom("refused"));
                            }
                        },
                    };
                    if let Err(reason) = read {
                        self.fault.replace(Refusal::of(Code::V01, column_name(&key), reason));
                        return Err(A::Error::custom("refused"));
                    }
                }
                Ok(event)
            }
        }

        impl Serialize for Event {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                let mut map = out.serialize_map(None)?;
                $(if let Some(value) = &self.$name { write!(@ $kind, map, stringify!($name), value); })*
                if !self.attrs.is_empty() {
                    map.serialize_entry("attrs", &self.attrs)?;
                }
                map.end()
            }
        }
    };
}

macro_rules! write {
    (@ instant, $map:ident, $name:expr, $value:expr) => {
        $map.serialize_entry($name, &format_instant(*$value))?
    };
    (@ decimal, $map:ident, $name:expr, $value:expr) => {
        let number =
            RawValue::from_string(format_decimal(*$value)).map_err(serde::ser::Error::custom)?;
        $map.serialize_entry($name, &number)?
    };
    (@ $other:ident, $map:ident, $name:expr, $value:expr) => {
        $map.serialize_entry($name, $value)?
    };
}
with_event_columns!(define_visitor);

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(input)?;
        parse(raw.get().as_bytes(), &mut |_, _| Ok(false)).map_err(D::Error::custom)
    }
}

/// A name that is safe to show: an unknown key may itself be personal data, so only words are repeated.
fn column_name(key: &str) -> &str {
    let word = key.len() <= 64 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if word { key } else { "(unreadable name)" }
}

fn text(raw: &RawValue) -> Result<Option<String>, String> {
    match raw.get().as_bytes() {
        b"null" | b"\"\"" => Ok(None),
        [b'"', ..] => serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| "no valid JSON string".to_owned()),
        _ => Err("expected a string".to_owned()),
    }
}

fn integer(raw: &RawValue, min: i64, max: i64) -> Result<Option<i64>, String> {
    if raw.get() == "null" {
        return Ok(None);
    }
    match raw.get().parse::<i64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(Some(value)),
        _ => Err(format!("expected an integer from {min} to {max}")),
    }
}

fn instant(raw: &RawValue) -> Result<Option<i64>, String> {
    if raw.get().starts_with('"') {
        let Some(text) = text(raw)? else {
            return Ok(None);
        };
        return parse_instant(&text).map(Some);
    }
    integer(raw, i64::MIN, i64::MAX).map_err(|_| {
        "expected RFC 3339 with a zone (2026-03-01T08:00:00+08:00) or integer milliseconds"
            .to_owned()
    })
}

fn decimal(raw: &RawValue) -> Result<Option<i64>, String> {
    match raw.get() {
        "null" => Ok(None),
        quoted if quoted.starts_with('"') => match text(raw)? {
            Some(text) => parse_decimal(&text).map(Some),
            None => Ok(None),
        },
        number => parse_decimal(number).map(Some),
    }
}

fn attrs(raw: &RawValue) -> Result<std::collections::BTreeMap<String, String>, String> {
    if raw.get() == "null" {
        return Ok(Default::default());
    }
    serde_json::from_str(raw.get()).map_err(|_| "expected an object of strings".to_owned())
}

/// An instant in milliseconds UTC from RFC 3339 text, whose zone is not optional. Anything below a millisecond is cut.
pub fn parse_instant(text: &str) -> Result<i64, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .map_err(|_| "expected RFC 3339 with a zone, such as 2026-03-01T08:00:00+08:00".to_owned())
}

/// An instant as RFC 3339 in UTC with milliseconds; outside the calendar, the number itself.
pub fn format_instant(ms: i64) -> String {
    match DateTime::from_timestamp_millis(ms) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => ms.to_string(),
    }
}

/// A decimal with at most 12 digits before and 6 after the point, in millionths, exactly. No exponent.
pub fn parse_decimal(text: &str) -> Result<i64, String> {
    let expected = || {
        "expected a decimal with at most 12 digits before and 6 after the point, no exponent"
            .to_owned()
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let fraction = if fraction.len() > 6 {
        fraction.trim_end_matches('0')
    } else {
        fraction
    };
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let whole = if whole.len() > 12 {
        whole.trim_start_matches('0')
    } else {
        whole
    };
    if digits.is_empty()
        || digits.starts_with('.')
        || digits.ends_with('.')
        || whole.len() > 12
        || fraction.len() > 6
    {
        return Err(expected());
    }
    if !plain(whole) || !plain(fraction) {
        return Err(expected());
    }
    let number = |part: &str| {
        if part.is_empty() {
            Ok(0)
        } else {
            part.parse::<i64>()
        }
    };
    let (Ok(whole), Ok(part)) = (number(whole), number(fraction)) else {
        return Err(expected());
    };
    let micros = whole * MICROS + part * 10i64.pow(6 - fraction.len() as u32);
    Ok(if negative { -micros } else { micros })
}

/// Millionths as a decimal without needless zeros.
pub fn format_decimal(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let magnitude = micros.unsigned_abs();
    let (whole, part) = (magnitude / MICROS as u64, magnitude % MICROS as u64);
    if part == 0 {
        return format!("{sign}{whole}");
    }
    let part = format!("{part:06}");
    format!("{sign}{whole}.{}", part.trim_end_matches('0'))
}

#[cfg(test)]
mod tests;
