//! What a snapshot holds: files, partition values and statistics, as Arrow arrays with one row per file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StructArray, UInt64Array, new_null_array,
};
use arrow::compute::{cast, concat_batches, is_null, nullif};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaResult, DeltaTableError};
use object_store::path::Path;

/// One version of one table.
#[derive(Debug)]
pub struct Snapshot {
    table: String,
    version: u64,
    schema: SchemaRef,
    partition_columns: Vec<String>,
    files: Vec<DataFile>,
    statistics: FileStatistics,
    followed: Option<i64>,
}

/// One live Parquet file of a table. Its partition values are in [`Snapshot::partition_values`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Where it is in the object store (from the store's root, not the table's).
    pub path: Path,
    /// Its size in bytes.
    pub size: u64,
    /// Its rows, when the log tells.
    pub rows: Option<u64>,
}

/// What the log says about the values in each file. Row `i` of every array belongs to file `i`.
#[derive(Debug, Default)]
pub struct FileStatistics {
    rows: Option<UInt64Array>,
    ranges: HashMap<String, ColumnRange>,
    partitions: HashMap<String, ArrayRef>,
}

/// Bounds of one column. A null bound means that nothing is known of that file.
#[derive(Debug, Clone)]
pub struct ColumnRange {
    /// Lower bounds, of the column's type.
    pub min: ArrayRef,
    /// Upper bounds, of the column's type. For strings and instants they may lie above the largest value.
    pub max: ArrayRef,
    /// Number of nulls.
    pub nulls: UInt64Array,
}

impl Snapshot {
    pub(super) fn of(
        table: &str,
        root: &Path,
        state: &DeltaTableState,
        followed: Option<i64>,
    ) -> DeltaResult<Self> {
        let schema = state.snapshot().arrow_schema();
        let partition_columns: Vec<String> = state.metadata().partition_columns().to_vec();
        let actions = state.add_actions_batches(false)?;
        let (files, statistics) = match actions.first() {
            None => (Vec::new(), FileStatistics::default()),
            Some(first) => {
                let actions = concat_batches(&first.schema(), &actions)?;
                (
                    files(&actions, root)?,
                    FileStatistics::of(&actions, &schema)?,
                )
            }
        };
        Ok(Self {
            table: table.to_owned(),
            version: state.version(),
            schema,
            partition_columns,
            files,
            statistics,
            followed,
        })
    }

    /// Of a table that follows another one: the version of that one it has followed to.
    pub fn followed(&self) -> Option<i64> {
        self.followed
    }

    /// Name of the table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Version of the table: the number of its last commit.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The columns in declared order, partition columns among them. Strings are `Utf8`, instants `Timestamp(µs, UTC)`.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Names of the columns the files are partitioned by; they are not in the files.
    pub fn partition_columns(&self) -> &[String] {
        &self.partition_columns
    }

    /// The live files.
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// Statistics of the live files.
    pub fn statistics(&self) -> &FileStatistics {
        &self.statistics
    }

    /// The values of a partition column, one per file; `None` when the column is no partition column or there is no file.
    pub fn partition_values(&self, column: &str) -> Option<&ArrayRef> {
        self.statistics.partitions.get(column)
    }

    /// Total rows, when every file's count is known.
    pub fn rows(&self) -> Option<u64> {
        self.files
            .iter()
            .try_fold(0u64, |sum, file| sum.checked_add(file.rows?))
    }
}

impl FileStatistics {
    /// Rows of each file (null: unknown); `None` when there is no file.
    pub fn rows(&self) -> Option<&UInt64Array> {
        self.rows.as_ref()
    }

    /// Bounds of a column that is in the files; `None` when the log has none that can be relied on.
    pub fn range(&self, column: &str) -> Option<&ColumnRange> {
        self.ranges.get(column)
    }

