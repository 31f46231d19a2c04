//! Tables derived from accepted ledger rows, by the same code whether the rows were just written or are read again.

mod measure;
mod numbered;
pub mod registers;
pub mod rollup;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;
use siji_schemas::arrow::TextColumn;

pub use measure::Measure;

use crate::judge::Disposition;

/// How often each row of a ledger batch counts: once if it is accepted and says that something happened, once less if it
/// takes that back.
fn counts(ledger: &RecordBatch) -> Result<Vec<i32>, ArrowError> {
    let dispositions = text_column(ledger, "disposition")?;
    let ops = text_column(ledger, "op")?;
    let count = |(disposition, op): (Option<&str>, Option<&str>)| match disposition {
        Some(word) if word == Disposition::Accepted.as_str() => i32::from(op != Some("retract")),
        Some(word) if word == Disposition::Reversed.as_str() => -1,
        _ => 0,
    };
    Ok(dispositions.iter().zip(ops.iter()).map(count).collect())
}

/// A column of texts of ledger rows by name, numbered or not.
pub(crate) fn text_column<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<TextColumn<'a>, ArrowError> {
    TextColumn::of(column(batch, name)?)
        .ok_or_else(|| ArrowError::SchemaError(format!("column `{name}` holds no texts")))
}

/// A column of ledger rows by name.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch
        .column_by_name(name)
        .ok_or_else(|| ArrowError::SchemaError(format!("ledger rows without column `{name}`")))
}
