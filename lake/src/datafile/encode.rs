//! The bytes of a file, row group by row group and column by column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use super::chunk::{Chunk, Compressor};
use super::map::MapChunk;
use super::number::NumberChunk;
use super::plain::{PlainChunk, is_long_decimal};
use super::text::TextChunk;
use super::{Effort, ROW_GROUP_ROWS, file_schema, properties};
use crate::LakeError;
use crate::schema::TableSpec;

/// The bytes of a file of `batches`. They have all columns of `spec`, in order; a text column may be a dictionary array
/// with 32-bit keys, which is stored as texts all the same.
pub fn encode(
    spec: &'static TableSpec,
    batches: &[RecordBatch],
    effort: Effort,
) -> Result<Vec<u8>, LakeError> {
    let schema = (spec.schema)();
    let kept: Vec<usize> = (0..schema.fields().len())
        .filter(|i| Some(schema.field(*i).name().as_str()) != spec.partition_by)
        .collect();
    let mut file = FileEncoder::new(spec, effort)?;
    for batch in batches {
        file.write(&batch.project(&kept)?)?;
    }
    file.finish()
}

/// A file under way. In memory are its compressed row groups and the one that is not full yet, encoded.
pub(super) struct FileEncoder {
    spec: &'static TableSpec,
    schema: SchemaRef,
    descriptor: SchemaDescriptor,
    file: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    compressor: Compressor,
    groups: usize,
    /// Of the open row group.
    columns: Vec<ColumnEncoder>,
    rows: usize,
}

impl FileEncoder {
    pub(super) fn new(spec: &'static TableSpec, effort: Effort) -> Result<Self, LakeError> {
        let schema = file_schema(spec);
        let descriptor = ArrowSchemaConverter::new().convert(&schema)?;
        let by_arrow: Vec<ColumnPath> = descriptor
            .columns()
            .iter()
            .zip(roots(&schema))
            .filter(|(_, field)| ColumnEncoder::of(spec, field).is_none())
            .map(|(column, _)| column.path().clone())
            .collect();
        let mut properties = properties(spec, effort, &by_arrow)?;
        add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
        let root = descriptor.root_schema_ptr();
        let file = SerializedFileWriter::new(Vec::new(), root, Arc::new(properties))?;
        Ok(FileEncoder {
            spec,
            factory: ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema)),
            schema,
            descriptor,
            file,
            compressor: Compressor::new(effort.level())?,
            groups: 0,
            columns: Vec::new(),
            rows: 0,
        })
    }

    /// Adds rows: the columns of [`file_schema`], in order.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let mut from = 0;
        while from < batch.num_rows() {
            if self.columns.is_empty() {
                self.columns = self.open_columns()?;
            }
            let length = (batch.num_rows() - from).min(ROW_GROUP_ROWS - self.rows);
            let rows = batch.slice(from, length);
            let fields = self.schema.fields().iter().zip(rows.columns());
            for (column, (field, array)) in self.columns.iter_mut().zip(fields) {
                column.push(field, array)?;
            }
            from += length;
            self.rows += length;
            if self.rows == ROW_GROUP_ROWS {
                self.close_group()?;
            }
        }
        Ok(())
    }

    /// Bytes of the row groups that are complete.
    pub(super) fn bytes(&self) -> usize {
        self.file.bytes_written()
    }

    /// Takes out what is complete, so that it need not stay in memory: the file goes on behind it.
    pub(super) fn take(&mut self) -> Result<Vec<u8>, LakeError> {
        self.file.flush().map_err(ParquetError::from)?;
        Ok(std::mem::take(self.file.inner_mut()))
    }

    /// The rest of the file, from what was taken out last.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, LakeError> {
        if self.rows > 0 {
            self.close_group()?;
        }
        Ok(self.file.into_inner()?)
    }

    fn open_columns(&self) -> Result<Vec<ColumnEncoder>, LakeError> {
        let mut writers = self.factory.create_column_writers(self.groups)?.into_iter();
        let fields = self.schema.fields().iter();
        Ok(fields
            .map(|field| {
                let leaves = leaves_of(field.data_type());
                let writers: Vec<_> = writers.by_ref().take(leaves).collect();
                ColumnEncoder::of(self.spec, field).unwrap_or(ColumnEncoder::ByArrow {
                    writers,
                    nulls: 0,
                    any: false,
                })
            })
            .collect())
    }

    fn close_group(&mut self) -> Result<(), LakeError> {
        let mut group = self.file.next_row_group()?;
        let mut leaf = 0;
        let columns = std::mem::take(&mut self.columns);
        for (column, field) in columns.into_iter().zip(self.schema.fields()) {
            let bounds = self.spec.statistics.contains(&field.name().as_str());
            match column.finish(field.is_nullable(), bounds) {
                Finished::Chunks(chunks) => {
                    for (place, chunk) in chunks.into_iter().enumerate() {
                        let description = self.descriptor.column(leaf + place);
                        let (bytes, close) = self.compressor.encode(&description, chunk)?;
                        group.append_column(&bytes, close)?;
                    }
                }
                Finished::ByArrow(writers) => append(writers, &mut group)?,
            }
            leaf += leaves_of(field.data_type());
        }
        group.close()?;
        self.groups += 1;
        self.rows = 0;
        Ok(())
    }
}

