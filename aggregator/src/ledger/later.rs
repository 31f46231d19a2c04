//! Rows of decisions about records that have their row already: released, given up, counting no more.
//!
//! Such a row repeats the record's, says what was decided, names the record in `resolves` and stands at the offset its
//! partition had come to. It accounts for no offset of its own.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::Date32Type;
use arrow::error::ArrowError;
use siji_lake::schema::ledger_schema;

use siji_schemas::Refusal;
use siji_schemas::area::Day;
use siji_schemas::lock::locked;

use super::{Context, instants};
use crate::amend::Place;
use crate::derive::{column, text_column};
use crate::judge::Disposition;
use crate::position::Partition;
use crate::reader::Records;
use crate::settle::Later;

/// Columns of the areas that an event lies in.
const PLACE: [&str; 5] = [
    "area_code",
    "street_code",
    "district_code",
    "city_code",
    "province_code",
];

/// What `resolves` calls a record.
pub fn reference(partition: Partition, place: Place) -> String {
    format!("{}/{}/{}", place.epoch, partition.0, place.offset)
}

/// The record that [`reference()`] names.
pub fn place_of(reference: &str) -> Option<Place> {
    let (epoch, rest) = reference.split_once('/')?;
    let (_, offset) = rest.split_once('/')?;
    Some(Place {
        epoch: epoch.parse().ok()?,
        offset: offset.parse().ok()?,
    })
}

/// A decision was made about a record whose row is not there: the ledger lost it.
#[derive(Debug, thiserror::Error)]
#[error("the ledger has no row of record {0} (epoch/partition/offset), which a later one is about")]
pub struct NoRow(String);

/// The rows of some decisions, in order. `records` has the rows of all records they are about.
///
/// # Errors
/// [`NoRow`] in an external error when it has not.
pub fn later_rows(
    partition: Partition,
    offset: i64,
    decisions: &[Later],
    records: &Records,
    context: Context<'_>,
) -> Result<RecordBatch, ArrowError> {
    let rows = decisions
        .iter()
        .map(|later| {
            let missing = || NoRow(reference(partition, later.record));
            let row = records.get(&later.record);
            row.ok_or_else(|| ArrowError::ExternalError(Box::new(missing())))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let schema = ledger_schema();
    let repeated = concat_batches(&schema, rows)?;
    let n = decisions.len();
    let locks = locks(decisions, &repeated, context)?;
    // What is counted, or counted no more, is refused nothing: it may have come after a lock.
    let refusals: Vec<Option<Refusal>> = decisions
        .iter()
        .zip(&locks)
        .map(|(later, lock)| later.refusal.clone().or(lock.map(locked)))
        .collect();
    let refusal = |part: fn(&Refusal) -> Option<&str>| -> ArrayRef {
        let texts = refusals.iter().map(|it| it.as_ref().and_then(part));
        Arc::new(texts.collect::<StringArray>())
    };
    let columns = schema
        .fields()
        .iter()
        .zip(repeated.columns())
        .map(|(field, column)| match field.name().as_str() {
            "topic_epoch" => Arc::new(Int32Array::from(vec![context.epoch; n])) as ArrayRef,
            "offset" | "offset_last" => Arc::new(Int64Array::from(vec![offset; n])),
            "disposition" => Arc::new(StringArray::from_iter_values(
                decisions.iter().map(|later| later.disposition.as_str()),
            )),
            "code" => refusal(|refusal| Some(refusal.code.as_str())),
            "field" => refusal(|refusal| refusal.field.as_deref()),
            "reason" => refusal(|refusal| Some(refusal.reason.as_str())),
            "resolves" => Arc::new(StringArray::from_iter_values(
                decisions
                    .iter()
                    .map(|later| reference(partition, later.record)),
            )),
            "ingested_at" => instants(std::iter::repeat_n(Some(context.now_ms * 1000), n)),
            "after_lock" => instants(
                locks
                    .iter()
                    .map(|at| at.and_then(|ms| ms.checked_mul(1000))),
            ),
            "payload" | "payload_bytes" | "payload_sha256" => new_null_array(field.data_type(), n),
            _ => Arc::clone(column),
        })
        .collect();
    RecordBatch::try_new(schema, columns)
}

/// The locks that what is counted by some decisions, or no more, came after.
fn locks(
    decisions: &[Later],
    rows: &RecordBatch,
    context: Context<'_>,
) -> Result<Vec<Option<i64>>, ArrowError> {
    let Context {
        reference, now_ms, ..
    } = context;
    if reference.locks.is_empty() {
        return Ok(vec![None; decisions.len()]);
    }
    let days = column(rows, "local_date")?.as_primitive::<Date32Type>();
    let ops = text_column(rows, "op")?;
    let areas = PLACE
        .iter()
        .map(|name| text_column(rows, name))
        .collect::<Result<Vec<_>, _>>()?;
    let of_row = |(row, later): (usize, &Later)| {
        let counts = match later.disposition {
            Disposition::Accepted => ops.get(row) != Some("retract"),
            Disposition::Reversed => true,
            _ => false,
        };
        let day = (counts && days.is_valid(row)).then(|| Day(days.value(row)))?;
        let codes = areas.iter().filter_map(|texts| texts.get(row));
        crate::lock::last_before(reference, day, codes, now_ms)
    };
    Ok(decisions.iter().enumerate().map(of_row).collect())
}

/// The records that some decisions are about.
pub fn records_of(decisions: &[Later]) -> HashSet<Place> {
    decisions.iter().map(|later| later.record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_what_it_is_called() {
        let place = Place {
            epoch: 2,
            offset: 7_000_000_000,
        };
        let called = reference(Partition(11), place);
        assert_eq!(called, "2/11/7000000000");
        assert_eq!(place_of(&called), Some(place));
        for wrong in ["", "2/11", "2/11/x", "a/1/2"] {
            assert_eq!(place_of(wrong), None);
        }
    }
}
