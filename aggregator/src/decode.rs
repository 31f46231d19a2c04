//! One record to one event: Avro or JSON, surviving any bytes.

use siji_schemas::avro;
use siji_schemas::event::BorrowedEvent;
use siji_schemas::json;
use siji_schemas::wire::Framing;
use siji_schemas::{Code, EventRef, Refusal};

/// Larger values are not looked into: the limit of a collector.
pub const MAX_EVENT_BYTES: usize = 256 << 10;

/// An event as read from a record, borrowing its texts.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// From Avro, or JSON in its usual form.
    Borrowed(BorrowedEvent<'a>),
    /// From any other JSON.
    Parsed(json::Parsed<'a>),
}

impl Decoded<'_> {
    /// The event.
    pub fn event(&self) -> EventRef<'_> {
        let mut event = match self {
            Decoded::Borrowed(event) => event.as_ref(),
            Decoded::Parsed(parsed) => parsed.as_ref(),
        };
        // A foreign producer of JSON may leave out what the collector would have filled in.
        event
            .schema_version
            .get_or_insert(siji_schemas::event::SCHEMA_VERSION);
        event
    }
}

/// Reads the value of a record.
///
/// # Errors
/// V01: it is no event, and why.
pub fn decode(value: &[u8]) -> Result<Decoded<'_>, Refusal> {
    let fault = |reason: &str| Err(Refusal::whole(Code::V01, reason));
    if value.len() > MAX_EVENT_BYTES {
        return fault("larger than 256 KiB");
    }
    match Framing::of(value) {
        Framing::AvroSingleObject => avro::read(value)
            .map(Decoded::Borrowed)
            .map_err(|error| Refusal::whole(Code::V01, error.to_string())),
        Framing::Json => match json::usual(value) {
            Some(event) => Ok(Decoded::Borrowed(event)),
            None => json::read(value, &mut |_, _| Ok(false)).map(Decoded::Parsed),
        },
        Framing::Empty => fault("the record has no value"),
        Framing::Confluent => {
            fault("Confluent framing is not read; send Avro single objects or JSON")
        }
        Framing::Unknown => fault("neither an Avro single object (C3 01) nor JSON"),
    }
}

#[cfg(test)]
mod tests;
