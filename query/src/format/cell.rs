//! One value as text, for CSV and terminals.

use ::arrow::array::{Array, ArrayRef};
use ::arrow::datatypes::{DataType, FieldRef};
use ::arrow::error::ArrowError;
use ::arrow::json::EncoderOptions;
use ::arrow::json::writer::{NullableEncoder, make_encoder};
use ::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::QueryError;

const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_display_error(false);

/// Writes the values of one column. Lists, maps and structs are written as JSON.
pub(super) enum Cells<'a> {
    Flat(ArrayFormatter<'a>, &'a ArrayRef),
    Nested(NullableEncoder<'a>),
}

impl<'a> Cells<'a> {
    pub(super) fn of(
        field: &'a FieldRef,
        column: &'a ArrayRef,
        json: &'a EncoderOptions,
    ) -> Result<Self, QueryError> {
        match field.data_type() {
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::Map(..)
            | DataType::Struct(_) => make_encoder(field, column.as_ref(), json).map(Self::Nested),
            _ => ArrayFormatter::try_new(column.as_ref(), &OPTIONS).map(|f| Self::Flat(f, column)),
        }
        .map_err(unwritable)
    }

    /// The value in `row` into `text`, which is emptied first. `false`: it is null.
    pub(super) fn read(&mut self, row: usize, text: &mut String) -> Result<bool, QueryError> {
        text.clear();
        match self {
            Self::Flat(_, column) if column.is_null(row) => return Ok(false),
            Self::Flat(formatter, _) => formatter.value(row).write(text).map_err(unwritable)?,
            Self::Nested(encoder) if encoder.is_null(row) => return Ok(false),
            Self::Nested(encoder) => {
                let mut bytes = std::mem::take(text).into_bytes();
                encoder.encode(row, &mut bytes);
                *text = String::from_utf8(bytes).map_err(|e| QueryError::Format(e.to_string()))?;
            }
        }
        Ok(true)
    }
}

fn unwritable(error: ArrowError) -> QueryError {
    QueryError::Format(format!("this result cannot be written as text: {error}"))
}
