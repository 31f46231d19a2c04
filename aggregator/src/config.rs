//! What an aggregator is told.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use siji_schemas::wire;

/// Kafka, as aggregator and collectors reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Topic of service events.
    pub topic: String,
    /// Partitions of the topic: given to a new one, demanded of one that exists.
    pub partitions: i32,
    /// Copies of each partition for a new topic; the broker's default if absent.
    pub replication: Option<u16>,
    /// Consumer group whose members share the partitions; one for each lake unless named. Empty: this aggregator takes
    /// all partitions, and is alone.
    pub group: Option<String>,
    /// Name of this aggregator in the group that outlives a restart (`group.instance.id`): who is back within the
    /// session's timeout gets its partitions again without a rebalance.
    pub instance_id: Option<String>,
    /// Any further librdkafka property: TLS, SASL, tuning.
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            topic: wire::TOPIC.to_owned(),
            partitions: wire::DEFAULT_PARTITIONS,
            replication: None,
            group: None,
            instance_id: None,
            properties: BTreeMap::new(),
        }
    }
}

impl KafkaConfig {
    /// The group of the aggregators of a lake; none if this one is alone.
    pub fn group_of(&self, lake_id: &str) -> Option<String> {
        match &self.group {
            Some(name) if name.is_empty() => None,
            Some(name) => Some(name.clone()),
            // Two lakes fed by one topic must not share its partitions between them.
            None => Some(format!("siji-aggregator-{lake_id}")),
        }
    }

    /// The client's configuration.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        for (key, value) in &self.properties {
            client.set(key, value);
        }
        client.set("bootstrap.servers", &self.brokers);
        client
    }
}

/// Where a partition of which the ledger holds nothing begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    /// At the oldest record Kafka has.
    Earliest,
    /// After what is there already.
    Latest,
}

/// The aggregator's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AggregatorConfig {
    /// How long rows may wait for a commit when the pipeline has caught up.
    pub commit_interval_ms: u64,
    /// Rows in a commit at most (but for the last chunk).
    pub batch_rows: usize,
    /// Bytes of records in a commit at most (but for the last chunk).
    pub batch_bytes: usize,
    /// Memory for telling duplicates, in bytes: 17 for each event of the days in memory, and up to twice that while a table grows.
    pub dedup_bytes: usize,
    /// Corrections and retractions that may wait in memory for their targets.
    pub parked_events: usize,
    /// How long they may wait, by the time that later records are taken in.
    pub parked_hours: u64,
    /// Commits between checkpoints of a table's log.
    pub checkpoint_every: i64,
    /// Milliseconds that a revoked partition is held until what was taken of it is in the lake.
    pub release_wait_ms: u64,
    /// Where to begin in a topic that the ledger does not know yet.
    pub start: StartAt,
    /// Milliseconds to wait for broker or lake at the start before giving up.
    pub patience_ms: u64,
}

impl Default for AggregatorConfig {
    fn default() -> Self {
        Self {
            commit_interval_ms: 400,
            batch_rows: 100_000,
            batch_bytes: 128 << 20,
            dedup_bytes: 128 << 20,
            parked_events: 100_000,
            parked_hours: 48,
            checkpoint_every: 50,
            release_wait_ms: 10_000,
            start: StartAt::Earliest,
            patience_ms: 15_000,
        }
    }
}

/// The first key of a section whose value is below its least one.
pub(crate) fn at_least(section: &str, numbers: &[(&str, u64, u64)]) -> Result<(), String> {
    match numbers.iter().find(|(_, value, least)| value < least) {
        Some((key, value, least)) => {
            Err(format!("{section}.{key} is {value}; {least} is the least"))
        }
        None => Ok(()),
    }
}

impl AggregatorConfig {
    /// What is wrong with it, naming the key.
    pub fn check(&self) -> Result<(), String> {
        at_least(
            "aggregator",
            &[
                ("commit_interval_ms", self.commit_interval_ms, 1),
                ("batch_rows", self.batch_rows as u64, 1),
                ("batch_bytes", self.batch_bytes as u64, 1),
                ("dedup_bytes", self.dedup_bytes as u64, 1 << 20),
            ],
        )
    }

    /// [`Self::parked_hours`] in milliseconds.
    pub fn park_wait_ms(&self) -> i64 {
        i64::try_from(self.parked_hours.saturating_mul(3_600_000)).unwrap_or(i64::MAX)
    }

    /// [`Self::commit_interval_ms`].
    pub fn commit_interval(&self) -> Duration {
        Duration::from_millis(self.commit_interval_ms)
    }
}
