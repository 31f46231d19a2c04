//! Parquet with zstd. Rows gather until a row group is full, then it is sent.

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::{Schema, SchemaRef};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use bytes::Bytes;

use super::{Encoder, plain};
use crate::QueryError;

/// Most rows of a row group.
const GROUP_ROWS: usize = 128 * 1024;
/// A row group is closed early when it holds this much: the memory of a writer.
const GROUP_BYTES: usize = 32 << 20;
const ZSTD_LEVEL: i32 = 3;

pub(super) struct Parquet {
    schema: SchemaRef,
    /// `None` after the end.
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl Parquet {
    pub(super) fn new(schema: &Schema) -> Result<Self, QueryError> {
        let schema = plain::schema(schema);
        let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(unwritable)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))
            .map_err(unwritable)?;
        Ok(Self {
            schema,
            writer: Some(writer),
        })
    }
}

fn unwritable(error: ParquetError) -> QueryError {
    QueryError::Format(format!("this result cannot be written as Parquet: {error}"))
}

impl Encoder for Parquet {
    fn begin(&mut self) -> Result<Bytes, QueryError> {
        Ok(Bytes::new())
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Bytes, QueryError> {
        let batch = plain::cast_to(batch, &self.schema)?;
        let Some(writer) = self.writer.as_mut() else {
            return Ok(Bytes::new());
        };
        writer.write(&batch).map_err(unwritable)?;
        if writer.in_progress_size() > GROUP_BYTES {
            writer.flush().map_err(unwritable)?;
        }
        // Offsets in the footer count what was written, not what is still here.
        Ok(std::mem::take(writer.inner_mut()).into())
    }

    fn end(&mut self) -> Result<Bytes, QueryError> {
        match self.writer.take() {
            Some(writer) => Ok(writer.into_inner().map_err(unwritable)?.into()),
            None => Ok(Bytes::new()),
        }
    }
}
