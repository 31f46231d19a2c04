//! `siji bench aggregate`: drains a filled topic into a new lake, beside the client's raw consume rate.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;
use siji_aggregator::topic::{TopicSpec, ensure_topic};
use siji_lake::{Lake, LakeLocation};
use siji_schemas::avro;
use siji_schemas::validate::Reference;
use siji_schemas::wire::partition_of;

use super::load::Load;
use super::process::{Process, machine, round};
use crate::failure::Failure;

/// Nothing takes longer than this without a sign of progress.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// Between looks at how far the lake has come: each reads the log's newest entries, on the cores that are measured.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    pub brokers: String,
    pub events: u64,
    pub partitions: u16,
    pub format: Format,
    /// A topic to use again; filled if it is empty, kept afterwards.
    pub topic: Option<String>,
    /// Registry.
    pub city: &'static str,
}

/// How events are written to the topic.
#[derive(Debug, Clone, Copy)]
pub enum Format {
    Avro,
    Json,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Avro => "avro",
            Format::Json => "json",
        }
    }
}

/// Fills a topic, measures, and returns the figures as one object.
pub async fn run(plan: &Plan, reference: &Reference) -> Result<serde_json::Value, Failure> {
    let topic = match &plan.topic {
        Some(topic) => topic.clone(),
        None => format!("siji.bench.{}", uuid::Uuid::new_v4()),
    };
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &plan.brokers);
    let spec = TopicSpec {
        partitions: plan.partitions,
        ..TopicSpec::new(&topic)
    };
    ensure_topic(&client, &spec, Duration::from_secs(15)).await?;
    let filled = tokio::task::block_in_place(|| fill(plan, reference, &topic, &client))?;
    let raw = tokio::task::block_in_place(|| consume(plan, &topic, &client, filled))?;
    let directory = tempfile::Builder::new().prefix("siji-bench-").tempdir()?;
    let lake_dir = directory.path().join("lake");
    let drained = drain(plan, &topic, &lake_dir, filled).await?;
    let bytes = directory_bytes(&lake_dir)?;
    if plan.topic.is_none() {
        remove(&client, &topic).await?;
    }
    Ok(json!({
        "broker": plan.brokers,
        "format": plan.format.name(),
        "events": filled,
        "partitions": plan.partitions,
        "events_per_s": (filled as f64 / drained.seconds).round(),
        "raw_consume_per_s": (filled as f64 / raw).round(),
        "seconds": round(drained.seconds, 100.0),
        "cpu_s_per_million": round(drained.cpu_s / filled as f64 * 1e6, 100.0),
        "peak_rss_mb": (drained.peak_rss_kb as f64 / 1024.0).round(),
        "lake_bytes_per_event": round(bytes as f64 / filled as f64, 10.0),
        "machine": machine(),
    }))
}

async fn remove(client: &ClientConfig, topic: &str) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> = client.create()?;
    for deleted in admin.delete_topics(&[topic], &AdminOptions::new()).await? {
        if let Err((topic, code)) = deleted {
            tracing::warn!(topic, %code, "the bench's topic stays");
        }
    }
    Ok(())
}

/// Writes the load as a collector would; returns how many records the topic has.
fn fill(
    plan: &Plan,
    reference: &Reference,
    topic: &str,
    client: &ClientConfig,
) -> Result<u64, Failure> {
    let there = records(plan, topic, client)?;
    if there > 0 {
        return Ok(there);
    }
    let producer: BaseProducer = client
        .clone()
        .set("compression.type", "lz4")
        .set("linger.ms", "50")
        .set("batch.size", "500000")
        .set("queue.buffering.max.messages", "200000")
        .create()?;
    let load = Load::new(plan.events, reference)
        .ok_or_else(|| Failure::new("the catalogue has no types for this load"))?;
    let mut value = Vec::new();
    for (number, event) in load.enumerate() {
        value.clear();
        match plan.format {
            Format::Avro => avro::encode(&event.as_ref(), &mut value)?,
            Format::Json => serde_json::to_writer(&mut value, &event)?,
        }
        let key = event.home_area_code.unwrap_or_default();
        let partition = partition_of(key.as_bytes(), i32::from(plan.partitions));
        let mut record = BaseRecord::to(topic)
            .partition(partition)
            .key(&key)
            .payload(&value);
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(10));
            record = back;
        }
        if number % 4096 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(STUCK_AFTER)?;
    records(plan, topic, client)
}

/// Records in the topic.
fn records(plan: &Plan, topic: &str, client: &ClientConfig) -> Result<u64, Failure> {
    let consumer: BaseConsumer = client.create()?;
    let mut records = 0;
    for partition in 0..i32::from(plan.partitions) {
        let (low, high) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
        records += u64::try_from(high - low).unwrap_or(0);
    }
    Ok(records)
}

/// Seconds the client alone needs to read all of it.
fn consume(plan: &Plan, topic: &str, client: &ClientConfig, expected: u64) -> Result<f64, Failure> {
    let consumer: BaseConsumer = client
        .clone()
        .set("group.id", "siji-bench")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..i32::from(plan.partitions) {
        all.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    let began = Instant::now();
    consumer.assign(&all)?;
    let mut seen = 0;
    let mut last = Instant::now();
    while seen < expected {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(_)) => {
                seen += 1;
                last = Instant::now();
            }
            Some(Err(error)) => return Err(error.into()),
            None if last.elapsed() > STUCK_AFTER => {
                return Err(Failure::new(format!(
                    "the broker gave {seen} of {expected} records"
                )));
            }
            None => {}
        }
    }
    Ok(began.elapsed().as_secs_f64())
}

struct Drained {
    seconds: f64,
    cpu_s: f64,
    peak_rss_kb: u64,
}

/// A real aggregator process, from its start until the lake holds everything.
async fn drain(plan: &Plan, topic: &str, lake: &Path, expected: u64) -> Result<Drained, Failure> {
    let began = Instant::now();
    let child = Command::new(std::env::current_exe()?)
        .args([
            "aggregator",
            "--brokers",
            &plan.brokers,
            "--topic",
            topic,
            "--cities",
            plan.city,
        ])
        .args([
            "--partitions",
            &plan.partitions.to_string(),
            "--admin",
            "127.0.0.1:0",
            "--lake",
        ])
        .arg(lake)
        .env("SIJI_LOG_LEVEL", "warn")
        .env("SIJI_KAFKA_GROUP", "")
        .stdin(Stdio::null())
        .spawn()?;
    let mut process = Process::of(child);
    let location = LakeLocation::parse(&lake.display().to_string(), Default::default())?;
    let (mut reached, mut moved) = (0, Instant::now());
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        process.still_runs("aggregator")?;
        let now = derived(&location).await;
        if now > reached {
            (reached, moved) = (now, Instant::now());
        }
        if reached >= expected {
            break;
        }
        if moved.elapsed() > STUCK_AFTER {
            return Err(Failure::new(format!(
                "{reached} of {expected} records are in the lake and no more come"
            )));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let usage = process.usage()?;
    Ok(Drained {
        seconds,
        cpu_s: usage.cpu_s,
        peak_rss_kb: usage.peak_rss_kb,
    })
}

/// Records that are in the ledger and in the rollup; 0 while there is no lake.
async fn derived(location: &LakeLocation) -> u64 {
    let Ok(lake) = Lake::open(location).await else {
        return 0;
    };
    let Ok(Some(state)) = siji_lake::table::state(&lake, "rollup").await else {
        return 0;
    };
    state
        .txns
        .values()
        .map(|next| u64::try_from(*next).unwrap_or(0))
        .sum()
}

fn directory_bytes(directory: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            directory_bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
