//! JSON: one object with the rows in it, or one object a line.

use std::collections::BTreeMap;

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::{Schema, SchemaRef};
use ::arrow::error::ArrowError;
use ::arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, Writer, WriterBuilder};
use bytes::Bytes;
use serde_json::json;

use super::{Encoder, plain};
use crate::QueryError;
use crate::catalogue::description::type_name;

pub(super) struct Json {
    /// Everything before the rows.
    head: String,
    schema: SchemaRef,
    writer: Writer<Vec<u8>, JsonArray>,
    rows: u64,
}

impl Json {
    pub(super) fn new(schema: &Schema, versions: &BTreeMap<String, u64>) -> Self {
        let shown = plain::json_schema(schema);
        let columns: Vec<_> = shown
            .fields()
            .iter()
            .zip(schema.fields())
            .map(|(shown, field)| json!({"name": shown.name(), "type": type_name(field.data_type())}))
            .collect();
        let head = format!(
            "{{\"columns\":{},\"versions\":{},\"rows\":",
            json!(columns),
            json!(versions)
        );
        Self {
            head,
            schema: shown,
            writer: writer(),
            rows: 0,
        }
    }

    fn close(&mut self, last: serde_json::Value) -> Result<Bytes, QueryError> {
        self.writer.finish().map_err(unwritable)?;
        let mut bytes = std::mem::take(self.writer.get_mut());
        // `{"a":1}` continues the object as `,"a":1}`.
        bytes.push(b',');
        bytes.extend_from_slice(last.to_string().trim_start_matches('{').as_bytes());
        bytes.push(b'\n');
        Ok(bytes.into())
    }
}

impl Encoder for Json {
    fn begin(&mut self) -> Result<Bytes, QueryError> {
        Ok(std::mem::take(&mut self.head).into())
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Bytes, QueryError> {
        self.rows = self.rows.saturating_add(batch.num_rows() as u64);
        written(&mut self.writer, batch, &self.schema)
    }

    fn end(&mut self) -> Result<Bytes, QueryError> {
        self.close(json!({"row_count": self.rows}))
    }

    fn broken_off(&mut self, error: &QueryError) -> Option<Bytes> {
        let told = json!({"code": error.code(), "detail": error.to_string(), "hint": error.hint()});
        self.close(json!({"error": told})).ok()
    }
}

pub(super) struct Ndjson {
    schema: SchemaRef,
    writer: Writer<Vec<u8>, LineDelimited>,
}

impl Ndjson {
    pub(super) fn new(schema: &Schema) -> Self {
        Self {
            schema: plain::json_schema(schema),
            writer: writer(),
        }
    }
}

impl Encoder for Ndjson {
    fn begin(&mut self) -> Result<Bytes, QueryError> {
        Ok(Bytes::new())
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Bytes, QueryError> {
        written(&mut self.writer, batch, &self.schema)
    }

    fn end(&mut self) -> Result<Bytes, QueryError> {
        Ok(Bytes::new())
    }
}

fn writer<F: JsonFormat>() -> Writer<Vec<u8>, F> {
    WriterBuilder::new()
        .with_explicit_nulls(true)
        .build(Vec::new())
}

fn written<F: JsonFormat>(
    writer: &mut Writer<Vec<u8>, F>,
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<Bytes, QueryError> {
    writer
        .write(&plain::cast_to(batch, schema)?)
        .map_err(unwritable)?;
    Ok(std::mem::take(writer.get_mut()).into())
}

fn unwritable(error: ArrowError) -> QueryError {
    QueryError::Format(format!("this result cannot be written as JSON: {error}"))
}
