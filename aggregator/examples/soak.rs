//! A day of small commits as fast as they go: is the thousandth as fast as the last?
//!
//! ```text
//! cargo run --release -p siji-aggregator --example soak -- --commits 86400
//! ```
//!
//! Each commit takes the real way (ledger file, five roll-up files, three log entries, fsync included) and stands for one
//! second; a round of maintenance runs beside them every 60, checkpoints every 50, log clean-up every 600. Times that are
//! kept in seconds (log retention, tombstones) are scaled by how fast commits really go. Every 5,000 commits one line:
//! commit times, live files by table, bytes of the logs, resident memory, seconds of maintenance, and bytes written by
//! commits and by folds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use serde_json::{Value, json};
use siji_aggregator::commit::{Advance, Rows, Tables, Tally};
use siji_aggregator::derive::rollup::Rollup;
use siji_aggregator::fence::Fence;
use siji_aggregator::maintain::{MAINTAINED, MaintainConfig, Upkeep};
use siji_aggregator::position::{Partition, Position};
use siji_lake::log::cleanup::Keep;
use siji_lake::schema::ledger_schema;
use siji_lake::{Lake, LakeLocation, checkpoint};
use siji_schemas::catalogue::{Catalogue, CatalogueSource};
use tokio::task::JoinHandle;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const TOPIC: &str = "soak";
const PARTITIONS: i64 = 4;
const REPORT_EVERY: u64 = 5_000;
const ROUND_EVERY: u64 = 60;
const CLEAN_EVERY: u64 = 600;
const CHECKPOINT_EVERY: u64 = 50;
/// Log retention in commits: two hours of one a second.
const LOG_COMMITS: u32 = 7_200;

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name)?;
    arguments.next()
}

#[tokio::main]
async fn main() -> Result<()> {
    let commits: u64 = argument("--commits").map_or(Ok(20_000), |n| n.parse())?;
    let events: i64 = argument("--events").map_or(Ok(40), |n| n.parse())?;
    let tombstones: u64 = argument("--tombstone-seconds").map_or(Ok(60), |n| n.parse())?;
    let maintain = argument("--maintain").is_none_or(|word| word != "no");
    let directory = argument("--dir").unwrap_or_else(|| "soak-lake".to_owned());
    let location = LakeLocation::parse(&directory, BTreeMap::new())?;
    let lake = Lake::open_or_create(&location, "+08:00").await?;
    let lake = lake.with_tombstones(Duration::from_secs(tombstones));
    Soak::new(lake, events).await?.run(commits, maintain).await
}

struct Soak {
    lake: Lake,
    tables: Tables,
    catalogue: Arc<Catalogue>,
    events: i64,
    next: i64,
}

/// What the maintainer did so far.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    seconds: f64,
    bytes: u64,
}

impl Soak {
    async fn new(lake: Lake, events: i64) -> Result<Soak> {
        let problems = |p| format!("{p}");
        Ok(Soak {
            tables: Tables::open(&lake).await?,
            catalogue: Arc::new(Catalogue::load(&CatalogueSource::Builtin).map_err(problems)?),
            lake,
            events,
            next: 0,
        })
    }

