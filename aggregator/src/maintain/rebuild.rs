//! Derived tables made anew from the ledger, without Kafka, in one commit each: readers see the old rows or the new ones.
//!
//! An aggregator may run meanwhile. The commit sets the positions of the table to what was derived, which are the
//! transactions that the aggregator moves too: whichever commits second conflicts. If that is the rebuild, it derives
//! what came in between and tries again; if it is the aggregator, it starts over from the new positions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use siji_lake::compact::plan::Policy;
use siji_lake::log::{Add, Change};
use siji_lake::{Lake, LakeError, Txn};
use siji_schemas::catalogue::Catalogue;

use super::table::{Table, version};
use super::tables::{DAYS, HOURS, Maintained, STATEMENTS};
use super::{Followed, day};
use crate::AggregatorError;
use crate::position::{Partition, all_positions, app_id};
use crate::reader::{LedgerReader, Stretch, Stretches};
use crate::recover::{register_files, rollup_files};

/// How often a rebuild goes on from where it is because the aggregator has committed meanwhile.
const ATTEMPTS: u32 = 20;

/// What was made anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Ledger rows read; of the day grain: files of the hour grain.
    pub read: u64,
    /// Files that left the table.
    pub files_before: u64,
    /// Files that it has now.
    pub files_after: u64,
    /// The version from which on it is new.
    pub version: i64,
}

/// Makes `rollup` (and after it `rollup_day`), `rollup_day` alone, or `registers` anew.
///
/// # Errors
/// [`AggregatorError::Config`] for a table that is not derived; [`LakeError::Conflict`] when others kept committing.
pub async fn rebuild(
    lake: &Lake,
    table: &str,
    catalogue: &Arc<Catalogue>,
    policy: &Policy,
) -> Result<Rebuilt, AggregatorError> {
    match table {
        name if name == DAYS.spec.name => Ok(days(lake, policy).await?),
        name if name == HOURS.spec.name => {
            let rebuilt = from_ledger(lake, &HOURS, catalogue).await?;
            days(lake, policy).await?;
            Ok(rebuilt)
        }
        name if name == STATEMENTS.spec.name => from_ledger(lake, &STATEMENTS, catalogue).await,
        other => Err(AggregatorError::Config(format!(
            "`{other}` is not derived from the ledger; rollup, rollup_day and registers are"
        ))),
    }
}

async fn days(lake: &Lake, policy: &Policy) -> Result<Rebuilt, LakeError> {
    let missing = |table: &str| LakeError::Damaged {
        table: table.to_owned(),
        reason: "there is no such table".to_owned(),
    };
    let mut attempt = 1;
    loop {
        let hours = Table::open(lake, &HOURS, false).await?;
        let mut hours = hours.ok_or_else(|| missing(HOURS.spec.name))?;
        let snapshot = hours.snapshot().await?;
        let days = Table::open(lake, &DAYS, true).await?;
        let mut days = days.ok_or_else(|| missing(DAYS.spec.name))?;
        let before = days.snapshot().await?.files().len() as u64;
        match day::anew(lake, &mut days, &snapshot, policy).await {
            Ok(Followed { files, .. }) => {
                return Ok(Rebuilt {
                    read: files,
                    files_before: before,
                    files_after: days.snapshot().await?.files().len() as u64,
                    version: days.writer.version(),
                });
            }
            Err(LakeError::Conflict { .. } | LakeError::Removed { .. }) if attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn from_ledger(
    lake: &Lake,
    kept: &'static Maintained,
    catalogue: &Arc<Catalogue>,
) -> Result<Rebuilt, AggregatorError> {
    let name = kept.spec.name;
    let ledger = LedgerReader::open(lake)?;
    let mut done = Rebuilt::default();
    let mut adds: Vec<Add> = Vec::new();
    let mut reached: BTreeMap<(i32, Partition), i64> = BTreeMap::new();
    let mut attempt = 1;
    loop {
        let opened = Table::open(lake, kept, true).await?;
        let mut table = opened.ok_or(AggregatorError::Thread("rebuild"))?;
        let state = siji_lake::table::state(lake, "ledger").await?;
        let state = state.ok_or_else(|| LakeError::Damaged {
            table: "ledger".to_owned(),
            reason: format!("there is none, so `{name}` cannot be made from it"),
        })?;
        let positions = all_positions(&state.txns);
        for stretches in missing(&positions, &reached) {
            let (files, rows) = if name == HOURS.spec.name {
                rollup_files(&table.writer, &ledger, &stretches, catalogue).await?
            } else {
                register_files(&table.writer, &ledger, &stretches).await?
            };
            adds.extend(files);
            done.read += rows as u64;
        }
        let now_ms = chrono::Utc::now().timestamp_millis();
        let mut txns = Vec::new();
        for (topic, epoch, partition, next) in &positions {
            reached.insert((*epoch, *partition), *next);
            txns.push(Txn {
                app_id: app_id(topic, *epoch, *partition),
                version: *next,
                last_updated: Some(now_ms),
            });
        }
        let before = table.snapshot().await?;
        let change = Change {
            adds: adds.clone(),
            removes: table.removes(before.files(), true)?,
            txns,
            info: [("sijiRebuild".to_owned(), json!({ "rows": done.read }))]
                .into_iter()
                .collect(),
        };
        match table.commit(change, "WRITE").await {
            Ok(at) => {
                tracing::info!(
                    table = name,
                    from = version(&before),
                    at,
                    rows = done.read,
                    "made anew from the ledger"
                );
                done.files_before = before.files().len() as u64;
                done.files_after = adds.len() as u64;
                done.version = at;
                return Ok(done);
            }
            Err(LakeError::Conflict { .. } | LakeError::Removed { .. }) if attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What has not been derived yet, by life of the topic: a stretch is of one.
fn missing(
    positions: &[(String, i32, Partition, i64)],
    reached: &BTreeMap<(i32, Partition), i64>,
) -> Vec<Stretches> {
    let mut epochs: BTreeMap<i32, Stretches> = BTreeMap::new();
    for (_, epoch, partition, next) in positions {
        let from = reached.get(&(*epoch, *partition)).copied();
        if from.is_none_or(|from| from < *next) {
            let stretch = Stretch {
                epoch: *epoch,
                from: from.unwrap_or(i64::MIN),
                to: *next,
            };
            epochs
                .entry(*epoch)
                .or_default()
                .insert(*partition, stretch);
        }
    }
    epochs.into_values().collect()
}
