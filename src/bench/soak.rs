//! `siji bench soak`: a day of small commits as fast as they go. Is the last as fast as the thousandth?
//!
//! Each commit takes the real way (a ledger file, five roll-up files, log entries, fsync included) and stands for one
//! second; a round of maintenance runs beside them every 60, checkpoints every 50, log clean-up every 600. Times that are
//! kept in seconds (log retention, tombstones) are scaled by how fast commits really go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::ObjectStore;
use serde_json::json;
use siji_aggregator::commit::Tables;
use siji_aggregator::fence::Fence;
use siji_aggregator::maintain::{MAINTAINED, MaintainConfig, Upkeep};
use siji_lake::log::cleanup::Keep;
use siji_lake::snapshot::{ReaderOptions, TableReader};
use siji_lake::{Lake, LakeLocation, checkpoint};
use siji_schemas::validate::Reference;
use tokio::task::JoinHandle;

use super::process::{machine, round, usage_of};
use crate::failure::Failure;

mod seconds;
mod windows;

use seconds::{Seconds, TOPIC};
use windows::{Window, flat};

const ROUND_EVERY: u64 = 60;
const CLEAN_EVERY: u64 = 600;
const CHECKPOINT_EVERY: u64 = 50;
/// Log retention in commits: two hours of one a second.
const LOG_COMMITS: u32 = 7_200;
/// Folded files stay in the log for so many commits.
const TOMBSTONE_COMMITS: u32 = 3_600;
/// The run is told in so many parts.
const WINDOWS: u64 = 16;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    pub commits: u64,
    pub events: u64,
    pub maintain: bool,
    /// Directory for the lake, which is kept; a temporary one otherwise.
    pub directory: Option<std::path::PathBuf>,
}

/// What came of it: all figures as one object, and whether they were flat.
pub async fn run(plan: &Plan, reference: &Reference) -> Result<(serde_json::Value, bool), Failure> {
    let temporary = match plan.directory {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("siji-soak-").tempdir()?),
    };
    let directory = plan
        .directory
        .as_deref()
        .or(temporary.as_ref().map(|made| made.path()))
        .ok_or_else(|| Failure::new("no directory"))?;
    let location = LakeLocation::parse(
        &directory.join("lake").display().to_string(),
        Default::default(),
    )?;
    let lake = Lake::open_or_create(&location, &reference.zone.to_string()).await?;
    // Known better once some commits were made; a commit of this size takes some tens of milliseconds.
    let lake = lake.with_tombstones(Duration::from_millis(20) * TOMBSTONE_COMMITS);
    let began = Instant::now();
    let windows = Soak::new(lake, plan, reference).await?.run(plan).await?;
    let flat = flat(&windows);
    let seconds = began.elapsed().as_secs_f64();
    let figures = json!({
        "commits": plan.commits,
        "events_per_commit": plan.events,
        "maintained": plan.maintain,
        "seconds": round(seconds, 1.0),
        "machine": machine(),
        "flat": flat.is_none(),
        "why_not": flat,
        "windows": windows,
    });
    Ok((figures, flat.is_none()))
}

struct Soak {
    lake: Lake,
    tables: Tables,
    seconds: Seconds,
}

/// What the maintainer did in a window.
#[derive(Debug, Clone, Copy, Default)]
struct Maintained {
    seconds: f64,
    bytes: u64,
}

type Round = JoinHandle<Result<(Upkeep, Maintained), Failure>>;

impl Soak {
    async fn new(lake: Lake, plan: &Plan, reference: &Reference) -> Result<Soak, Failure> {
        Ok(Soak {
            tables: Tables::open(&lake).await?,
            seconds: Seconds::new(Arc::new(reference.catalogue.clone()), plan.events),
            lake,
        })
    }

