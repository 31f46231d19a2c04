//! How the collector speaks to Kafka.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use serde::Deserialize;
use siji_schemas::wire;

/// Kafka connection. Any librdkafka property may be given, except those the guarantees stand on.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// `bootstrap.servers`. Default `127.0.0.1:9092`.
    pub brokers: String,
    /// Topic of all events. Default `siji.events`.
    pub topic: String,
    /// Most records given to the producer without a delivery report. Default 4,000.
    pub max_in_flight: usize,
    /// Further librdkafka properties, such as `security.protocol`. Values are never logged.
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        KafkaConfig {
            brokers: "127.0.0.1:9092".to_owned(),
            topic: wire::TOPIC.to_owned(),
            max_in_flight: 4_000,
            properties: BTreeMap::new(),
        }
    }
}

impl std::fmt::Debug for KafkaConfig {
    /// Names of properties without their values, which may be passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("max_in_flight", &self.max_in_flight)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// A property that must not be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kafka property `{name}` must not be set: {why}")]
pub struct PropertyError {
    /// The property.
    pub name: String,
    /// What it would break.
    pub why: &'static str,
}

/// Properties with a value that every guarantee depends on, and the reason.
const FIXED: &[(&str, &str, &str)] = &[
    (
        "enable.idempotence",
        "true",
        "retries inside the producer must not double records",
    ),
    (
        "acks",
        "all",
        "a delivered record must survive the loss of a broker",
    ),
    (
        "message.timeout.ms",
        "0",
        "a spooled record is never given up",
    ),
    (
        "partitioner",
        "murmur2_random",
        "all producers must put a key into the same partition",
    ),
];
/// Other names of the same, and what would break them.
const FORBIDDEN: &[(&str, &str)] = &[
    (
        "request.required.acks",
        "a delivered record must survive the loss of a broker",
    ),
    ("delivery.timeout.ms", "a spooled record is never given up"),
    (
        "transactional.id",
        "the collector does not use transactions",
    ),
    ("bootstrap.servers", "use `brokers`"),
    ("metadata.broker.list", "use `brokers`"),
];

impl KafkaConfig {
    /// The properties that must not be set, all of them.
    pub fn check(&self) -> Vec<PropertyError> {
        let fixed = FIXED.iter().map(|(name, _, why)| (*name, *why));
        fixed
            .chain(FORBIDDEN.iter().copied())
            .filter(|(name, _)| self.properties.contains_key(*name))
            .map(|(name, why)| PropertyError {
                name: name.to_owned(),
                why,
            })
            .collect()
    }

    /// The producer's configuration: defaults, then what was given, then what must hold.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "siji-collector")
            // Waiting costs less freshness than small requests cost work, here and at the broker.
            .set("linger.ms", "50")
            .set("compression.type", "zstd")
            // A buffer of this size is held for every request under way; the default of a megabyte is no faster.
            .set("batch.size", "131072")
            // The topic's shape matters and siji creates it; a broker must not invent one.
            .set("allow.auto.create.topics", "false")
            .set(
                "queue.buffering.max.messages",
                self.max_in_flight.saturating_mul(2).to_string(),
            )
            .set("queue.buffering.max.kbytes", "4096")
            .set("reconnect.backoff.max.ms", "2000")
            .set("socket.keepalive.enable", "true");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, value, _) in FIXED {
            config.set(*name, *value);
        }
        config
    }
}
