//! The day grain follows the hour grain (D14): what was committed to `rollup` since the position in `rollup_day`'s log is
//! added to it by day, and the position moves in the same commit.
//!
//! Folds of the hour table move rows between files and are passed over. Where rows went away, as when it is rebuilt, or
//! an entry of its log is gone, the days are made anew from what the hour table holds.

use std::collections::BTreeMap;

use siji_lake::compact::output::{Shape, effort, today};
use siji_lake::compact::plan::Policy;
use siji_lake::log::{Add, Change, changes};
use siji_lake::schema::FOLLOWED_ROLLUP;
use siji_lake::snapshot::{DataFile, Snapshot};
use siji_lake::{Lake, LakeError, Txn};

use super::table::{Table, version};
use super::tables::{DAYS, HOURS};

/// Versions of the hour table that are followed in one commit.
const STEP: i64 = 1000;
/// The position moves at least this often although nothing was added, so that readers need not read far.
const IDLE: i64 = 100;

/// What following did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Followed {
    /// Versions of the hour table.
    pub versions: i64,
    /// Its files that were read.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Whether the days were made anew.
    pub anew: bool,
}

/// What happened to the hour table after a version.
enum Since {
    /// Files with new rows, up to a version.
    Added(Vec<Add>, i64),
    /// It cannot be followed from there.
    Lost,
}

async fn since(lake: &Lake, from: i64, to: i64) -> Result<Since, LakeError> {
    let mut added = Vec::new();
    let to = to.min(from.saturating_add(STEP));
    for version in from + 1..=to {
        match changes(lake, HOURS.spec.name, version).await? {
            Some(entry) if !entry.took_rows => added.extend(entry.added),
            _ => return Ok(Since::Lost),
        }
    }
    Ok(Since::Added(added, to))
}

/// Brings the days up to a snapshot of the hours.
pub(super) async fn follow(
    lake: &Lake,
    days: &mut Table,
    hours: &Snapshot,
    policy: &Policy,
) -> Result<Followed, LakeError> {
    let mut done = Followed::default();
    let target = version(hours);
    days.writer.refresh().await?;
    loop {
        let from = match days.writer.txn(FOLLOWED_ROLLUP) {
            // Another maintainer has seen more than this snapshot.
            Some(from) if from >= target => return Ok(done),
            Some(from) => from,
            None => return anew(lake, days, hours, policy).await,
        };
        match since(lake, from, target).await? {
            Since::Lost => return anew(lake, days, hours, policy).await,
            Since::Added(added, to) => {
                if added.is_empty() && to == target && to - from < IDLE {
                    return Ok(done);
                }
                done.versions += to - from;
                done.files += added.len() as u64;
                let folder = lake.table_path(HOURS.spec.name);
                let files = added.iter().map(|add| {
                    let tier = add.partition_values.get("tier").cloned().flatten();
                    (tier, days.added(&folder, add))
                });
                let adds = by_day(days, files.collect(), policy).await?;
                done.bytes += bytes(&adds);
                commit(days, adds, Vec::new(), to).await?;
            }
        }
    }
}

/// Makes the days from all that a snapshot of the hours holds, in one commit.
pub(super) async fn anew(
    lake: &Lake,
    days: &mut Table,
    hours: &Snapshot,
    policy: &Policy,
) -> Result<Followed, LakeError> {
    let before = days.snapshot().await?;
    let tiers: BTreeMap<usize, String> = HOURS
        .candidates(hours)
        .into_iter()
        .filter_map(|candidate| Some((candidate.file, candidate.partition?)))
        .collect();
    let files: Vec<(Option<String>, DataFile)> = hours
        .files()
        .iter()
        .enumerate()
        .map(|(file, found)| (tiers.get(&file).cloned(), found.clone()))
        .collect();
    let mut done = Followed {
        versions: version(hours) - before.followed().unwrap_or(-1),
        files: files.len() as u64,
        anew: true,
        ..Followed::default()
    };
    tracing::info!(lake = %lake.url(), files = files.len(), "the day grain is made anew from the hour grain");
    let adds = by_day(days, files, policy).await?;
    done.bytes += bytes(&adds);
    commit(days, adds, before.files().to_vec(), version(hours)).await?;
    Ok(done)
}

/// The rows of hour files as day files.
async fn by_day(
    days: &Table,
    files: Vec<(Option<String>, DataFile)>,
    policy: &Policy,
) -> Result<Vec<Add>, LakeError> {
    let mut tiers: BTreeMap<String, Vec<DataFile>> = BTreeMap::new();
    for (tier, file) in files {
        let tier = tier.ok_or_else(|| LakeError::Damaged {
            table: HOURS.spec.name.to_owned(),
            reason: format!("{} is of no tier", file.path),
        })?;
        tiers.entry(tier).or_default().push(file);
    }
    let mut adds = Vec::new();
    for (tier, files) in tiers {
        for files in parts(files, policy) {
            let bytes: u64 = files.iter().map(|file| file.size).sum();
            let shape = Shape {
                spec: DAYS.spec,
                partition: Some(tier.clone()),
                target_bytes: policy.target_bytes,
                data_change: true,
                shelves: (bytes >= policy.sorting_bytes()).then(today),
                effort: effort(policy),
            };
            adds.extend(days.rewrite(&files, DAYS.order, shape).await?);
        }
    }
    Ok(adds)
}

/// Cuts files into parts that one pass may read.
fn parts(files: Vec<DataFile>, policy: &Policy) -> Vec<Vec<DataFile>> {
    let mut parts: Vec<(u64, Vec<DataFile>)> = Vec::new();
    for file in files {
        match parts.last_mut() {
            Some((bytes, part))
                if part.len() < policy.job_files && *bytes + file.size <= policy.job_bytes =>
            {
                *bytes += file.size;
                part.push(file);
            }
            _ => parts.push((file.size, vec![file])),
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

async fn commit(
    days: &mut Table,
    adds: Vec<Add>,
    gone: Vec<DataFile>,
    to: i64,
) -> Result<(), LakeError> {
    let position = Txn {
        app_id: FOLLOWED_ROLLUP.to_owned(),
        version: to,
        last_updated: Some(chrono::Utc::now().timestamp_millis()),
    };
    let change = Change {
        removes: days.removes(&gone, true)?,
        adds,
        txns: vec![position],
        ..Change::default()
    };
    days.commit(change, "WRITE").await.map(|_| ())
}

fn bytes(adds: &[Add]) -> u64 {
    adds.iter().map(|add| add.size as u64).sum()
}
