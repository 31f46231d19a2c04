//! The event record as JSON: the same column names, instants as RFC 3339 with zone or integer milliseconds, `value` as
//! an exact decimal.

use chrono::{DateTime, SecondsFormat};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::{Event, with_event_columns};
use crate::refusal::Refusal;

mod instant;
mod read;
mod usual;
mod value;

pub use instant::parse_instant;
pub use read::{Parsed, read};
pub use usual::usual;

/// Millionths in one unit of `value`.
pub const MICROS: i64 = 1_000_000;

/// Reads one event from a JSON object; see [`read`].
pub fn parse(
    bytes: &[u8],
    extra: &mut dyn FnMut(&str, &RawValue) -> Result<bool, Refusal>,
) -> Result<Event, Refusal> {
    read(bytes, extra).map(|parsed| parsed.as_ref().to_event())
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

macro_rules! define_serialize {
    ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
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
with_event_columns!(define_serialize);

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(input)?;
        parse(raw.get().as_bytes(), &mut |_, _| Ok(false)).map_err(serde::de::Error::custom)
    }
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
