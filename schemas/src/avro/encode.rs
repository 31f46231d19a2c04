//! Events to Avro bytes.

use crate::event::{EventRef, with_event_columns};

/// An event that the Avro schema cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the required column `{0}` is missing")]
pub struct EncodeError(pub &'static str);

macro_rules! put {
    (text, $out:expr, $value:expr) => {
        put_bytes($out, $value.as_bytes())
    };
    (word, $out:expr, $value:expr) => {
        put_bytes($out, $value.as_bytes())
    };
    (decimal, $out:expr, $value:expr) => {
        put_decimal($out, $value)
    };
    ($integer:ident, $out:expr, $value:expr) => {
        put_long($out, i64::from($value))
    };
}

/// An encoded event whose place, `incarnation` and `source_seq`, is put in later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaced {
    /// The message without the two columns.
    bytes: Vec<u8>,
    /// Where they belong: they stand side by side in the record.
    at: usize,
}

impl Unplaced {
    /// Encodes an event; what it says of its place is left out.
    pub fn encode(event: &EventRef<'_>) -> Result<Unplaced, EncodeError> {
        let event = EventRef {
            incarnation: None,
            source_seq: None,
            ..*event
        };
        // What most events take; what one takes more than that, is grown into.
        let mut bytes = Vec::with_capacity(320);
        let mut at = 0;
        encode_noting(&event, &mut bytes, &mut at)?;
        // Two null branches, a byte each.
        bytes.drain(at..at + 2);
        Ok(Unplaced { bytes, at })
    }

    /// Appends the message with its place to `out`.
    pub fn place(&self, incarnation: i64, source_seq: i64, out: &mut Vec<u8>) {
        let (before, after) = self.bytes.split_at(self.at);
        out.extend_from_slice(before);
        for number in [incarnation, source_seq] {
            put_long(out, 1);
            put_long(out, number);
        }
        out.extend_from_slice(after);
    }

    /// Bytes it takes in memory.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Appends one event to `out` as a single-object message of layout 1.
pub fn encode(event: &EventRef<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    encode_noting(event, out, &mut 0)
}

macro_rules! define_encode {
    ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
        /// The same; notes where `incarnation` stands.
        fn encode_noting(event: &EventRef<'_>, out: &mut Vec<u8>, incarnation_at: &mut usize) -> Result<(), EncodeError> {
            let start = out.len();
            out.extend_from_slice(&super::prefix_v1());
            $(
                if stringify!($name) == "incarnation" {
                    *incarnation_at = out.len();
                }
                define_encode!(@ $presence $kind $name event out start);
            )*
            let attrs = event.attrs.len();
            if attrs > 0 {
                put_long(out, attrs as i64);
                for (key, value) in event.attrs.iter() {
                    put_bytes(out, key.as_bytes());
                    put_bytes(out, value.as_bytes());
                }
            }
            put_long(out, 0);
            Ok(())
        }
    };
    (@ required $kind:ident $name:ident $event:ident $out:ident $start:ident) => {
        match $event.$name {
            Some(value) => put!($kind, $out, value),
            None => {
                $out.truncate($start);
                return Err(EncodeError(stringify!($name)));
            }
        }
    };
    (@ optional $kind:ident $name:ident $event:ident $out:ident $start:ident) => {
        match $event.$name {
            Some(value) => {
                put_long($out, 1);
                put!($kind, $out, value);
            }
            None => put_long($out, 0),
        }
    };
}
with_event_columns!(define_encode);

fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Two's complement, big endian, without needless leading bytes.
fn put_decimal(out: &mut Vec<u8>, micros: i64) {
    let bytes = micros.to_be_bytes();
    let skip = bytes
        .windows(2)
        .take_while(|pair| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xFF && pair[1] >= 0x80))
        .count();
    put_bytes(out, &bytes[skip..]);
}
