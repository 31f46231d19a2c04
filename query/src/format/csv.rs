//! CSV after RFC 4180.

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::{DataType, Schema, SchemaRef};
use ::arrow::json::EncoderOptions;
use bytes::Bytes;

use super::cell::Cells;
use super::{CsvStyle, Encoder, plain};
use crate::QueryError;

pub(super) struct Csv {
    schema: SchemaRef,
    style: CsvStyle,
}

impl Csv {
    pub(super) fn new(schema: &Schema, style: CsvStyle) -> Self {
        Self {
            schema: plain::json_schema(schema),
            style,
        }
    }
}

impl Encoder for Csv {
    fn begin(&mut self) -> Result<Bytes, QueryError> {
        let mut lines = lines();
        lines
            .write_record(self.schema.fields().iter().map(|field| field.name()))
            .map_err(unwritable)?;
        finished(lines)
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Bytes, QueryError> {
        let batch = plain::cast_to(batch, &self.schema)?;
        let json = EncoderOptions::default().with_explicit_nulls(true);
        let mut columns = self
            .schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| Cells::of(field, column, &json))
            .collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<bool> = self
            .schema
            .fields()
            .iter()
            .map(|f| f.data_type() == &DataType::Utf8)
            .collect();
        let mut lines = lines();
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            for (cells, is_text) in columns.iter_mut().zip(&texts) {
                let present = cells.read(row, &mut text)?;
                if present && *is_text && self.style.escape_formulas && runs_as_formula(&text) {
                    text.insert(0, '\'');
                }
                lines.write_field(&text).map_err(unwritable)?;
            }
            lines.write_record(None::<&[u8]>).map_err(unwritable)?;
        }
        finished(lines)
    }

    fn end(&mut self) -> Result<Bytes, QueryError> {
        Ok(Bytes::new())
    }
}

fn lines() -> ::csv::Writer<Vec<u8>> {
    ::csv::WriterBuilder::new()
        .terminator(::csv::Terminator::CRLF)
        .from_writer(Vec::new())
}

fn finished(lines: ::csv::Writer<Vec<u8>>) -> Result<Bytes, QueryError> {
    lines
        .into_inner()
        .map(Bytes::from)
        .map_err(|error| QueryError::Format(error.to_string()))
}

fn runs_as_formula(text: &str) -> bool {
    // Decimals are written as text too; a number is no formula.
    text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err()
}

fn unwritable(error: ::csv::Error) -> QueryError {
    QueryError::Format(format!("this result cannot be written as CSV: {error}"))
}
