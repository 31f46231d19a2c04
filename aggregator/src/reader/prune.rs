//! Which files a reading of the ledger need not open, by the statistics in its log. No statistics, no pruning.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use siji_lake::snapshot::Snapshot;

use crate::dedup::Day;

/// Whether the statistics leave room for a day in a file.
pub(super) fn may_hold_day(snapshot: &Snapshot, file: usize, day: Day) -> bool {
    let Some(range) = snapshot.statistics().range("local_date") else {
        return true;
    };
    let (Some(min), Some(max)) = (
        range.min.as_primitive_opt::<Date32Type>(),
        range.max.as_primitive_opt::<Date32Type>(),
    ) else {
        return true;
    };
    !(min.is_valid(file) && day < min.value(file) || max.is_valid(file) && day > max.value(file))
}

/// Whether the statistics rule out that a file holds `from..=to` in an integer column.
pub(super) fn outside(snapshot: &Snapshot, name: &str, file: usize, from: i64, to: i64) -> bool {
    let Some(range) = snapshot.statistics().range(name) else {
        return false;
    };
    let bound = |array: &ArrayRef| {
        if array.is_null(file) {
            return None;
        }
        match (
            array.as_primitive_opt::<Int64Type>(),
            array.as_primitive_opt::<Int32Type>(),
        ) {
            (Some(longs), _) => Some(longs.value(file)),
            (_, Some(ints)) => Some(i64::from(ints.value(file))),
            _ => None,
        }
    };
    bound(&range.min).is_some_and(|min| min > to) || bound(&range.max).is_some_and(|max| max < from)
}

/// Whether a file may hold a value between two instants (microseconds UTC, both included) in a column that most rows
/// have nothing in.
pub(super) fn may_hold_instant(
    snapshot: &Snapshot,
    name: &str,
    file: usize,
    from: i64,
    to: i64,
) -> bool {
    let statistics = snapshot.statistics();
    let Some(range) = statistics.range(name) else {
        return true;
    };
    let nulls = range.nulls.is_valid(file).then(|| range.nulls.value(file));
    let rows = statistics.rows().filter(|rows| rows.is_valid(file));
    if nulls.is_some() && nulls == rows.map(|rows| rows.value(file)) {
        return false;
    }
    let bound = |array: &ArrayRef| {
        let instants = array.as_primitive_opt::<TimestampMicrosecondType>()?;
        instants.is_valid(file).then(|| instants.value(file))
    };
    bound(&range.min).is_none_or(|min| min <= to) && bound(&range.max).is_none_or(|max| max >= from)
}
