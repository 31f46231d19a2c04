//! Arrow IPC stream.

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::{Schema, SchemaRef};
use ::arrow::error::ArrowError;
use ::arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

use super::{Encoder, plain};
use crate::QueryError;

pub(super) struct Arrow {
    schema: SchemaRef,
    writer: StreamWriter<Vec<u8>>,
}

impl Arrow {
    pub(super) fn new(schema: &Schema) -> Result<Self, QueryError> {
        let schema = plain::schema(schema);
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(unwritable)?;
        Ok(Self { schema, writer })
    }

    fn taken(&mut self) -> Bytes {
        std::mem::take(self.writer.get_mut()).into()
    }
}

impl Encoder for Arrow {
    fn begin(&mut self) -> Result<Bytes, QueryError> {
        Ok(self.taken())
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Bytes, QueryError> {
        self.writer
            .write(&plain::cast_to(batch, &self.schema)?)
            .map_err(unwritable)?;
        Ok(self.taken())
    }

    fn end(&mut self) -> Result<Bytes, QueryError> {
        self.writer.finish().map_err(unwritable)?;
        Ok(self.taken())
    }
}

fn unwritable(error: ArrowError) -> QueryError {
    QueryError::Format(format!("this result cannot be written as Arrow: {error}"))
}
