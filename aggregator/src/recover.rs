//! Derived tables are brought up to the ledger before anything new is taken: after a crash between two commits, or
//! when a table was dropped (D3). The rows are read from the ledger, not from Kafka, and derived by the same code.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde_json::json;
use siji_lake::{LakeError, TableWriter};
use siji_schemas::catalogue::Catalogue;

use crate::AggregatorError;
use crate::commit::{Tables, change, derived_txns};
use crate::derive::registers::statements;
use crate::derive::rollup::Rollup;
use crate::position::{Partition, Position, app_id};
use crate::reader::LedgerReader;

/// How far a derived table must be moved, by partition: `from..to`.
type Behind = BTreeMap<Partition, (i64, i64)>;

/// Derives what is missing. Returns the number of ledger rows that were read again.
pub async fn catch_up(
    tables: &mut Tables,
    ledger: &LedgerReader,
    positions: &BTreeMap<Partition, Position>,
    topic: &str,
    catalogue: &Arc<Catalogue>,
    now_ms: i64,
) -> Result<usize, AggregatorError> {
    let mut read = 0;
    for (partition, (from, to)) in behind(&tables.rollup, positions, topic)? {
        let position = positions[&partition];
        let rows = ledger.rows(position.epoch, partition, from, to).await?;
        read += count(&rows);
        let mut rollup = Rollup::new(Arc::clone(catalogue))?;
        for batch in &rows {
            rollup.add(batch)?;
        }
        let mut adds = Vec::new();
        for (tier, rows) in rollup.finish()? {
            if rows.num_rows() > 0 {
                adds.push(
                    tables
                        .rollup
                        .write_file(Some(tier.as_str()), &[rows])
                        .await?,
                );
            }
        }
        let txns = derived_txns(&[(partition, position)].into(), topic, now_ms);
        tables
            .rollup
            .commit(change(adds, txns, json!({ "recovered": true })))
            .await?;
        tracing::info!(
            partition = partition.0,
            from,
            to,
            "rollup recovered from the ledger"
        );
    }
    for (partition, (from, to)) in behind(&tables.registers, positions, topic)? {
        let position = positions[&partition];
        let rows = ledger.rows(position.epoch, partition, from, to).await?;
        read += count(&rows);
        let found = rows
            .iter()
            .filter_map(|batch| statements(batch).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let mut adds = Vec::new();
        if !found.is_empty() {
            adds.push(tables.registers.write_file(None, &found).await?);
        }
        let txns = derived_txns(&[(partition, position)].into(), topic, now_ms);
        tables
            .registers
            .commit(change(adds, txns, json!({ "recovered": true })))
            .await?;
    }
    Ok(read)
}

fn count(rows: &[RecordBatch]) -> usize {
    rows.iter().map(RecordBatch::num_rows).sum()
}

/// Compares a derived table's positions with the ledger's. One that is ahead has rows whose ledger rows are gone.
fn behind(
    table: &TableWriter,
    positions: &BTreeMap<Partition, Position>,
    topic: &str,
) -> Result<Behind, LakeError> {
    let mut behind = Behind::new();
    for (partition, position) in positions {
        let id = app_id(topic, position.epoch, *partition);
        let derived = table.txn(&id);
        match (derived, position.next) {
            (Some(derived), Some(next)) if derived == next => {}
            (Some(derived), next) if next.is_none_or(|next| derived > next) => {
                return Err(LakeError::Damaged {
                    table: "ledger".to_owned(),
                    reason: format!(
                        "`{}` has followed {id} to {derived} but the ledger stands at {next:?}: commits of the ledger are \
                         missing; restore it",
                        table.spec().name
                    ),
                });
            }
            (derived, Some(next)) => {
                behind.insert(*partition, (derived.unwrap_or(i64::MIN), next));
            }
            (_, None) => {}
        }
    }
    Ok(behind)
}