    fn of(actions: &RecordBatch, schema: &SchemaRef) -> Result<Self, DeltaTableError> {
        let count = actions.num_rows();
        let minima = children(actions, "min");
        let maxima = children(actions, "max");
        let nulls = children(actions, "null_count");
        let mut ranges = HashMap::new();
        for field in schema.fields() {
            let name = field.name();
            let bound = |of: &HashMap<String, ArrayRef>| -> Result<ArrayRef, ArrowError> {
                match of.get(name) {
                    Some(values) if trusted(field.data_type()) => cast(values, field.data_type()),
                    _ => Ok(new_null_array(field.data_type(), count)),
                }
            };
            let nulls = match nulls.get(name) {
                Some(values) if matches!(values.data_type(), DataType::Int64) => {
                    counts(values.as_primitive())
                }
                _ => UInt64Array::new_null(count),
            };
            let (min, max) = (bound(&minima)?, above_truncation(bound(&maxima)?));
            let known = [min.as_ref(), max.as_ref(), &nulls as &dyn Array]
                .iter()
                .any(|a| a.null_count() < a.len());
            if known {
                ranges.insert(name.clone(), ColumnRange { min, max, nulls });
            }
        }
        let rows = match actions.column_by_name("num_records") {
            Some(values) => Some(counts(cast(values, &DataType::Int64)?.as_primitive())),
            None => None,
        };
        Ok(Self {
            rows,
            ranges,
            partitions: children(actions, "partition"),
        })
    }
}

fn files(actions: &RecordBatch, root: &Path) -> DeltaResult<Vec<DataFile>> {
    let column = |name: &str| {
        actions.column_by_name(name).ok_or_else(|| {
            DeltaTableError::generic(format!("the log lists files without `{name}`"))
        })
    };
    let paths = cast(column("path")?, &DataType::Utf8)?;
    let sizes = cast(column("size_bytes")?, &DataType::Int64)?;
    let rows = cast(column("num_records")?, &DataType::Int64)?;
    let (sizes, rows): (&Int64Array, &Int64Array) = (sizes.as_primitive(), rows.as_primitive());
    paths
        .as_string::<i32>()
        .iter()
        .enumerate()
        .map(|(i, path)| {
            let path = path.unwrap_or_default();
            let size = u64::try_from(sizes.value(i)).map_err(|_| {
                DeltaTableError::generic(format!("file `{path}` has a negative size in the log"))
            })?;
            Ok(DataFile {
                path: absolute(root, path)?,
                size,
                rows: rows
                    .is_valid(i)
                    .then(|| u64::try_from(rows.value(i)).ok())
                    .flatten(),
            })
        })
        .collect()
}

/// Paths in the log are relative to the table and percent-encoded.
fn absolute(root: &Path, relative: &str) -> DeltaResult<Path> {
    let refuse = || {
        DeltaTableError::generic(format!(
            "the log names a file outside its table: `{relative}`"
        ))
    };
    if relative.contains("://") || relative.starts_with('/') {
        return Err(refuse());
    }
    let inside = Path::from_url_path(relative).map_err(|_| refuse())?;
    if inside.parts().any(|part| part.as_ref() == "..") {
        return Err(refuse());
    }
    Ok(root.parts().chain(inside.parts()).collect())
}

/// The fields of a struct column, null where the struct is null.
fn children(actions: &RecordBatch, name: &str) -> HashMap<String, ArrayRef> {
    let Some(structs) = actions.column_by_name(name).and_then(|c| c.as_struct_opt()) else {
        return HashMap::new();
    };
    structs
        .fields()
        .iter()
        .zip(structs.columns())
        .map(|(field, values)| (field.name().clone(), under(structs, values)))
        .collect()
}

fn under(parent: &StructArray, child: &ArrayRef) -> ArrayRef {
    if parent.null_count() == 0 {
        return Arc::clone(child);
    }
    // Both arrays have the parent's length; should the kernel refuse, unknown is always a right answer.
    is_null(parent)
        .and_then(|absent| nullif(child, &absent))
        .unwrap_or_else(|_| new_null_array(child.data_type(), child.len()))
}

/// Types whose bounds survive the log's JSON. delta-rs writes decimals through `f64`, which can round a bound inwards.
fn trusted(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Utf8
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

/// The log keeps instants in whole milliseconds, cut off: the true maximum may lie up to 999 µs above what is written.
fn above_truncation(max: ArrayRef) -> ArrayRef {
    match max.data_type().clone() {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let raised = max
                .as_primitive::<TimestampMicrosecondType>()
                .unary::<_, TimestampMicrosecondType>(|t| t.saturating_add(999));
            Arc::new(raised.with_timezone_opt(zone))
        }
        _ => max,
    }
}

fn counts(values: &arrow::array::PrimitiveArray<Int64Type>) -> UInt64Array {
    values
        .iter()
        .map(|n| n.and_then(|n| u64::try_from(n).ok()))
        .collect()
}
