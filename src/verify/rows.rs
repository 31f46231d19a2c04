//! Small query results as text and integers.

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use siji_query::{Parameters, QueryOptions, Session};

use super::VerifyError;

/// A result that fits in memory.
#[derive(Debug, Default)]
pub(super) struct Rows {
    cells: Vec<Vec<Option<String>>>,
}

/// Runs one query of the audit.
pub(super) async fn query(
    session: &Session,
    what: &'static str,
    sql: &str,
) -> Result<Rows, VerifyError> {
    let failed = |source| VerifyError::Query { what, source };
    let result = session
        .query(sql, Parameters::default(), QueryOptions::default())
        .await
        .map_err(failed)?;
    let batches: Vec<RecordBatch> = result.rows.try_collect().await.map_err(failed)?;
    let mut rows = Rows::default();
    for batch in &batches {
        let options = FormatOptions::default();
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .filter_map(|column| Some((column, ArrayFormatter::try_new(column, &options).ok()?)))
            .collect();
        for row in 0..batch.num_rows() {
            let cell = |(column, shown): &(&arrow::array::ArrayRef, ArrayFormatter<'_>)| {
                column.is_valid(row).then(|| shown.value(row).to_string())
            };
            rows.cells.push(columns.iter().map(cell).collect());
        }
    }
    Ok(rows)
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// A cell as text, null as `null`.
    pub(super) fn text(&self, row: usize, column: usize) -> String {
        let cell = self
            .cells
            .get(row)
            .and_then(|cells| cells.get(column))
            .cloned()
            .flatten();
        cell.unwrap_or_else(|| "null".to_owned())
    }

    /// A cell as an integer, null as 0: sums over nothing.
    pub(super) fn integer(&self, row: usize, column: usize) -> i64 {
        self.text(row, column).parse().unwrap_or(0)
    }

    /// The first `N` cells of a row as integers.
    pub(super) fn integers<const N: usize>(&self, row: usize) -> [i64; N] {
        std::array::from_fn(|column| self.integer(row, column))
    }

    /// A row for people.
    pub(super) fn line(&self, row: usize) -> String {
        let cells = self.cells.get(row).map(Vec::as_slice).unwrap_or_default();
        cells
            .iter()
            .map(|cell| cell.as_deref().unwrap_or("null"))
            .collect::<Vec<_>>()
            .join(" ")
    }
}
