//! CloudEvents 1.0: an envelope around an event, as JSON or as headers.
//!
//! The event itself is the `data`, with the columns it always has. The envelope fills in what it leaves out: `id` the
//! `event_id`, `type` the `event_type`, `time` the `occurred_at`, `source` the fact `attrs.source`, where the type has
//! that and it fits. It never says who reports: that is the token's. What both say must agree, except for an `id` that
//! is no UUID and stands beside an `event_id`. `subject`, `dataschema` and extensions are not kept.

use std::borrow::Cow;
use std::fmt;

use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use data_encoding::BASE64;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use siji_schemas::catalogue::Catalogue;
use siji_schemas::json::{self, Parsed};
use siji_schemas::personal::contains_raw_personal;
use siji_schemas::validate::{MAX_ATTRS, MAX_VALUE_BYTES};
use siji_schemas::{Code, Refusal};
use uuid::Uuid;

/// What the headers of binary mode begin with.
const PREFIX: &str = "ce-";
/// Longest attribute of an envelope that is looked at, in bytes.
const MAX_ATTRIBUTE: usize = 1024;

/// An event in an envelope, as it came.
#[derive(Debug, Clone)]
pub struct CloudEvent(Mode);

#[derive(Debug, Clone)]
enum Mode {
    /// Envelope and data in one JSON object.
    Structured(Bytes),
    /// The envelope was in headers.
    Binary {
        envelope: Result<Envelope, Refusal>,
        data: Bytes,
    },
}

/// What an envelope says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    id: String,
    event_type: String,
    source: String,
    time_ms: Option<i64>,
}

/// Attributes as they came, before any is checked.
#[derive(Debug, Default)]
struct Attributes<'a> {
    specversion: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    datacontenttype: Option<Cow<'a, str>>,
}

impl CloudEvent {
    /// Of one JSON object.
    pub(super) fn structured(bytes: Bytes) -> CloudEvent {
        CloudEvent(Mode::Structured(bytes))
    }

    /// Of the headers of a request and its body.
    pub(super) fn binary(headers: &HeaderMap, data: Bytes) -> CloudEvent {
        let envelope = of_headers(headers).and_then(|attributes| attributes.check());
        CloudEvent(Mode::Binary { envelope, data })
    }

    /// Whether a request carries an envelope in its headers.
    pub(super) fn is_in(headers: &HeaderMap) -> bool {
        headers.keys().any(|name| name.as_str().starts_with(PREFIX))
    }

    /// The bytes that a refusal keeps when the envelope cannot be read.
    pub(crate) fn received(&self) -> &[u8] {
        match &self.0 {
            Mode::Structured(bytes) => bytes,
            Mode::Binary { data, .. } => data,
        }
    }

    /// The envelope, and the event in it as JSON.
    pub(crate) fn open(&self) -> Result<(Envelope, Cow<'_, [u8]>), Refusal> {
        match &self.0 {
            Mode::Binary { envelope, data } => {
                Ok((envelope.clone()?, Cow::Borrowed(data.as_ref())))
            }
            Mode::Structured(bytes) => {
                let members: Members<'_> = serde_json::from_slice(bytes)
                    .map_err(|error| Refusal::whole(Code::V01, json::describe(&error)))?;
                if let Some(name) = members.twice {
                    return Err(refuse(name, "the attribute stands twice"));
                }
                let envelope = members.attributes()?.check()?;
                Ok((envelope, members.data()?))
            }
        }
    }
}

fn refuse(attribute: &str, reason: impl Into<String>) -> Refusal {
    Refusal::of(Code::V01, attribute, reason)
}

impl Attributes<'_> {
    /// Whether the envelope is one of CloudEvents 1.0 and its data is JSON.
    fn check(self) -> Result<Envelope, Refusal> {
        let required = |name: &str, text: Option<Cow<'_, str>>| {
            let text = text.unwrap_or_default();
            if text.is_empty() {
                return Err(refuse(name, "the envelope must have this attribute"));
            }
            if text.len() > MAX_ATTRIBUTE || text.chars().any(char::is_control) {
                return Err(refuse(
                    name,
                    format!("expected at most {MAX_ATTRIBUTE} bytes without control characters"),
                ));
            }
            Ok(text.into_owned())
        };
        if required("specversion", self.specversion)? != "1.0" {
            return Err(refuse("specversion", "expected 1.0"));
        }
        if let Some(content_type) = self.datacontenttype
            && !is_json(&content_type)
        {
            return Err(refuse(
                "datacontenttype",
                "expected application/json, or nothing",
            ));
        }
        let time_ms = match self.time {
            Some(time) => Some(json::parse_instant(&time).map_err(|why| refuse("time", why))?),
            None => None,
        };
        Ok(Envelope {
            id: required("id", self.id)?,
            event_type: required("type", self.event_type)?,
            source: required("source", self.source)?,
            time_ms,
        })
    }
}

/// `application/json`, or another type that is written in JSON.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || (essence.contains('/') && essence.ends_with("+json"))
}

