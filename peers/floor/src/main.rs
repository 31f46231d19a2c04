//! What the machine gives when a program does only the arithmetic: a hand-written pass over the topic of
//! `siji bench aggregate`.
//!
//!   floor consume TOPIC            reads all records and looks at none
//!   floor pass TOPIC DIR           ... drops ids seen before, sums by hour, place and words at three tiers, writes Parquet
//!   floor check DIR                rows and sums of what the pass, or Flink, wrote
//!
//! It is no peer: two threads, everything in memory until the end, no ledger, no validation, no commit, nothing to go on
//! from after a crash. It shows how far from the floor a system is that has all of that.

mod rollup;

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

use rollup::{Needed, Rollup};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PARTITIONS: i32 = 4;
const THREADS: i32 = 2;

/// For run.py, which measures between marks.
fn mark(what: &str) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    println!("MARK {what} {now}");
    Ok(std::io::stdout().flush()?)
}

/// Reads the partitions of one thread to their end.
fn read(topic: &str, thread: i32, pass: bool) -> Result<Rollup> {
    let brokers = std::env::var("BROKERS").unwrap_or_else(|_| "127.0.0.1:9092".into());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "floor")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "4000000")
        .set("queued.min.messages", "200000")
        .set("queued.max.messages.kbytes", "131072")
        .set("fetch.wait.max.ms", "50")
        // A full queue otherwise sleeps for a second.
        .set("fetch.queue.backoff.ms", "5")
        .set("check.crcs", "false")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    let mut left = 0;
    for partition in (0..PARTITIONS).filter(|partition| partition % THREADS == thread) {
        let (low, high) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
        left += high - low;
        partitions.add_partition_offset(topic, partition, Offset::Offset(low))?;
    }
    consumer.assign(&partitions)?;
    let mut rollup = Rollup::default();
    while left > 0 {
        let Some(record) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let record = record?;
        left -= 1;
        if pass {
            let event: Needed = sonic_rs::from_slice(record.payload().ok_or("a tombstone")?)?;
            rollup.add(&event)?;
        }
    }
    Ok(rollup)
}

fn run(topic: &str, out: Option<&str>) -> Result<()> {
    mark("begin")?;
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (topic, pass) = (topic.to_owned(), out.is_some());
            std::thread::spawn(move || read(&topic, thread, pass))
        })
        .collect();
    let parts = threads
        .into_iter()
        .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
        .collect::<Result<Vec<Rollup>>>()?;
    if let Some(out) = out {
        rollup::write(parts, out)?;
    }
    mark("end")
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["consume", topic] => run(topic, None),
        ["pass", topic, out] => run(topic, Some(out)),
        ["check", out] => rollup::check(out),
        _ => Err("usage: floor consume TOPIC | pass TOPIC DIR | check DIR".into()),
    }
}
