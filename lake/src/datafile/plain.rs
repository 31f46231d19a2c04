//! Columns whose values hardly repeat (ids, hashes), and long decimals: one value after the other (`PLAIN`).

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use parquet::basic::Encoding;
use siji_schemas::arrow::TextColumn;

use super::chunk::Chunk;
use super::levels::Levels;

/// The values of one row group.
pub(super) struct PlainChunk {
    plain: Vec<u8>,
    levels: Levels,
}

impl PlainChunk {
    /// For a column of this type; `None` if it is neither texts nor 64-bit numbers nor decimals that take all 128 bits.
    pub(super) fn of(data_type: &DataType) -> Option<PlainChunk> {
        let known = matches!(data_type, DataType::Utf8 | DataType::Int64);
        (known || is_long_decimal(data_type)).then(|| PlainChunk {
            plain: Vec::new(),
            levels: Levels::new(),
        })
    }

    /// Adds the rows of an array; texts may be numbered. False: it is of no type [`Self::of`] knows.
    pub(super) fn push(&mut self, array: &ArrayRef) -> bool {
        if let Some(numbers) = array.as_primitive_opt::<Int64Type>() {
            for number in numbers.iter().flatten() {
                self.plain.extend_from_slice(&number.to_le_bytes());
            }
        } else if let Some(decimals) = array.as_primitive_opt::<Decimal128Type>() {
            if !is_long_decimal(array.data_type()) {
                return false;
            }
            for digits in decimals.iter().flatten() {
                self.plain.extend_from_slice(&digits.to_be_bytes());
            }
        } else if let Some(texts) = TextColumn::of(array.as_ref()) {
            for text in texts.iter().flatten() {
                push_text(text, &mut self.plain);
            }
        } else {
            return false;
        }
        self.levels.push(array.as_ref());
        true
    }

    /// The chunk as it is stored.
    pub(super) fn finish(self, optional: bool) -> Chunk {
        let rows = self.levels.rows();
        let mut data = self.levels.page(optional);
        data.extend_from_slice(&self.plain);
        Chunk {
            dictionary: None,
            data,
            encoding: Encoding::PLAIN,
            rows,
            values: rows,
            statistics: None,
        }
    }
}

/// Whether Parquet stores a decimal as 16 bytes, the highest first.
pub(super) fn is_long_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(37..=38, _))
}

/// Length and bytes.
pub(super) fn push_text(text: &str, plain: &mut Vec<u8>) {
    plain.extend_from_slice(&(text.len() as u32).to_le_bytes());
    plain.extend_from_slice(text.as_bytes());
}
