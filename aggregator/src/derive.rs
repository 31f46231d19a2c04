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

/// Which rows of a ledger batch are accepted.
fn accepted(ledger: &RecordBatch) -> Result<Vec<bool>, ArrowError> {
    let dispositions = text_column(ledger, "disposition")?;
    Ok(dispositions
        .iter()
        .map(|word| word == Some(Disposition::Accepted.as_str()))
        .collect())
}

/// A column of texts of ledger rows by name, numbered or not.
fn text_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<TextColumn<'a>, ArrowError> {
    TextColumn::of(column(batch, name)?)
        .ok_or_else(|| ArrowError::SchemaError(format!("column `{name}` holds no texts")))
}

/// A column of ledger rows by name.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch
        .column_by_name(name)
        .ok_or_else(|| ArrowError::SchemaError(format!("ledger rows without column `{name}`")))
}
