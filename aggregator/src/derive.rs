//! Tables derived from accepted ledger rows, by the same code whether the rows were just written or are read again.

mod measure;
mod numbered;
pub mod registers;
pub mod rollup;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;

pub use measure::Measure;

use crate::judge::Disposition;

/// The accepted rows of a ledger batch. Give it only the columns that are needed: a filter copies.
fn accepted(ledger: &RecordBatch, disposition: &ArrayRef) -> Result<RecordBatch, ArrowError> {
    let dispositions = disposition.as_string::<i32>();
    let mask: BooleanArray = dispositions
        .iter()
        .map(|word| Some(word == Some(Disposition::Accepted.as_str())))
        .collect();
    if mask.true_count() == mask.len() {
        return Ok(ledger.clone());
    }
    filter_record_batch(ledger, &mask)
}

/// A column of ledger rows by name.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch
        .column_by_name(name)
        .ok_or_else(|| ArrowError::SchemaError(format!("ledger rows without column `{name}`")))
}
