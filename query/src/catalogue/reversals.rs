//! Whether a ledger has rows that take back others: most have none, and then nobody need look for them.

use arrow::array::{Array, AsArray};
use datafusion::catalog::TableProvider;

use crate::provider::LakeTable;

/// By the statistics in its log. False: it has none.
pub(super) fn may_have(ledger: &dyn TableProvider) -> bool {
    let Some(table) = ledger.downcast_ref::<LakeTable>() else {
        return false;
    };
    let snapshot = table.snapshot();
    let range = snapshot.statistics().range("disposition");
    let greatest = range.and_then(|range| range.max.as_string_opt::<i32>());
    match greatest {
        // The greatest of the words.
        Some(greatest) => (0..snapshot.files().len())
            .any(|file| greatest.is_null(file) || greatest.value(file) >= "reversed"),
        None => !snapshot.files().is_empty(),
    }
}
