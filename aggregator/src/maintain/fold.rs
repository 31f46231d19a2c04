//! Rows of the roll-up with the same key become one: sums are added, histograms merged, rows without anything dropped.
//!
//! What is added up is what a reader would add up, so readers' sums stay the same to the last digit: a sum is null only
//! where all its parts are. A group whose sum would not fit its column stays as it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int32Builder, Int64Array,
    Int64Builder, MapBuilder, MapFieldNames, RecordBatch, UInt32Array,
};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

/// The first column that is summed; those before it are the key.
const FIRST_SUM: &str = "events";
/// No decimal of 38 digits reaches this.
const DECIMAL_LIMIT: i128 = 10i128.pow(38);

/// Folds rows that come in the order of the first columns of their key.
#[derive(Debug)]
pub(super) struct Folder {
    schema: SchemaRef,
    /// Columns of the key; the first of them are those that rows come in the order of.
    keys: Vec<usize>,
    ordered: usize,
    by_key: RowConverter,
    by_order: RowConverter,
    first_sum: usize,
    /// Rows that later ones may still belong to.
    open: Option<RecordBatch>,
}

impl Folder {
    /// For rows of `schema` in the order of the columns `order`.
    pub(super) fn new(schema: SchemaRef, order: &[&str]) -> Result<Folder, ArrowError> {
        let first_sum = schema.index_of(FIRST_SUM)?;
        let mut keys = order
            .iter()
            .map(|name| schema.index_of(name))
            .collect::<Result<Vec<_>, _>>()?;
        keys.extend(
            (0..first_sum).filter(|column| !order.contains(&schema.field(*column).name().as_str())),
        );
        let converter = |columns: &[usize]| {
            let fields = columns
                .iter()
                .map(|column| SortField::new(schema.field(*column).data_type().clone()));
            RowConverter::new(fields.collect())
        };
        Ok(Folder {
            by_key: converter(&keys)?,
            by_order: converter(&keys[..order.len()])?,
            ordered: order.len(),
            keys,
            schema,
            first_sum,
            open: None,
        })
    }