    async fn run(mut self, plan: &Plan) -> Result<Vec<Window>, Failure> {
        let began = Instant::now();
        let window = (plan.commits / WINDOWS).max(1);
        let (mut windows, mut times, mut maintained) =
            (Vec::new(), Vec::new(), Maintained::default());
        let mut cpu_s = usage_of(std::process::id())?.cpu_s;
        let mut upkeep = Some(Upkeep::new(self.lake.clone()));
        let (mut round, mut checkpoint): (Option<Round>, Option<JoinHandle<()>>) = (None, None);
        for commit in 1..=plan.commits {
            let (rows, advance) = self.seconds.next(commit)?;
            let started = Instant::now();
            let files = rows.encode()?;
            let now_ms = chrono::Utc::now().timestamp_millis();
            self.tables
                .commit(files, &advance, TOPIC, &Fence::default(), now_ms)
                .await?;
            times.push(started.elapsed());
            if commit % CHECKPOINT_EVERY == 0
                && checkpoint.as_ref().is_none_or(JoinHandle::is_finished)
            {
                checkpoint = Some(tokio::spawn(checkpoints(self.lake.clone())));
            }
            if plan.maintain && commit % ROUND_EVERY == 0 {
                if let Some(round) = round.take() {
                    let (back, done) = round
                        .await
                        .map_err(|_| Failure::new("the maintainer panicked"))??;
                    maintained.seconds += done.seconds;
                    maintained.bytes += done.bytes;
                    upkeep = Some(back);
                }
                if let Some(upkeep) = upkeep.take() {
                    let clean =
                        (commit % CLEAN_EVERY == 0).then(|| began.elapsed() / commit as u32);
                    round = Some(tokio::spawn(maintenance(upkeep, clean)));
                }
            }
            if commit % window == 0 || commit == plan.commits {
                let told = self
                    .window(commit, &mut times, maintained, &mut cpu_s)
                    .await?;
                eprintln!("{told}");
                windows.push(told);
                maintained = Maintained::default();
            }
        }
        // What runs beside the commits is ended before the lake goes away.
        if let Some(round) = round {
            round
                .await
                .map_err(|_| Failure::new("the maintainer panicked"))??;
        }
        if let Some(checkpoint) = checkpoint {
            checkpoint
                .await
                .map_err(|_| Failure::new("a checkpoint panicked"))?;
        }
        Ok(windows)
    }

    async fn window(
        &self,
        commit: u64,
        times: &mut Vec<Duration>,
        maintained: Maintained,
        cpu_s: &mut f64,
    ) -> Result<Window, Failure> {
        times.sort_unstable();
        let at = |share: f64| {
            let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
            let time = times.get(index).copied().unwrap_or_default();
            round(time.as_secs_f64() * 1000.0, 10.0)
        };
        let (mut files, mut log_objects, mut log_bytes) = (0, 0, 0);
        for kept in MAINTAINED {
            let table = kept.spec.name;
            let reader = TableReader::open(
                self.lake.root_store(),
                self.lake.table_url(table),
                ReaderOptions::default(),
            )?;
            let snapshot = reader.current().await?;
            files += snapshot.map_or(0, |snapshot| snapshot.files().len() as u64);
            let folder = self.lake.table_path(table).join("_delta_log");
            let store = self.lake.root_store();
            let objects: Vec<_> = store.list(Some(&folder)).try_collect().await?;
            log_objects += objects.len() as u64;
            log_bytes += objects.iter().map(|object| object.size).sum::<u64>();
        }
        let usage = usage_of(std::process::id())?;
        let used = usage.cpu_s - std::mem::replace(cpu_s, usage.cpu_s);
        let told = Window {
            commit,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            cpu_ms: round(used * 1000.0 / times.len().max(1) as f64, 10.0),
            files,
            log_objects,
            log_kb: log_bytes >> 10,
            rss_mb: usage.rss_kb >> 10,
            maintained_s: round(maintained.seconds, 10.0),
            folded_mb: maintained.bytes >> 20,
        };
        times.clear();
        Ok(told)
    }
}

async fn checkpoints(lake: Lake) {
    for table in ["ledger", "rollup", "registers"] {
        if let Err(error) = checkpoint::write(&lake, table).await {
            tracing::warn!(table, %error, "no checkpoint");
        }
    }
}

async fn maintenance(
    mut upkeep: Upkeep,
    clean: Option<Duration>,
) -> Result<(Upkeep, Maintained), Failure> {
    let began = Instant::now();
    let mut bytes = 0;
    for kept in MAINTAINED {
        let policy = MaintainConfig::default().policy();
        let done = upkeep.table(kept, &policy, true).await?;
        bytes += done.folded.bytes_out + done.followed.bytes;
        if let Some(commit) = clean {
            let keep = Keep {
                entries: commit * LOG_COMMITS,
                checkpoints: commit * 86_400,
            };
            upkeep.clean_log(kept.spec.name, keep).await?;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok((upkeep, Maintained { seconds, bytes }))
}
