//! What is put into the spool.

use siji_schemas::avro::Unplaced;
use siji_schemas::{Code, Event, avro, wire};

use super::block::put_record;

/// A Kafka record to be spooled. The writer gives it its place: incarnation and sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Kafka key: the area all that is folded together shares.
    pub key: String,
    /// Kafka headers, beside those the writer adds.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// Kafka value.
    pub value: Value,
}

/// The value of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An accepted event: place stamped into its columns, then encoded as Avro.
    Event(Box<Event>),
    /// The same, encoded by whoever judged it: the writer is one thread, and has only to put the place in.
    Encoded(Unplaced),
    /// Bytes of a refused event; its place goes into the headers, so that a refusal opens no gap.
    Refused(Vec<u8>),
}

/// One opening of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Random positive number of this opening.
    pub incarnation: i64,
    /// Incarnation and last sequence number of the opening before, if there was one.
    pub previous: Option<(i64, i64)>,
}

/// Makes the first record of an opening, which names the opening before; it is spooled, as sequence number 1, before
/// anything else is accepted.
pub type Greeting = Box<dyn Fn(&Opening) -> Record + Send>;

/// Encodes a record with its place into `out`; `value` is scratch space.
pub(super) fn encode(
    mut record: Record,
    incarnation: i64,
    seq: i64,
    value: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    value.clear();
    out.clear();
    match record.value {
        Value::Event(mut event) => {
            (event.incarnation, event.source_seq) = (Some(incarnation), Some(seq));
            if let Err(error) = avro::encode(&Event::as_ref(&event), value) {
                // Validation requires these columns. Should it ever not, the sequence still has no gap.
                tracing::error!(incarnation, seq, error = %error, "an accepted event could not be encoded, it is spooled as refused");
                record
                    .headers
                    .push((wire::HEADER_CODE, Code::V02.as_str().into()));
                record.headers.push((wire::HEADER_FIELD, error.0.into()));
                record
                    .headers
                    .push((wire::HEADER_REASON, error.to_string().into_bytes()));
                place(&mut record.headers, incarnation, seq);
            }
        }
        Value::Encoded(event) => event.place(incarnation, seq, value),
        Value::Refused(bytes) => {
            place(&mut record.headers, incarnation, seq);
            value.extend_from_slice(&bytes);
        }
    }
    let headers = record
        .headers
        .iter()
        .map(|(name, content)| (*name, content.as_slice()));
    put_record(out, record.key.as_bytes(), headers, value);
}

fn place(headers: &mut Vec<(&'static str, Vec<u8>)>, incarnation: i64, seq: i64) {
    headers.push((
        wire::HEADER_INCARNATION,
        incarnation.to_string().into_bytes(),
    ));
    headers.push((wire::HEADER_SEQ, seq.to_string().into_bytes()));
}
