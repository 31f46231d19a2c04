//! Derived tables are brought up to the ledger before anything new is taken: after a crash between two commits, or
//! when a table was dropped (D3). The rows are read from the ledger, not from Kafka, and derived by the same code; as
//! many as there may be, a bounded part of them is in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde_json::json;
use siji_lake::log::Add;
use siji_lake::{LakeError, TableWriter};
use siji_schemas::catalogue::Catalogue;

use crate::AggregatorError;
use crate::commit::{Tables, change, derived_txns};
use crate::derive::registers::statements;
use crate::derive::rollup::Rollup;
use crate::position::{Partition, Position, app_id};
use crate::reader::{LedgerReader, Stretch, Stretches};

/// Partial sums, or statements, in memory before they are written to a file.
const FILE_ROWS: usize = 250_000;

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
    let missing = behind(&tables.rollup, positions, topic)?;
    if !missing.is_empty() {
        let (adds, rows) = rollup_files(&tables.rollup, ledger, &missing, catalogue).await?;
        follow(&mut tables.rollup, adds, &missing, positions, topic, now_ms).await?;
        tracing::info!(rows, "rollup recovered from the ledger");
        read += rows;
    }
    let missing = behind(&tables.registers, positions, topic)?;
    if !missing.is_empty() {
        let (adds, rows) = register_files(&tables.registers, ledger, &missing).await?;
        follow(
            &mut tables.registers,
            adds,
            &missing,
            positions,
            topic,
            now_ms,
        )
        .await?;
        read += rows;
    }
    Ok(read)
}

/// Files of a roll-up over some stretches of the ledger, not committed yet, and the ledger rows read.
pub(crate) async fn rollup_files(
    table: &TableWriter,
    ledger: &LedgerReader,
    missing: &Stretches,
    catalogue: &Arc<Catalogue>,
) -> Result<(Vec<Add>, usize), LakeError> {
    let (mut adds, mut rows) = (Vec::new(), 0);
    let mut rollup = Rollup::new(Arc::clone(catalogue));
    ledger
        .scan(missing, async |batch: RecordBatch| {
            rows += batch.num_rows();
            rollup.add(&batch)?;
            if rollup.len() >= FILE_ROWS {
                let full = std::mem::replace(&mut rollup, Rollup::new(Arc::clone(catalogue)));
                adds.extend(write_tiers(table, full).await?);
            }
            Ok(())
        })
        .await?;
    adds.extend(write_tiers(table, rollup).await?);
    Ok((adds, rows))
}

async fn write_tiers(table: &TableWriter, rollup: Rollup) -> Result<Vec<Add>, LakeError> {
    let mut adds = Vec::new();
    for (tier, rows) in rollup.finish()? {
        if rows.num_rows() > 0 {
            adds.push(table.write_file(Some(tier.as_str()), &[rows]).await?);
        }
    }
    Ok(adds)
}

/// Files of the statements in some stretches of the ledger, not committed yet, and the ledger rows read.
pub(crate) async fn register_files(
    table: &TableWriter,
    ledger: &LedgerReader,
    missing: &Stretches,
) -> Result<(Vec<Add>, usize), LakeError> {
    let (mut adds, mut rows) = (Vec::new(), 0);
    let (mut found, mut found_rows) = (Vec::new(), 0);
    ledger
        .scan(missing, async |batch: RecordBatch| {
            rows += batch.num_rows();
            if let Some(statements) = statements(&batch)? {
                found_rows += statements.num_rows();
                found.push(statements);
            }
            if found_rows >= FILE_ROWS {
                adds.push(table.write_file(None, &found).await?);
                found.clear();
                found_rows = 0;
            }
            Ok(())
        })
        .await?;
    if !found.is_empty() {
        adds.push(table.write_file(None, &found).await?);
    }
    Ok((adds, rows))
}

/// Commits what was derived, and that the table has followed.
async fn follow(
    table: &mut TableWriter,
    adds: Vec<Add>,
    missing: &Stretches,
    positions: &BTreeMap<Partition, Position>,
    topic: &str,
    now_ms: i64,
) -> Result<(), LakeError> {
    let followed = positions
        .iter()
        .filter(|(partition, _)| missing.contains_key(partition))
        .map(|(partition, position)| (*partition, *position))
        .collect();
    let txns = derived_txns(&followed, topic, now_ms);
    table
        .commit(change(adds, txns, json!({ "recovered": true })))
        .await
        .map(|_| ())
}

/// What a derived table has not followed yet. One that is ahead has rows whose ledger rows are gone.
fn behind(
    table: &TableWriter,
    positions: &BTreeMap<Partition, Position>,
    topic: &str,
) -> Result<Stretches, LakeError> {
    let mut behind = Stretches::new();
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
                let stretch = Stretch {
                    epoch: position.epoch,
                    from: derived.unwrap_or(i64::MIN),
                    to: next,
                };
                behind.insert(*partition, stretch);
            }
            (_, None) => {}
        }
    }
    Ok(behind)
}
