//! Columns in types and under names that every reader knows: views, dictionaries and equal names are the engine's own
//! business.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::QueryError;

/// The schema in plain types.
pub(super) fn schema(schema: &Schema) -> SchemaRef {
    with_types(schema, For::Columns)
}

/// The schema in types that JSON can show without loss: decimals, and keys of maps, are text.
pub(super) fn json_schema(schema: &Schema) -> SchemaRef {
    with_types(schema, For::Json)
}

/// What the plain types are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Columns,
    Json,
}

fn with_types(schema: &Schema, purpose: For) -> SchemaRef {
    let mut names = HashSet::new();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            Field::new(
                unique(field.name(), &mut names),
                plain(field.data_type(), purpose),
                field.is_nullable(),
            )
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// `id`, `id_2`, `id_3`: a join may return columns of one name, a JSON object or a Parquet file may not.
fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

/// The batch cast to `schema`, column by column.
pub(super) fn cast_to(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                cast(column, field.data_type())
            }
        })
        .collect::<Result<Vec<ArrayRef>, _>>();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    columns
        .and_then(|columns| RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows))
        .map_err(|error| QueryError::Format(error.to_string()))
}

fn plain(data_type: &DataType, purpose: For) -> DataType {
    let inner = |field: &FieldRef| -> FieldRef {
        Arc::new(Field::new(
            field.name(),
            plain(field.data_type(), purpose),
            field.is_nullable(),
        ))
    };
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values, purpose),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(entries, sorted) => DataType::Map(map_entries(entries, purpose), *sorted),
        decimal if decimal.is_decimal() && purpose == For::Json => DataType::Utf8,
        other => other.clone(),
    }
}

fn map_entries(entries: &FieldRef, purpose: For) -> FieldRef {
    let DataType::Struct(fields) = entries.data_type() else {
        return Arc::clone(entries);
    };
    let fields = fields.iter().enumerate().map(|(i, field)| {
        let is_key = i == 0 && purpose == For::Json;
        let data_type = if is_key {
            DataType::Utf8
        } else {
            plain(field.data_type(), purpose)
        };
        Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
    });
    Arc::new(Field::new(
        entries.name(),
        DataType::Struct(fields.collect()),
        entries.is_nullable(),
    ))
}
