//! Reading one message, borrowing its texts.

use std::borrow::Cow;

use super::prefix_v1;
use crate::arrow::VALUE_PRECISION;
use crate::event::{Attrs, BorrowedEvent, EventRef, Pair, with_event_columns};

/// Why a message is no event. It quotes nothing of the message, which may hold personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not a single object at all.
    #[error("no avro single-object message")]
    Framing,
    /// Of a layout this version does not know.
    #[error("written with an unknown schema (fingerprint)")]
    UnknownSchema,
    /// It ends within a column.
    #[error("truncated within `{0}`")]
    Truncated(&'static str),
    /// Something follows the record.
    #[error("followed by further bytes")]
    Longer,
    /// A text is not UTF-8.
    #[error("`{0}` is not valid UTF-8")]
    Text(&'static str),
    /// A number, length or branch that the schema does not allow.
    #[error("`{0}` does not follow the schema")]
    Value(&'static str),
    /// A decimal of more digits than are kept.
    #[error("`{0}` has more than 18 digits")]
    Digits(&'static str),
}

/// Reads one single-object message of a known layout.
pub fn read(message: &[u8]) -> Result<BorrowedEvent<'_>, ReadError> {
    let Some(body) = message.strip_prefix(&prefix_v1()) else {
        return Err(
            if message.starts_with(&[0xC3, 0x01]) && message.len() >= 10 {
                ReadError::UnknownSchema
            } else {
                ReadError::Framing
            },
        );
    };
    let mut input = Input {
        rest: body,
        column: "",
    };
    let columns = columns(&mut input)?;
    input.column = "attrs";
    let attrs = input.pairs()?;
    if !input.rest.is_empty() {
        return Err(ReadError::Longer);
    }
    Ok(BorrowedEvent { columns, attrs })
}

macro_rules! define_columns {
    ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
        /// Fields are read in the order they are written here, which is that of the schema.
        fn columns<'a>(input: &mut Input<'a>) -> Result<EventRef<'a>, ReadError> {
            Ok(EventRef {
                $($name: {
                    input.column = stringify!($name);
                    define_columns!(@ $presence $kind input)
                },)*
                attrs: Attrs::Empty,
            })
        }
    };
    (@ required $kind:ident $input:ident) => { Some(define_columns!(@ $kind $input)) };
    (@ optional $kind:ident $input:ident) => {
        if $input.branch()? { Some(define_columns!(@ $kind $input)) } else { None }
    };
    (@ text $input:ident) => { $input.text()? };
    (@ word $input:ident) => { $input.text()? };
    (@ int $input:ident) => { $input.int()? };
    (@ decimal $input:ident) => { $input.decimal()? };
    (@ $long:ident $input:ident) => { $input.long()? };
}
with_event_columns!(define_columns);

struct Input<'a> {
    rest: &'a [u8],
    /// The column being read, for the error.
    column: &'static str,
}

impl<'a> Input<'a> {
    /// A zigzag number of at most ten bytes. Branches, lengths and small numbers take one.
    #[inline]
    fn long(&mut self) -> Result<i64, ReadError> {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1))
            }
            _ => self.longer(),
        }
    }

    fn longer(&mut self) -> Result<i64, ReadError> {
        let (mut number, mut shift) = (0u64, 0);
        for (index, byte) in self.rest.iter().enumerate() {
            if shift == 63 && *byte > 1 {
                return Err(ReadError::Value(self.column));
            }
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
            shift += 7;
        }
        Err(ReadError::Truncated(self.column))
    }

    fn int(&mut self) -> Result<i32, ReadError> {
        i32::try_from(self.long()?).map_err(|_| ReadError::Value(self.column))
    }

    /// Whether an optional column is there.
    fn branch(&mut self) -> Result<bool, ReadError> {
        match self.long()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ReadError::Value(self.column)),
        }
    }

    #[inline]
    fn bytes(&mut self) -> Result<&'a [u8], ReadError> {
        let length = usize::try_from(self.long()?).map_err(|_| ReadError::Value(self.column))?;
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(ReadError::Truncated(self.column))?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn text(&mut self) -> Result<&'a str, ReadError> {
        let bytes = self.bytes()?;
        if bytes.is_ascii() {
            // Nearly all texts are short words, over which the general check goes byte by byte: a twentieth of the whole
            // aggregator.
            // SAFETY: ASCII is UTF-8.
            return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
        }
        std::str::from_utf8(bytes).map_err(|_| ReadError::Text(self.column))
    }

    /// Two's complement, big endian.
    fn decimal(&mut self) -> Result<i64, ReadError> {
        let bytes = self.bytes()?;
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let filler = if negative { 0xFF } else { 0 };
        let extra = bytes.len().saturating_sub(8);
        let (sign, low) = bytes.split_at(extra);
        let mut whole = [filler; 8];
        whole[8 - low.len()..].copy_from_slice(low);
        let number = i64::from_be_bytes(whole);
        let narrow = sign.iter().all(|byte| *byte == filler) && (number < 0) == negative;
        if narrow && number.unsigned_abs() < 10u64.pow(u32::from(VALUE_PRECISION)) {
            Ok(number)
        } else {
            Err(ReadError::Digits(self.column))
        }
    }

    /// A map of strings, in blocks.
    fn pairs(&mut self) -> Result<Vec<Pair<'a>>, ReadError> {
        let mut pairs = Vec::new();
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(pairs);
            }
            if count < 0 {
                // A block that tells its size, to be skipped by.
                count = count.checked_neg().ok_or(ReadError::Value(self.column))?;
                self.long()?;
            }
            // An entry takes two bytes at least, so this ends with the input however large the count.
            for _ in 0..count {
                pairs.push((Cow::Borrowed(self.text()?), Cow::Borrowed(self.text()?)));
            }
        }
    }
}
