//! Rows of the roll-up with the same key become one: sums are added, histograms merged, rows without anything dropped.
//!
//! What is added up is what a reader would add up, so readers' sums stay the same to the last digit: a sum is null only
//! where all its parts are. A group whose sum would not fit its column stays as it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int32Builder, Int64Array,
    Int64Builder, MapArray, MapBuilder, MapFieldNames, RecordBatch, UInt32Array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// The first column that is summed; those before it are the key.
const FIRST_SUM: &str = "events";
/// No decimal of 38 digits reaches this.
const DECIMAL_LIMIT: i128 = 10i128.pow(38);

/// Folds rows that come in the order of the first columns of their key.
#[derive(Debug)]
pub(super) struct Folder {
    schema: SchemaRef,
    /// Columns of the key that rows come in the order of.
    order: Vec<usize>,
    /// Its other columns.
    others: Vec<usize>,
    first_sum: usize,
    /// Rows that later ones may still belong to.
    open: Option<RecordBatch>,
}

impl Folder {
    /// For rows of `schema` in the order of the columns `order`.
    pub(super) fn new(schema: SchemaRef, order: &[&str]) -> Result<Folder, ArrowError> {
        let first_sum = schema.index_of(FIRST_SUM)?;
        let order = order
            .iter()
            .map(|name| schema.index_of(name))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Folder {
            others: (0..first_sum)
                .filter(|column| !order.contains(column))
                .collect(),
            order,
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
        let (folded, complete) = self.fold(&rows)?;
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

    /// One row a key, in the order of keys; and how many of them no later row can belong to.
    fn fold(&self, batch: &RecordBatch) -> Result<(RecordBatch, usize), ArrowError> {
        let runs = changes(batch, &self.order)?;
        let last_run = runs.set_indices().last().map_or(0, |row| row + 1);
        if runs.count_set_bits() == runs.len() {
            // Each row alone is at its place.
            return Ok((batch.clone(), last_run));
        }
        let (order, groups) = self.groups(batch, &runs)?;
        if groups.len() == batch.num_rows() && order.is_sorted() {
            return Ok((batch.clone(), last_run));
        }
        let measures = measures(batch, self.first_sum)?;
        let mut kept: Vec<&[u32]> = Vec::with_capacity(groups.len());
        let mut complete = 0;
        for group in groups {
            let rows = &order[group];
            let before = kept.len();
            if rows.len() == 1 || measures.iter().all(|measure| measure.fits(rows)) {
                kept.push(rows);
            } else {
                kept.extend(rows.chunks(1));
            }
            if (rows[0] as usize) < last_run {
                complete += kept.len() - before;
            }
        }
        let first: UInt32Array = kept.iter().map(|rows| rows[0]).collect();
        let mut columns = batch.columns()[..self.first_sum]
            .iter()
            .map(|column| take(column, &first, None))
            .collect::<Result<Vec<_>, _>>()?;
        for measure in &measures {
            columns.push(measure.folded(&kept)?);
        }
        Ok((
            RecordBatch::try_new(Arc::clone(&self.schema), columns)?,
            complete,
        ))
    }

    /// Rows in the order of keys, and which of them have the same.
    fn groups(
        &self,
        batch: &RecordBatch,
        runs: &BooleanBuffer,
    ) -> Result<(Vec<u32>, Vec<Range<usize>>), ArrowError> {
        // Most columns say more about the area, and are the same for all rows of a run.
        let mut differing = Vec::new();
        for column in &self.others {
            let within_runs = &changes(batch, &[*column])? & &!runs;
            if within_runs.count_set_bits() > 0 {
                differing.push(Arc::clone(batch.column(*column)));
            }
        }
        let fields = differing
            .iter()
            .map(|it| SortField::new(it.data_type().clone()));
        let keys = match differing.is_empty() {
            true => None,
            false => Some(RowConverter::new(fields.collect())?.convert_columns(&differing)?),
        };
        let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
        let mut groups: Vec<Range<usize>> = Vec::with_capacity(order.len());
        let mut begin = 0;
        let ends = runs.set_indices().map(|row| row + 1);
        for end in ends.chain([order.len()]) {
            let run = begin..end;
            begin = end;
            let Some(keys) = keys.as_ref().filter(|_| run.len() > 1) else {
                groups.push(run);
                continue;
            };
            let key = |row: u32| keys.row(row as usize);
            order[run.clone()].sort_by(|a, b| key(*a).cmp(&key(*b)));
            let first = groups.len();
            for at in run {
                match groups[first..].last_mut() {
                    Some(group) if key(order[group.start]) == key(order[at]) => group.end = at + 1,
                    _ => groups.push(at..at + 1),
                }
            }
        }
        Ok((order, groups))
    }
}

/// After which rows, of all but the last, any of these columns changes.
fn changes(batch: &RecordBatch, columns: &[usize]) -> Result<BooleanBuffer, ArrowError> {
    let pairs = batch.num_rows().saturating_sub(1);
    let mut changes = BooleanBuffer::new_unset(pairs);
    for column in columns {
        let column = batch.column(*column);
        if pairs > 0 && column.null_count() < column.len() {
            let (before, after) = (column.slice(0, pairs), column.slice(1, pairs));
            changes = &changes | distinct(&before, &after)?.values();
        }
    }
    Ok(changes)
}

/// The columns that are summed.
fn measures(batch: &RecordBatch, first_sum: usize) -> Result<Vec<Measure<'_>>, ArrowError> {
    let columns = batch.columns()[first_sum..].iter();
    columns.map(Measure::of).collect()
}

/// Leaves out rows that a reader would add nothing of. Only for rows that no later ones belong to: a sum that has come
/// to nothing so far is still a sum and not null.
fn without_nothing(batch: &RecordBatch, first_sum: usize) -> Result<RecordBatch, ArrowError> {
    // Events and those that correct them seldom come to nothing: most rows need no second look.
    let events = batch.column(first_sum).as_primitive::<Int64Type>();
    if events.null_count() == 0 && events.values().iter().all(|events| *events != 0) {
        return Ok(batch.clone());
    }
    let measures = measures(batch, first_sum)?;
    let kept: BooleanArray = (0..batch.num_rows() as u32)
        .map(|row| Some(!measures.iter().all(|measure| measure.is_nothing(&[row]))))
        .collect();
    filter_record_batch(batch, &kept)
}

/// A column that is summed.
enum Measure<'a> {
    Whole(&'a Int64Array),
    Decimal(&'a Decimal128Array),
    Histogram(&'a MapArray),
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
    fn histogram(values: &MapArray, rows: &[u32]) -> Option<BTreeMap<i32, i64>> {
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
        match self {
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

    /// Of each group the sum.
    fn folded(&self, groups: &[&[u32]]) -> Result<ArrayRef, ArrowError> {
        let rows = groups.iter().copied();
        Ok(match self {
            Measure::Whole(values) if values.null_count() == values.len() => {
                new_null_array(values.data_type(), groups.len())
            }
            Measure::Whole(values) => Arc::new(
                rows.map(|rows| Self::whole(values, rows).flatten())
                    .collect::<Int64Array>(),
            ),
            Measure::Decimal(values) if values.null_count() == values.len() => {
                new_null_array(values.data_type(), groups.len())
            }
            Measure::Decimal(values) => Arc::new(
                rows.map(|rows| Self::decimal(values, rows).flatten())
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(38, 6)?,
            ),
            Measure::Histogram(values) => Self::histograms(values, groups)?,
        })
    }

    fn histograms(values: &MapArray, groups: &[&[u32]]) -> Result<ArrayRef, ArrowError> {
        let names = MapFieldNames {
            entry: "key_value".into(),
            key: "key".into(),
            value: "value".into(),
        };
        let mut maps = MapBuilder::new(Some(names), Int32Builder::new(), Int64Builder::new());
        for rows in groups {
            if rows.iter().all(|row| values.is_null(*row as usize)) {
                maps.append(false)?;
                continue;
            }
            let sum = Self::histogram(values, rows).unwrap_or_default();
            for (bucket, count) in &sum {
                maps.keys().append_value(*bucket);
                maps.values().append_value(*count);
            }
            maps.append(!sum.is_empty())?;
        }
        Ok(Arc::new(maps.finish()))
    }
}

#[cfg(test)]
mod tests;
