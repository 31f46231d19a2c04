//! The bytes of a file, row group by row group and column by column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::add_encoded_arrow_schema_to_metadata;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::Encoding;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnDescPtr;

use super::chunk::{Chunk, Compressor};
use super::levels::Levels;
use super::number::NumberChunk;
use super::text::TextChunk;
use super::{Effort, ROW_GROUP_ROWS, properties};
use crate::LakeError;
use crate::schema::TableSpec;

/// The bytes of a file of `batches`. They have all columns of `spec`, in order; a text column may be a dictionary array
/// with 32-bit keys, which is stored as texts all the same.
pub fn encode(
    spec: &TableSpec,
    batches: &[RecordBatch],
    effort: Effort,
) -> Result<Vec<u8>, LakeError> {
    let schema = (spec.schema)();
    let kept: Vec<usize> = (0..schema.fields().len())
        .filter(|i| Some(schema.field(*i).name().as_str()) != spec.partition_by)
        .collect();
    let schema: SchemaRef = Arc::new(Schema::clone(&schema.project(&kept)?));
    let batches = batches
        .iter()
        .map(|batch| batch.project(&kept))
        .collect::<Result<Vec<_>, _>>()?;
    let mut properties = properties(spec, effort)?;
    add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
    let descriptor = ArrowSchemaConverter::new().convert(&schema)?;
    let mut file = SerializedFileWriter::new(
        Vec::new(),
        descriptor.root_schema_ptr(),
        Arc::new(properties),
    )?;
    let columns = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema));
    let mut compressor = Compressor::new(effort.level())?;
    for (number, group) in row_groups(&batches).iter().enumerate() {
        let mut writers = columns.create_column_writers(number)?.into_iter();
        let mut row_group = file.next_row_group()?;
        let mut leaf = 0;
        for (index, field) in schema.fields().iter().enumerate() {
            let arrays: Vec<ArrayRef> = group
                .iter()
                .map(|batch| Arc::clone(batch.column(index)))
                .collect();
            let column = descriptor.column(leaf);
            let leaves = leaves_of(field.data_type());
            let own: Vec<ArrowColumnWriter> = writers.by_ref().take(leaves).collect();
            leaf += leaves;
            match chunk(spec, field, &column, &arrays) {
                Some(chunk) => {
                    let (bytes, close) = compressor.encode(&column, chunk)?;
                    row_group.append_column(&bytes, close)?;
                }
                None => write_by_arrow(field, &arrays, own, &mut row_group)?,
            }
        }
        row_group.close()?;
    }
    Ok(file.into_inner()?)
}

/// A column that is encoded here.
fn chunk(
    spec: &TableSpec,
    field: &Field,
    column: &ColumnDescPtr,
    arrays: &[ArrayRef],
) -> Option<Chunk> {
    if leaves_of(field.data_type()) != 1 {
        return None;
    }
    let optional = column.max_def_level() == 1;
    let name = field.name().as_str();
    if optional && arrays.iter().all(|array| array.null_count() == array.len()) {
        return Some(nothing(arrays));
    }
    if spec.unique.contains(&name) {
        return None;
    }
    let bounds = spec.statistics.contains(&name);
    if let Some(mut numbers) = NumberChunk::of(field.data_type()) {
        let all = arrays.iter().all(|array| numbers.push(array));
        return all.then(|| numbers.finish(optional, bounds));
    }
    if *field.data_type() != DataType::Utf8 {
        return None;
    }
    let mut texts = TextChunk::new();
    let all = arrays.iter().all(|array| texts.push(array));
    all.then(|| texts.finish(optional, bounds))
}

/// A column without a value.
fn nothing(arrays: &[ArrayRef]) -> Chunk {
    let mut levels = Levels::new();
    for array in arrays {
        levels.push(array.as_ref());
    }
    Chunk {
        dictionary: None,
        rows: levels.rows(),
        data: levels.page(true),
        encoding: Encoding::PLAIN,
        statistics: None,
    }
}

fn write_by_arrow(
    field: &Field,
    arrays: &[ArrayRef],
    mut writers: Vec<ArrowColumnWriter>,
    row_group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
) -> Result<(), LakeError> {
    for array in arrays {
        for (writer, leaf) in writers.iter_mut().zip(compute_leaves(field, array)?) {
            writer.write(&leaf)?;
        }
    }
    for writer in writers {
        writer.close()?.append_to_row_group(row_group)?;
    }
    Ok(())
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

/// The batches cut into row groups.
fn row_groups(batches: &[RecordBatch]) -> Vec<Vec<RecordBatch>> {
    let mut groups = Vec::new();
    let (mut group, mut rows) = (Vec::new(), 0);
    for batch in batches {
        let mut from = 0;
        while from < batch.num_rows() {
            let length = (batch.num_rows() - from).min(ROW_GROUP_ROWS - rows);
            group.push(batch.slice(from, length));
            from += length;
            rows += length;
            if rows == ROW_GROUP_ROWS {
                groups.push(std::mem::take(&mut group));
                rows = 0;
            }
        }
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}
