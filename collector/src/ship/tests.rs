use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use siji_schemas::wire;

use super::*;
use crate::spool::{Record, Spool, SpoolLimits, Value};

mod delivery;
mod stuck;
mod trouble;
mod window;

const PARTITIONS: i32 = 4;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(wire::TOPIC, PARTITIONS, 1).unwrap();
    cluster
}

fn config(cluster: &Cluster) -> KafkaConfig {
    let mut config = KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        ..KafkaConfig::default()
    };
    config
        .properties
        .insert("reconnect.backoff.ms".to_owned(), "50".to_owned());
    config
        .properties
        .insert("reconnect.backoff.max.ms".to_owned(), "200".to_owned());
    config
}

fn spool(directory: &Path) -> Arc<Spool> {
    let greeting = Box::new(|_: &_| record("greeting", "330502"));
    Arc::new(
        Spool::open(
            &directory.join("spool.redb"),
            SpoolLimits::default(),
            greeting,
        )
        .unwrap(),
    )
}

fn record(value: &str, key: &str) -> Record {
    Record {
        key: key.to_owned(),
        headers: vec![(wire::HEADER_CODE, b"V01".to_vec())],
        value: Value::Refused(value.into()),
    }
}

/// Spools `count` records of a few keys, a few at a time.
async fn fill(spool: &Spool, from: usize, count: usize) {
    for chunk in (from..from + count).collect::<Vec<_>>().chunks(37) {
        let records = chunk
            .iter()
            .map(|i| record(&format!("{i:06}"), &format!("33050{}", i % 7)))
            .collect();
        spool.append(records).await.unwrap();
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    partition: i32,
    key: String,
    value: String,
    headers: Vec<(String, String)>,
}

/// Reads the topic until nothing has come for a while.
fn read_topic(cluster: &Cluster) -> Vec<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .set("fetch.wait.max.ms", "50")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions
            .add_partition_offset(wire::TOPIC, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut seen = Vec::new();
    while let Some(message) = consumer.poll(Duration::from_millis(if seen.is_empty() {
        5_000
    } else {
        1_000
    })) {
        let message = message.unwrap();
        let text =
            |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().map(|headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), text(header.value)))
                .collect()
        });
        seen.push(Seen {
            partition: message.partition(),
            key: text(message.key()),
            value: text(message.payload()),
            headers: headers.unwrap_or_default(),
        });
    }
    seen
}

/// Values per partition, greeting left out.
fn values(seen: &[Seen], partition: i32) -> Vec<&str> {
    seen.iter()
        .filter(|s| s.partition == partition && s.value != "greeting")
        .map(|s| s.value.as_str())
        .collect()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "not within 30 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn assert_complete_and_in_order(seen: &[Seen], count: usize) {
    let mut all: Vec<&str> = (0..PARTITIONS).flat_map(|p| values(seen, p)).collect();
    for partition in 0..PARTITIONS {
        let values = values(seen, partition);
        assert!(
            values.is_sorted(),
            "partition {partition} is out of spool order"
        );
    }
    all.sort_unstable();
    let expected: Vec<String> = (0..count).map(|i| format!("{i:06}")).collect();
    assert_eq!(all, expected, "each record once");
}
