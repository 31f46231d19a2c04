//! `siji bench collect`: durable accepts of one collector process, by events in a request.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde_json::json;
use siji_aggregator::topic::{TopicSpec, ensure_topic};
use siji_schemas::validate::Reference;

use super::client::{Client, Request};
use super::load::Load;
use super::process::{Process, machine, round};
use super::site::{Shape, Site};
use crate::failure::Failure;

/// Events in a request.
const BATCHES: [usize; 3] = [1, 64, 1000];
/// Events prepared for each; they are sent in turn. The collector keeps no ids.
const PREPARED: usize = 32_000;
/// Not measured: connections open, memory is first touched.
const WARM_UP: Duration = Duration::from_secs(1);
/// Where no broker is: the spool fills and nothing is shipped.
const NOWHERE: &str = "127.0.0.1:1";
const PARTITIONS: u16 = 4;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Kafka to ship to meanwhile; without it the events stay in the spool.
    pub brokers: Option<String>,
    /// Connections that each send one request after another.
    pub clients: usize,
    /// Seconds for each size of request.
    pub seconds: u64,
    /// Where the spool is; a new temporary directory if absent.
    pub directory: Option<PathBuf>,
    /// Registry, and the area in it that all events lie below.
    pub city: &'static str,
    pub area: &'static str,
}

/// Runs a collector, measures, and returns the figures as one object.
pub async fn run(plan: &Plan, reference: &Reference) -> Result<serde_json::Value, Failure> {
    let mut temporary = tempfile::Builder::new();
    let temporary = temporary.prefix("siji-bench-");
    let directory = match &plan.directory {
        Some(directory) => temporary.tempdir_in(directory)?,
        None => temporary.tempdir()?,
    };
    let topic = format!("siji.bench.{}", uuid::Uuid::new_v4());
    if let Some(brokers) = &plan.brokers {
        let mut client = rdkafka::ClientConfig::new();
        client.set("bootstrap.servers", brokers);
        let spec = TopicSpec {
            partitions: PARTITIONS,
            ..TopicSpec::new(&topic)
        };
        ensure_topic(&client, &spec, Duration::from_secs(15)).await?;
    }
    let site = Site::new(
        directory.path(),
        &Shape {
            city: plan.city,
            area: plan.area,
            brokers: Some(plan.brokers.as_deref().unwrap_or(NOWHERE)),
            topic: &topic,
            partitions: PARTITIONS,
        },
    )?;
    let config = directory.path().join("siji.toml");
    std::fs::write(&config, site.config())?;
    let ready = format!("http://{}/readyz", site.collector);
    let mut process = Process::role("collector", &config, &ready).await?;
    let mut batches = BTreeMap::new();
    for size in BATCHES {
        let requests = Arc::new(prepare(size, &site.token, reference)?);
        drive(plan, &site.collector, &requests, WARM_UP).await?;
        let before = process.usage()?;
        let driven = drive(
            plan,
            &site.collector,
            &requests,
            Duration::from_secs(plan.seconds),
        )
        .await?;
        process.still_runs("collector")?;
        let after = process.usage()?;
        let events = (driven.accepted * size) as f64;
        batches.insert(
            size.to_string(),
            json!({
                "events_per_s": (events / driven.seconds).round(),
                "p50_ms": driven.percentile(0.50),
                "p99_ms": driven.percentile(0.99),
                "max_ms": driven.percentile(1.0),
                "cpu_cores": round((after.cpu_s - before.cpu_s) / driven.seconds, 100.0),
                "not_accepted": driven.other,
                "rss_mb": (after.peak_rss_kb as f64 / 1024.0).round(),
            }),
        );
    }
    let peak = process.usage()?.peak_rss_kb;
    Ok(json!({
        "batch": batches,
        "rss_mb": (peak as f64 / 1024.0).round(),
        "clients": plan.clients,
        "broker": plan.brokers.as_deref().unwrap_or("none"),
        "machine": machine(),
    }))
}

/// Requests of that many events.
fn prepare(size: usize, token: &str, reference: &Reference) -> Result<Vec<Request>, Failure> {
    let load = Load::new(PREPARED as u64, reference)
        .ok_or_else(|| Failure::new("the catalogue has no types for this load"))?;
    let events: Vec<_> = load.collect();
    let requests = events.chunks_exact(size).map(|batch| {
        let body = match batch {
            [event] => serde_json::to_vec(event)?,
            batch => serde_json::to_vec(batch)?,
        };
        Ok::<_, Failure>(Request::post(token, &body))
    });
    requests.collect()
}

/// What the clients saw.
struct Driven {
    seconds: f64,
    /// Requests answered with 202.
    accepted: usize,
    /// Requests answered otherwise.
    other: usize,
    /// Microseconds of each accepted request, sorted.
    times: Vec<u32>,
}

impl Driven {
    /// In milliseconds.
    fn percentile(&self, part: f64) -> f64 {
        let last = self.times.len().saturating_sub(1);
        let at = (last as f64 * part).round() as usize;
        round(
            self.times.get(at).copied().unwrap_or(0) as f64 / 1000.0,
            100.0,
        )
    }
}

/// Every client sends one request after another until the time is over.
async fn drive(
    plan: &Plan,
    address: &str,
    requests: &Arc<Vec<Request>>,
    time: Duration,
) -> Result<Driven, Failure> {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let clients = (0..plan.clients).map(|_| {
        let (requests, next) = (Arc::clone(requests), Arc::clone(&next));
        let address = address.to_owned();
        tokio::spawn(async move {
            let mut client = Client::connect(&address).await?;
            let (mut times, mut other) = (Vec::with_capacity(1 << 14), 0);
            while began.elapsed() < time {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let sent = Instant::now();
                match client.send(&requests[number % requests.len()]).await? {
                    202 => {
                        times.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX))
                    }
                    _ => other += 1,
                }
            }
            Ok::<_, std::io::Error>((times, other))
        })
    });
    let mut driven = Driven {
        seconds: 0.0,
        accepted: 0,
        other: 0,
        times: Vec::new(),
    };
    for ended in try_join_all(clients).await? {
        let (times, other) = ended?;
        driven.accepted += times.len();
        driven.other += other;
        driven.times.extend(times);
    }
    driven.seconds = began.elapsed().as_secs_f64();
    driven.times.sort_unstable();
    Ok(driven)
}