/// A column of the open row group.
enum ColumnEncoder {
    Text(TextChunk),
    Number(NumberChunk),
    Plain(PlainChunk),
    Map(MapChunk),
    /// Any other.
    ByArrow {
        writers: Vec<ArrowColumnWriter>,
        /// Rows without a value at the start, which are not written before there is one.
        nulls: usize,
        any: bool,
    },
}

/// A column of a full row group.
enum Finished {
    /// One for each Parquet column.
    Chunks(Vec<Chunk>),
    ByArrow(Vec<ArrowColumnWriter>),
}

impl ColumnEncoder {
    /// For a column that is encoded here; `None`: by Arrow.
    fn of(spec: &TableSpec, field: &Field) -> Option<ColumnEncoder> {
        let (name, data_type) = (field.name().as_str(), field.data_type());
        let unique = spec.unique.contains(&name) && !spec.statistics.contains(&name);
        if (unique || is_long_decimal(data_type))
            && let Some(values) = PlainChunk::of(data_type)
        {
            return Some(ColumnEncoder::Plain(values));
        }
        if *data_type == DataType::Utf8 {
            return Some(ColumnEncoder::Text(TextChunk::new()));
        }
        let numbers = || NumberChunk::of(data_type).map(ColumnEncoder::Number);
        let maps = || MapChunk::of(data_type).map(ColumnEncoder::Map);
        numbers().or_else(maps)
    }

    fn push(&mut self, field: &Field, array: &ArrayRef) -> Result<(), LakeError> {
        if !field.is_nullable() && array.null_count() > 0 {
            // A column that may not be null has no place to say which rows are.
            return Err(LakeError::Damaged {
                table: field.name().clone(),
                reason: format!("{} nulls in a column without", array.null_count()),
            });
        }
        let fits = match self {
            ColumnEncoder::Text(texts) => texts.push(array),
            ColumnEncoder::Number(numbers) => numbers.push(array),
            ColumnEncoder::Plain(values) => values.push(array),
            ColumnEncoder::Map(maps) => maps.push(array),
            ColumnEncoder::ByArrow {
                writers,
                nulls,
                any,
            } => {
                if !*any && writers.len() == 1 && array.null_count() == array.len() {
                    *nulls += array.len();
                    return Ok(());
                }
                *any = true;
                if *nulls > 0 {
                    let skipped = new_null_array(field.data_type(), std::mem::take(nulls));
                    write(field, &skipped, writers)?;
                }
                write(field, array, writers)?;
                true
            }
        };
        if fits {
            return Ok(());
        }
        Err(LakeError::Damaged {
            table: field.name().clone(),
            reason: format!(
                "a column of {} for one of {}",
                array.data_type(),
                field.data_type()
            ),
        })
    }

    fn finish(self, optional: bool, bounds: bool) -> Finished {
        Finished::Chunks(match self {
            ColumnEncoder::Text(texts) => vec![texts.finish(optional, bounds)],
            ColumnEncoder::Number(numbers) => vec![numbers.finish(optional, bounds)],
            ColumnEncoder::Plain(values) => vec![values.finish(optional)],
            ColumnEncoder::Map(maps) => maps.finish(optional).into(),
            ColumnEncoder::ByArrow {
                nulls, any: false, ..
            } => vec![Chunk::nothing_but_nulls(nulls)],
            ColumnEncoder::ByArrow { writers, .. } => return Finished::ByArrow(writers),
        })
    }
}

fn write(
    field: &Field,
    array: &ArrayRef,
    writers: &mut [ArrowColumnWriter],
) -> Result<(), LakeError> {
    for (writer, leaf) in writers.iter_mut().zip(compute_leaves(field, array)?) {
        writer.write(&leaf)?;
    }
    Ok(())
}

fn append(
    writers: Vec<ArrowColumnWriter>,
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
) -> Result<(), LakeError> {
    for writer in writers {
        writer.close()?.append_to_row_group(group)?;
    }
    Ok(())
}

/// The Arrow column of each Parquet column.
fn roots(schema: &Schema) -> impl Iterator<Item = &Field> {
    schema
        .fields()
        .iter()
        .flat_map(|field| std::iter::repeat_n(field.as_ref(), leaves_of(field.data_type())))
}

/// Parquet columns of an Arrow column.
fn leaves_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::Map(entries, _) | DataType::List(entries) => leaves_of(entries.data_type()),
        DataType::Struct(fields) => fields
            .iter()
            .map(|field| leaves_of(field.data_type()))
            .sum(),
        _ => 1,
    }
}
