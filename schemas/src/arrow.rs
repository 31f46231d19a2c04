//! The event record as Arrow columns.
//!
//! In memory every column is nullable: a record that is refused keeps what could be read of it. Instants are
//! milliseconds UTC here, as on the wire; the ledger stores microseconds. Words are numbered once, when an event is read:
//! the roll-up and the files of the lake need only the numbers.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, Decimal128Array, Int32Array, Int64Array, MapArray, MapBuilder, MapFieldNames,
    RecordBatch, StringArray, StringBuilder, TimestampMillisecondArray,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Fields, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit,
    TimestampMillisecondType,
};
use arrow::error::ArrowError;

use crate::event::{Attrs, EventRef, with_event_columns};
use crate::vocabulary::Vocabulary;

mod absent;
mod columns;
mod texts;

pub use absent::absent;
use columns::{NumberBuilder, TextBuilder, WordBuilder};
pub use texts::TextColumn;

/// Digits of `value`, all and after the point.
pub const VALUE_PRECISION: u8 = 18;
/// Digits of `value` after the point.
pub const VALUE_SCALE: i8 = 6;

/// Arrow type of an instant in memory: milliseconds, UTC.
pub fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Arrow type of a word in memory: a number and the texts.
pub fn word_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
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
    (@type word) => { word_type() };
    (@type int) => { DataType::Int32 };
    (@type long) => { DataType::Int64 };
    (@type instant) => { instant_type() };
    (@type decimal) => { DataType::Decimal128(VALUE_PRECISION, VALUE_SCALE) };
    (@column text, $a:lifetime) => { TextColumn<$a> };
    (@column word, $a:lifetime) => { TextColumn<$a> };
    (@column int, $a:lifetime) => { &$a Int32Array };
    (@column long, $a:lifetime) => { &$a Int64Array };
    (@column instant, $a:lifetime) => { &$a TimestampMillisecondArray };
    (@column decimal, $a:lifetime) => { &$a Decimal128Array };
    (@builder text) => { TextBuilder };
    (@builder word) => { WordBuilder };
    (@builder int) => { NumberBuilder<Int32Type> };
    (@builder long) => { NumberBuilder<Int64Type> };
    (@builder instant) => { NumberBuilder<TimestampMillisecondType> };
    (@builder decimal) => { NumberBuilder<Decimal128Type> };
    (@append decimal, $builder:expr, $value:expr, $words:expr) => {
        $builder.append_option($value.map(i128::from))
    };
    (@append word, $builder:expr, $value:expr, $words:expr) => { $builder.append_option($value, $words) };
    (@append $other:ident, $builder:expr, $value:expr, $words:expr) => { $builder.append_option($value) };
    (@finish word, $builder:expr, $texts:expr) => { $builder.finish($texts)? };
    (@finish text, $builder:expr, $texts:expr) => { $builder.finish()? };
    (@finish $number:ident, $builder:expr, $texts:expr) => { $builder.finish(kind!(@type $number)) };
    (@find text, $batch:expr, $name:expr) => { text_column($batch, $name)? };
    (@find word, $batch:expr, $name:expr) => { text_column($batch, $name)? };
    (@find $other:ident, $batch:expr, $name:expr) => { column($batch, $name)? };
    (@get text, $column:expr, $row:expr) => { $column.get($row) };
    (@get word, $column:expr, $row:expr) => { $column.get($row) };
    (@get decimal, $column:expr, $row:expr) => {
        $column.is_valid($row).then(|| i64::try_from($column.value($row)).ok()).flatten()
    };
    (@get $other:ident, $column:expr, $row:expr) => { $column.is_valid($row).then(|| $column.value($row)) };
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
            words: Vocabulary,
            $($name: kind!(@builder $kind),)*
            attrs: MapBuilder<StringBuilder, StringBuilder>,
        }

        impl Default for EventBatchBuilder {
            fn default() -> Self {
                let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
                Self {
                    rows: 0,
                    words: Vocabulary::default(),
                    $($name: <kind!(@builder $kind)>::default(),)*
                    attrs: MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()),
                }
            }
        }

        impl EventBatchBuilder {
            /// Adds one event.
            pub fn append(&mut self, event: &EventRef<'_>) -> Result<(), ArrowError> {
                $(kind!(@append $kind, self.$name, event.$name, &mut self.words);)*
                for (key, value) in event.attrs.iter() {
                    self.attrs.keys().append_value(key);
                    self.attrs.values().append_value(value);
                }
                self.attrs.append(true)?;
                self.rows += 1;
                Ok(())
            }

            /// The rows as a batch; the builder starts anew, with the words it knows unless they are too many.
            pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
                self.rows = 0;
                let texts = self.words.texts();
                let columns: Vec<ArrayRef> = vec![
                    $(kind!(@finish $kind, self.$name, &texts),)*
                    Arc::new(self.attrs.finish()),
                ];
                if self.words.is_full() {
                    self.words = Vocabulary::default();
                }
                RecordBatch::try_new(event_schema(), columns)
            }
        }

        /// The columns of an event batch, typed, for reading row by row.
        #[derive(Debug, Clone, Copy)]
        pub struct EventColumns<'a> {
            rows: usize,
            $(#[doc = $meaning] pub $name: kind!(@column $kind, 'a),)*
            /// Further facts.
            pub attrs: &'a MapArray,
            attrs_keys: &'a StringArray,
            attrs_values: &'a StringArray,
        }

        impl<'a> EventColumns<'a> {
            /// The columns of a batch whose schema begins with or contains those of [`event_schema`]; its words need not
            /// be numbered.
            pub fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
                let attrs: &MapArray = column(batch, "attrs")?;
                Ok(Self {
                    rows: batch.num_rows(),
                    $($name: kind!(@find $kind, batch, stringify!($name)),)*
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
                    $($name: kind!(@get $kind, self.$name, row),)*
                    attrs,
                }
            }
        }
    };
}
with_event_columns!(define_columns);

impl EventBatchBuilder {
    /// Rows so far.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

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

fn text_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<TextColumn<'a>, ArrowError> {
    let array = batch
        .column_by_name(name)
        .ok_or_else(|| ArrowError::SchemaError(format!("event batch without column `{name}`")))?;
    TextColumn::of(array)
        .ok_or_else(|| ArrowError::SchemaError(format!("event column `{name}` holds no texts")))
}

fn downcast<'a, T: 'static>(array: &'a ArrayRef, name: &str) -> Result<&'a T, ArrowError> {
    array.as_any().downcast_ref().ok_or_else(|| {
        ArrowError::SchemaError(format!(
            "event column `{name}` has the unexpected type {}",
            array.data_type()
        ))
    })
}