    /// Takes the next rows; gives those that are complete.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let rows = match self.open.take() {
            Some(open) => concat_batches(&self.schema, [&open, &batch])?,
            None => batch,
        };
        let folded = self.fold(&rows)?;
        let order = self
            .by_order
            .convert_columns(&self.columns(&folded, self.ordered))?;
        let last = order.num_rows().checked_sub(1);
        let complete = last.map_or(0, |last| {
            (0..=last)
                .rev()
                .take_while(|row| order.row(*row) == order.row(last))
                .last()
                .unwrap_or(last)
        });
        let rest = folded.num_rows() - complete;
        self.open = (rest > 0).then(|| folded.slice(complete, rest));
        without_nothing(&folded.slice(0, complete), self.first_sum)
    }

    /// The rows that were still open.
    pub(super) fn finish(self) -> Result<Option<RecordBatch>, ArrowError> {
        self.open
            .map(|open| without_nothing(&open, self.first_sum))
            .transpose()
    }

    fn columns(&self, batch: &RecordBatch, first: usize) -> Vec<ArrayRef> {
        let columns = self.keys[..first].iter();
        columns
            .map(|column| Arc::clone(batch.column(*column)))
            .collect()
    }

    /// One row a key, in the order of keys.
    fn fold(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let keys = self
            .by_key
            .convert_columns(&self.columns(batch, self.keys.len()))?;
        let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
        order.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        let groups = groups(&keys, &order);
        let measures = measures(batch, self.first_sum)?;
        let kept: Vec<Range<usize>> = groups
            .into_iter()
            .flat_map(|group| {
                let rows = &order[group.clone()];
                if measures.iter().all(|measure| measure.fits(rows)) {
                    vec![group]
                } else {
                    group.map(|row| row..row + 1).collect()
                }
            })
            .collect();
        let first: UInt32Array = kept.iter().map(|group| order[group.start]).collect();
        let mut columns = batch.columns()[..self.first_sum]
            .iter()
            .map(|column| take(column, &first, None))
            .collect::<Result<Vec<_>, _>>()?;
        for measure in &measures {
            columns.push(measure.folded(kept.iter().map(|group| &order[group.clone()]))?);
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// The columns that are summed.
fn measures(batch: &RecordBatch, first_sum: usize) -> Result<Vec<Measure<'_>>, ArrowError> {
    let columns = batch.columns()[first_sum..].iter();
    columns.map(Measure::of).collect()
}

/// Leaves out rows that a reader would add nothing of. Only for rows that no later ones belong to: a sum that has come
/// to nothing so far is still a sum and not null.
fn without_nothing(batch: &RecordBatch, first_sum: usize) -> Result<RecordBatch, ArrowError> {
    let measures = measures(batch, first_sum)?;
    let kept: BooleanArray = (0..batch.num_rows() as u32)
        .map(|row| Some(!measures.iter().all(|measure| measure.is_nothing(&[row]))))
        .collect();
    filter_record_batch(batch, &kept)
}

/// Runs of equal keys.
fn groups(keys: &Rows, order: &[u32]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (at, row) in order.iter().enumerate() {
        let key = keys.row(*row as usize);
        match groups.last_mut() {
            Some(group) if keys.row(order[group.start] as usize) == key => group.end = at + 1,
            _ => groups.push(at..at + 1),
        }
    }
    groups
}

/// A column that is summed.
enum Measure<'a> {
    Whole(&'a Int64Array),
    Decimal(&'a Decimal128Array),
    Histogram(&'a arrow::array::MapArray),
}

impl<'a> Measure<'a> {
    fn of(column: &'a ArrayRef) -> Result<Measure<'a>, ArrowError> {
        match column.data_type() {
            DataType::Int64 => Ok(Measure::Whole(column.as_primitive::<Int64Type>())),
            DataType::Decimal128(38, 6) => {
                Ok(Measure::Decimal(column.as_primitive::<Decimal128Type>()))
            }
            DataType::Map(..) => Ok(Measure::Histogram(column.as_map())),
            other => Err(ArrowError::SchemaError(format!(
                "a roll-up column of type {other} cannot be summed"
            ))),
        }
    }

    /// The sum over rows; `None`: it does not fit. Null where all are.
    fn whole(values: &Int64Array, rows: &[u32]) -> Option<Option<i64>> {
        let mut sum = None;
        for row in rows.iter().map(|row| *row as usize) {
            if values.is_valid(row) {
                sum = Some(sum.unwrap_or(0i64).checked_add(values.value(row))?);
            }
        }
        Some(sum)
    }

    fn decimal(values: &Decimal128Array, rows: &[u32]) -> Option<Option<i128>> {
        let mut sum = None;
        for row in rows.iter().map(|row| *row as usize) {
            if values.is_valid(row) {
                let next = sum.unwrap_or(0i128).checked_add(values.value(row))?;
                sum = Some(next).filter(|sum| sum.abs() < DECIMAL_LIMIT);
                sum?;
            }
        }
        Some(sum)
    }

    /// Without buckets that nothing is in.
    fn histogram(values: &arrow::array::MapArray, rows: &[u32]) -> Option<BTreeMap<i32, i64>> {
        let buckets = values.keys().as_primitive::<Int32Type>();
        let counts = values.values().as_primitive::<Int64Type>();
        let mut sum: BTreeMap<i32, i64> = BTreeMap::new();
        for row in rows.iter().map(|row| *row as usize) {
            if values.is_null(row) {
                continue;
            }
            let entries =
                values.value_offsets()[row] as usize..values.value_offsets()[row + 1] as usize;
            for entry in entries.filter(|entry| counts.is_valid(*entry)) {
                let bucket = sum.entry(buckets.value(entry)).or_default();
                *bucket = bucket.checked_add(counts.value(entry))?;
            }
        }
        sum.retain(|_, count| *count != 0);
        Some(sum)
    }

    fn fits(&self, rows: &[u32]) -> bool {
        rows.len() == 1
            || match self {
                Measure::Whole(values) => Self::whole(values, rows).is_some(),
                Measure::Decimal(values) => Self::decimal(values, rows).is_some(),
                Measure::Histogram(values) => Self::histogram(values, rows).is_some(),
            }
    }

    /// Whether a reader would add nothing.
    fn is_nothing(&self, rows: &[u32]) -> bool {
        match self {
            Measure::Whole(values) => {
                matches!(Self::whole(values, rows), Some(None | Some(0)))
            }
            Measure::Decimal(values) => {
                matches!(Self::decimal(values, rows), Some(None | Some(0)))
            }
            Measure::Histogram(values) => {
                Self::histogram(values, rows).is_some_and(|sum| sum.is_empty())
            }
        }
    }

    fn folded<'r>(&self, groups: impl Iterator<Item = &'r [u32]>) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Measure::Whole(values) => Arc::new(
                groups
                    .map(|rows| Self::whole(values, rows).flatten())
                    .collect::<Int64Array>(),
            ),
            Measure::Decimal(values) => Arc::new(
                groups
                    .map(|rows| Self::decimal(values, rows).flatten())
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(38, 6)?,
            ),
            Measure::Histogram(values) => {
                let names = MapFieldNames {
                    entry: "key_value".into(),
                    key: "key".into(),
                    value: "value".into(),
                };
                let mut maps =
                    MapBuilder::new(Some(names), Int32Builder::new(), Int64Builder::new());
                for rows in groups {
                    let sum = Self::histogram(values, rows).unwrap_or_default();
                    for (bucket, count) in &sum {
                        maps.keys().append_value(*bucket);
                        maps.values().append_value(*count);
                    }
                    maps.append(!sum.is_empty())?;
                }
                Arc::new(maps.finish())
            }
        })
    }
}

#[cfg(test)]
mod tests;
