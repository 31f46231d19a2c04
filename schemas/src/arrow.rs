//! The event record as Arrow columns.
//!
//! In memory every column is nullable: a record that is refused keeps what could be read of it. Instants are
//! milliseconds UTC here, as on the wire; the ledger stores microseconds.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, Decimal128Array, Decimal128Builder, Int32Array, Int32Builder, Int64Array,
    Int64Builder, MapArray, MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder,
    TimestampMillisecondArray, TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use crate::event::{Attrs, EventRef, with_event_columns};

/// Digits of `value`, all and after the point.
pub const VALUE_PRECISION: u8 = 18;
/// Digits of `value` after the point.
pub const VALUE_SCALE: i8 = 6;

/// Arrow type of an instant in memory: milliseconds, UTC.
pub fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Arrow type of `attrs`, with the field names Parquet and Delta use for maps.
pub fn attrs_type() -> DataType {
    DataType::Map(attrs_entries_field(), false)
}

fn attrs_entries_field() -> Arc<Field> {
    static FIELD: LazyLock<Arc<Field>> = LazyLock::new(|| {
        Arc::new(Field::new(
            "key_value",
            DataType::Struct(attrs_entry_fields()),
            false,
        ))
    });
    Arc::clone(&FIELD)
}

fn attrs_entry_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ])
}

macro_rules! kind {
    (@type text) => { DataType::Utf8 };
    (@type int) => { DataType::Int32 };
    (@type long) => { DataType::Int64 };
    (@type instant) => { instant_type() };
    (@type decimal) => { DataType::Decimal128(VALUE_PRECISION, VALUE_SCALE) };
    (@array text) => { StringArray };
    (@array int) => { Int32Array };
    (@array long) => { Int64Array };
    (@array instant) => { TimestampMillisecondArray };
    (@array decimal) => { Decimal128Array };
    (@builder text) => { StringBuilder };
    (@builder int) => { Int32Builder };
    (@builder long) => { Int64Builder };
    (@builder instant) => { TimestampMillisecondBuilder };
    (@builder decimal) => { Decimal128Builder };
    (@new instant) => { TimestampMillisecondBuilder::new().with_timezone("UTC") };
    (@new decimal) => { Decimal128Builder::new().with_data_type(kind!(@type decimal)) };
    (@new $other:ident) => { <kind!(@builder $other)>::new() };
    (@append decimal, $builder:expr, $value:expr) => { $builder.append_option($value.map(i128::from)) };
    (@append $other:ident, $builder:expr, $value:expr) => { $builder.append_option($value) };
    (@get decimal, $array:expr, $row:expr) => { i64::try_from($array.value($row)).ok() };
    (@get $other:ident, $array:expr, $row:expr) => { Some($array.value($row)) };
}

macro_rules! define_columns {
    ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
        /// The schema of event batches.
        pub fn event_schema() -> SchemaRef {
            static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
                Arc::new(Schema::new(vec![
                    $(Field::new(stringify!($name), kind!(@type $kind), true),)*
                    Field::new("attrs", attrs_type(), true),
                ]))
            });
            Arc::clone(&SCHEMA)
        }

        /// Collects events, row by row, into a batch.
        #[derive(Debug)]
        pub struct EventBatchBuilder {
            rows: usize,
            $($name: kind!(@builder $kind),)*
            attrs: MapBuilder<StringBuilder, StringBuilder>,
        }

        impl Default for EventBatchBuilder {
            fn default() -> Self {
                let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
                Self {
                    rows: 0,
                    $($name: kind!(@new $kind),)*
                    attrs: MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()),
                }
            }
        }

        impl EventBatchBuilder {
            /// Adds one event.
            pub fn append(&mut self, event: &EventRef<'_>) -> Result<(), ArrowError> {
                $(kind!(@append $kind, self.$name, event.$name);)*
                for (key, value) in event.attrs.iter() {
                    self.attrs.keys().append_value(key);
                    self.attrs.values().append_value(value);
                }
                self.attrs.append(true)?;
                self.rows += 1;
                Ok(())
            }

            /// Rows so far.
            pub fn len(&self) -> usize {
                self.rows
            }

            /// Whether there is no row.
            pub fn is_empty(&self) -> bool {
                self.rows == 0
            }

            /// The rows as a batch; the builder starts anew.
            pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
                self.rows = 0;
                let columns: Vec<ArrayRef> = vec![
                    $(Arc::new(self.$name.finish()),)*
                    Arc::new(self.attrs.finish()),
                ];
                RecordBatch::try_new(event_schema(), columns)
            }
        }

        /// The columns of an event batch, typed, for reading row by row.
        #[derive(Debug, Clone, Copy)]
        pub struct EventColumns<'a> {
            rows: usize,
            $(#[doc = $meaning] pub $name: &'a kind!(@array $kind),)*
            /// Further facts.
            pub attrs: &'a MapArray,
            attrs_keys: &'a StringArray,
            attrs_values: &'a StringArray,
        }

        impl<'a> EventColumns<'a> {
            /// The columns of a batch whose schema begins with or contains those of [`event_schema`].
            pub fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
                let attrs: &MapArray = column(batch, "attrs")?;
                Ok(Self {
                    rows: batch.num_rows(),
                    $($name: column(batch, stringify!($name))?,)*
                    attrs,
                    attrs_keys: downcast(attrs.keys(), "attrs.key")?,
                    attrs_values: downcast(attrs.values(), "attrs.value")?,
                })
            }

            /// One row. Panics, like array access, when `row` is out of range.
            pub fn row(&self, row: usize) -> EventRef<'a> {
                let attrs = if self.attrs.is_null(row) {
                    Attrs::Empty
                } else {
                    let offsets = self.attrs.value_offsets();
                    Attrs::Column {
                        keys: self.attrs_keys,
                        values: self.attrs_values,
                        start: offsets[row] as usize,
                        end: offsets[row + 1] as usize,
                    }
                };
                EventRef {
                    $($name: if self.$name.is_null(row) { None } else { kind!(@get $kind, self.$name, row) },)*
                    attrs,
                }
            }
        }
    };
}
with_event_columns!(define_columns);

impl EventColumns<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

fn column<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T, ArrowError> {
    let array = batch
        .column_by_name(name)
        .ok_or_else(|| ArrowError::SchemaError(format!("event batch without column `{name}`")))?;
    downcast(array, name)
}

fn downcast<'a, T: 'static>(array: &'a ArrayRef, name: &str) -> Result<&'a T, ArrowError> {
    array.as_any().downcast_ref().ok_or_else(|| {
        ArrowError::SchemaError(format!(
            "event column `{name}` has the unexpected type {}",
            array.data_type()
        ))
    })
}

/// Gives a batch with the columns of [`event_schema`] (by name, types alike up to nullability and the names inside
/// the map) exactly that schema. Copies no values.
pub fn conform(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = event_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let array = batch.column_by_name(field.name()).ok_or_else(|| {
                ArrowError::SchemaError(format!("event batch without column `{}`", field.name()))
            })?;
            match array.as_any().downcast_ref::<MapArray>() {
                Some(map) => conform_map(map),
                None => Ok(Arc::clone(array)),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns)
}

fn conform_map(map: &MapArray) -> Result<ArrayRef, ArrowError> {
    let entries = arrow::array::StructArray::try_new(
        attrs_entry_fields(),
        vec![Arc::clone(map.keys()), Arc::clone(map.values())],
        None,
    )?;
    let map = MapArray::try_new(
        attrs_entries_field(),
        map.offsets().clone(),
        entries,
        map.nulls().cloned(),
        false,
    )?;
    Ok(Arc::new(map))
}