impl Envelope {
    /// Fills in what the event leaves out, and compares what both say.
    pub(crate) fn complete(
        &self,
        event: &mut Parsed<'_>,
        catalogue: &Catalogue,
    ) -> Result<(), Refusal> {
        let differs = |column: &str, attribute: &str| {
            Err(refuse(
                column,
                format!(
                    "{column} in data and {attribute} of the envelope differ: send one, or both the same"
                ),
            ))
        };
        match &event.event_id {
            None => event.event_id = Some(Cow::Owned(self.id.clone())),
            Some(id) => {
                if let Ok(other) = Uuid::try_parse(&self.id)
                    && Uuid::try_parse(id).is_ok_and(|id| id != other)
                {
                    return differs("event_id", "id");
                }
            }
        }
        match &event.event_type {
            None => event.event_type = Some(Cow::Owned(self.event_type.clone())),
            Some(name) if *name != self.event_type => return differs("event_type", "type"),
            Some(_) => {}
        }
        match (event.occurred_at, self.time_ms) {
            (None, time_ms) => event.occurred_at = time_ms,
            (Some(given), Some(time_ms)) if given != time_ms => {
                return differs("occurred_at", "time");
            }
            _ => {}
        }
        self.tell_source(event, catalogue);
        Ok(())
    }

    /// The source is worth keeping, but no reason to refuse an event.
    fn tell_source(&self, event: &mut Parsed<'_>, catalogue: &Catalogue) {
        let allowed = event
            .event_type
            .as_deref()
            .and_then(|name| catalogue.event_type(name))
            .is_some_and(|known| known.allows("source"));
        let fits = self.source.len() <= MAX_VALUE_BYTES
            && event.attrs.len() < MAX_ATTRS
            && !contains_raw_personal(self.source.as_bytes());
        let place = event
            .attrs
            .binary_search_by(|(key, _)| key.as_ref().cmp("source"));
        if let (true, true, Err(at)) = (allowed, fits, place) {
            let entry = (Cow::Borrowed("source"), Cow::Owned(self.source.clone()));
            event.attrs.insert(at, entry);
        }
    }
}

/// The members of a structured CloudEvent that matter here.
#[derive(Default)]
struct Members<'a> {
    found: [Option<&'a RawValue>; NAMES.len()],
    twice: Option<&'static str>,
}

const NAMES: [&str; 8] = [
    "specversion",
    "id",
    "type",
    "source",
    "time",
    "datacontenttype",
    "data",
    "data_base64",
];

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a CloudEvent")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    let value: &RawValue = map.next_value()?;
                    let Some(at) = NAMES.iter().position(|known| *known == name) else {
                        continue;
                    };
                    // Null says that an attribute is absent.
                    let value = Some(value).filter(|value| value.get() != "null");
                    if members.found[at].is_some() {
                        members.twice = Some(NAMES[at]);
                    }
                    members.found[at] = value;
                }
                Ok(members)
            }
        }
        input.deserialize_map(Object)
    }
}

impl<'a> Members<'a> {
    fn attributes(&self) -> Result<Attributes<'a>, Refusal> {
        let text = |at: usize| match self.found[at] {
            None => Ok(None),
            Some(raw) => serde_json::from_str::<Cow<'a, str>>(raw.get())
                .map(Some)
                .map_err(|_| refuse(NAMES[at], "expected a string")),
        };
        Ok(Attributes {
            specversion: text(0)?,
            id: text(1)?,
            event_type: text(2)?,
            source: text(3)?,
            time: text(4)?,
            datacontenttype: text(5)?,
        })
    }

    fn data(&self) -> Result<Cow<'a, [u8]>, Refusal> {
        match (self.found[6], self.found[7]) {
            (Some(data), None) if data.get().starts_with('{') => {
                Ok(Cow::Borrowed(data.get().as_bytes()))
            }
            (None, Some(encoded)) => {
                let expected = || refuse("data_base64", "expected the event as JSON, in base64");
                let text: Cow<'_, str> =
                    serde_json::from_str(encoded.get()).map_err(|_| expected())?;
                let bytes = BASE64.decode(text.as_bytes()).map_err(|_| expected())?;
                Ok(Cow::Owned(bytes))
            }
            (Some(_), Some(_)) => Err(refuse(
                "data_base64",
                "data and data_base64 exclude each other: send one",
            )),
            _ => Err(refuse("data", "expected the event as a JSON object")),
        }
    }
}

/// The attributes in the headers of a request. What `Content-Type` says is the caller's business.
fn of_headers(headers: &HeaderMap) -> Result<Attributes<'_>, Refusal> {
    let text = |name: &str| {
        let header = format!("{PREFIX}{name}");
        let mut values = headers.get_all(header.as_str()).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                decode(value)
                    .map(|text| Some(Cow::Owned(text)))
                    .ok_or_else(|| {
                        refuse(
                            name,
                            format!("the header {header} is not percent-encoded UTF-8"),
                        )
                    })
            }
            (Some(_), Some(_)) => Err(refuse(name, format!("the header {header} stands twice"))),
        }
    };
    Ok(Attributes {
        specversion: text("specversion")?,
        id: text("id")?,
        event_type: text("type")?,
        source: text("source")?,
        time: text("time")?,
        datacontenttype: text("datacontenttype")?,
    })
}

/// The value of a header: unquoted, then percent-decoded once (HTTP binding 1.0.2, section 3.1.3.2).
fn decode(value: &HeaderValue) -> Option<String> {
    let bytes = value.as_bytes();
    let bytes = match bytes {
        [b'"', quoted @ .., b'"'] => Cow::Owned(unquote(quoted)?),
        plain => Cow::Borrowed(plain),
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_ref();
    while let Some((byte, tail)) = rest.split_first() {
        if *byte != b'%' {
            decoded.push(*byte);
            rest = tail;
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        decoded.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = tail;
    }
    String::from_utf8(decoded).ok()
}

/// A quoted string without its backslashes; `None` if a quote or a backslash stands where none may.
fn unquote(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => plain.push(*bytes.next()?),
            other => plain.push(*other),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests;