    async fn run(mut self, commits: u64, maintain: bool) -> Result<()> {
        let began = Instant::now();
        let (mut times, mut kept, mut files) = (Vec::new(), Kept::default(), 0u64);
        let mut upkeep = Some(Upkeep::new(self.lake.clone()));
        let mut round: Option<JoinHandle<Result<(Upkeep, Kept)>>> = None;
        let mut checkpoint: Option<JoinHandle<()>> = None;
        for commit in 1..=commits {
            let (rows, advance) = self.batch(commit)?;
            let started = Instant::now();
            self.tables
                .commit(rows, &advance, TOPIC, &Fence::default(), now_ms())
                .await?;
            times.push(started.elapsed());
            if commit % CHECKPOINT_EVERY == 0
                && checkpoint.as_ref().is_none_or(JoinHandle::is_finished)
            {
                let lake = self.lake.clone();
                checkpoint = Some(tokio::spawn(async move {
                    for table in ["ledger", "rollup", "registers"] {
                        if let Err(error) = checkpoint::write(&lake, table).await {
                            eprintln!("no checkpoint of {table}: {error}");
                        }
                    }
                }));
            }
            if maintain && commit % ROUND_EVERY == 0 {
                if let Some(round) = round.take() {
                    let (back, done) = round.await??;
                    kept.seconds += done.seconds;
                    kept.bytes += done.bytes;
                    upkeep = Some(back);
                }
                if let Some(upkeep) = upkeep.take() {
                    let clean =
                        (commit % CLEAN_EVERY == 0).then(|| began.elapsed() / commit as u32);
                    round = Some(tokio::spawn(maintenance(upkeep, clean)));
                }
            }
            if commit % REPORT_EVERY == 0 || commit == commits {
                files += self.report(commit, &mut times, kept).await?;
            }
        }
        println!(
            "{commits} commits in {:.0} s, {files} files looked at",
            began.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Ledger rows of one second, and what they bring forward. One event in a hundred is a month late.
    fn batch(&mut self, commit: u64) -> Result<(Rows, Advance)> {
        let mut rows: Vec<Value> = Vec::new();
        for partition in 0..PARTITIONS {
            for n in 0..self.events / PARTITIONS {
                let offset = self.next + n;
                let second = commit as i64
                    - if (offset + partition) % 100 == 0 {
                        30 * 86_400
                    } else {
                        0
                    };
                // A day of the soak is a day of the city, from 1 November 2026 on.
                let at =
                    chrono::DateTime::from_timestamp(1_793_491_200 + second, 0).ok_or("a time")?;
                let day = (at + chrono::Duration::hours(8)).date_naive();
                let area = (offset * 7 + partition) % 60;
                rows.push(json!({
                    "topic_epoch": 0, "partition": partition, "offset": offset, "offset_last": offset,
                    "disposition": "accepted", "ingested_at": at.to_rfc3339(), "local_date": day.to_string(),
                    "area_tier": 1, "area_code": format!("330502{area:06}"), "home_area_code": format!("330502{area:06}"),
                    "street_code": format!("330502{:03}", area / 6), "district_code": "330502", "city_code": "3305",
                    "province_code": "33", "event_id": uuid(commit, partition, n), "body_hash": offset, "schema_version": 1,
                    "event_type": if offset % 3 == 0 { "visit.made" } else { "case.opened" }, "op": "assert",
                    "occurred_at": at.to_rfc3339(), "recorded_at": at.to_rfc3339(), "source_id": "soak", "incarnation": 1,
                    "source_seq": offset, "subject_kind": "visit", "subject_id": format!("v{offset}"),
                    "minutes": (offset % 90) as i32, "qualifier": "exact",
                }));
            }
        }
        self.next += self.events / PARTITIONS;
        let mut decoder = arrow::json::ReaderBuilder::new(ledger_schema()).build_decoder()?;
        decoder.serialize(&rows)?;
        let batch: RecordBatch = decoder.flush()?.ok_or("rows")?;
        let mut rollup = Rollup::new(Arc::clone(&self.catalogue));
        rollup.add(&batch)?;
        let position = Position {
            epoch: 0,
            next: Some(self.next),
            last: None,
        };
        let positions = (0..PARTITIONS as i32)
            .map(|n| (Partition(n), position))
            .collect();
        let advance = Advance {
            turn: commit,
            positions,
            tally: Tally::new(),
            newest_ms: BTreeMap::new(),
        };
        let rows = Rows {
            ledger: vec![batch],
            rollup,
            registers: Vec::new(),
        };
        Ok((rows, advance))
    }

    async fn report(&self, commit: u64, times: &mut Vec<Duration>, kept: Kept) -> Result<u64> {
        times.sort_unstable();
        let at = |share: f64| {
            let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
            times.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
        };
        let (p50, p99) = (at(0.5), at(0.99));
        times.clear();
        let mut files = Vec::new();
        for kept in MAINTAINED {
            let delta =
                checkpoint::open_delta(self.lake.root_store(), self.lake.table_url(kept.spec.name))
                    .await;
            let live = delta
                .ok()
                .and_then(|table| Some(table.snapshot().ok()?.log_data().iter().count()));
            files.push(format!("{} {}", kept.spec.name, live.unwrap_or(0)));
        }
        let (mut log_bytes, mut log_objects) = (0, 0u64);
        for kept in MAINTAINED {
            use futures::TryStreamExt;
            let folder = self.lake.table_path(kept.spec.name).join("_delta_log");
            let objects: Vec<_> = self
                .lake
                .root_store()
                .list(Some(&folder))
                .try_collect()
                .await?;
            log_objects += objects.len() as u64;
            log_bytes += objects.iter().map(|object| object.size).sum::<u64>();
        }
        println!(
            "{commit:>6}  p50 {p50:>6.1} ms  p99 {p99:>6.1} ms  files: {}  log {log_objects} objects {} KiB  rss {} MB  \
             maintained {:.1} s, {} MiB",
            files.join(", "),
            log_bytes >> 10,
            resident_mb(),
            kept.seconds,
            kept.bytes >> 20,
        );
        Ok(log_objects)
    }
}

async fn maintenance(mut upkeep: Upkeep, clean: Option<Duration>) -> Result<(Upkeep, Kept)> {
    let began = Instant::now();
    let mut bytes = 0;
    for kept in MAINTAINED {
        let done = upkeep
            .table(kept, &MaintainConfig::default().policy(), true)
            .await?;
        bytes += done.folded.bytes_out + done.followed.bytes;
        if let Some(commit) = clean {
            let keep = Keep {
                entries: commit * LOG_COMMITS,
                checkpoints: commit * 86_400,
            };
            upkeep.clean_log(kept.spec.name, keep).await?;
        }
    }
    Ok((
        upkeep,
        Kept {
            seconds: began.elapsed().as_secs_f64(),
            bytes,
        },
    ))
}

fn uuid(commit: u64, partition: i64, n: i64) -> String {
    // Looks like one, and compresses as badly.
    let mixed =
        commit.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (n as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{partition:03x}-{:012x}",
        mixed >> 32,
        mixed & 0xFFFF,
        commit & 0xFFF,
        mixed & 0xFFFF_FFFF_FFFF
    )
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or(0) / 1024
}
