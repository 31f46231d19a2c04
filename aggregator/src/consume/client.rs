//! The Kafka client: its settings, its callbacks, and questions asked outside of consuming.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::group::Group;
use super::watch::Watch;
use crate::position::{LastRecord, record_check};

/// How long to wait for the broker when asking for a partition's log.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between questions to a broker that cannot answer yet.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How to reach the topic.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// `bootstrap.servers` and whatever else is configured.
    pub client: ClientConfig,
    /// Topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Group to share partitions in, and to tell progress to; without one a name is made up for the latter.
    pub group: Option<String>,
    /// Name of this member in its group that outlives restarts: a member that is back within the session's timeout
    /// gets its partitions again without a rebalance.
    pub instance: Option<String>,
}

/// Why consuming ended.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The client cannot be made or used.
    #[error("kafka: {}", without_values(.0))]
    Kafka(#[from] KafkaError),
    /// Another member came under the same instance id and has its place now.
    #[error(
        "another aggregator came under this one's instance id and has its partitions now: give each an id of its own"
    )]
    Fenced,
    /// What the group gave could not be taken.
    #[error("assignment: {0}")]
    Assignment(String),
    /// The thread panicked.
    #[error("the consumer thread failed")]
    Thread,
}

/// kB of records that may wait in the client, all partitions together.
const QUEUED_KB: i32 = 65_536;

/// The consumer's settings; what decides about exactness cannot be configured away.
pub(super) fn settings(config: &ConsumerConfig) -> ClientConfig {
    let mut client = config.client.clone();
    for (key, value) in [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // The ledger decides where to read; an offset that is not there must not be replaced in silence.
        ("auto.offset.reset", "error"),
        ("statistics.interval.ms", "1000"),
    ] {
        client.set(key, value);
    }
    if let Some(group) = &config.group {
        client.set("group.id", group);
    }
    if let Some(instance) = config.instance.as_ref().filter(|_| config.group.is_some()) {
        client.set("group.instance.id", instance);
    }
    // Each partition has its own queue, and this holds for each.
    let queued_kb = (QUEUED_KB / config.partitions.max(1)).max(1024);
    for (key, value) in [
        ("queued.max.messages.kbytes", queued_kb.to_string().as_str()),
        (
            "fetch.message.max.bytes",
            (queued_kb.min(4096) * 1024).to_string().as_str(),
        ),
        // A partition stops for so long when its owner dies.
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "1500"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("group.id", "siji-aggregator"),
        ("client.id", "siji-aggregator"),
        // The default of 1000 sleeps a second whenever the queue is full: half the throughput.
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.wait.max.ms", "50"),
    ] {
        if client.get(key).is_none() {
            client.set(key, value);
        }
    }
    client
}

/// Receives librdkafka's callbacks.
pub(super) struct Context {
    pub watch: Arc<Watch>,
    pub topic: String,
    /// None: all partitions are ours for good.
    pub group: Option<Group>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error or through the state of partitions.
        tracing::debug!(target: "siji_aggregator::librdkafka", ?level, facility, "{message}");
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        for (number, partition) in &topic.partitions {
            if *number >= 0 && partition.hi_offset >= 0 {
                self.watch.heard(*number, partition.hi_offset);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // librdkafka reconnects by itself; the state shows in readiness and in the log.
        self.watch.erred(format!("{error}: {reason}"));
        tracing::warn!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let Some(group) = &self.group else { return };
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                group.assigned(consumer, partitions, &self.watch);
            }
            _ => group.revoked(consumer, partitions, &self.watch),
        }
    }
}

/// First offset a partition's log has, and the one it will give next. Blocks.
pub fn watermarks(
    client: &ClientConfig,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), ConsumeError> {
    let consumer: BaseConsumer = client.create()?;
    log_ends(&consumer, topic, partition)
}

/// The same by a client that is there. A partition that was just made, or whose leader just changed, is asked again
/// for a while.
pub(super) fn log_ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), ConsumeError> {
    let began = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT) {
            Err(error) if passes(&error) && began.elapsed() < ANSWER_TIMEOUT => {
                tracing::debug!(partition, %error, "asking for the partition's log again");
                std::thread::sleep(ASK_AGAIN);
            }
            asked => return Ok(asked?),
        }
    }
}

/// Whether a record that the log still has is the one remembered. Blocks.
pub fn is_the_record(
    client: &ClientConfig,
    topic: &str,
    partition: i32,
    last: LastRecord,
) -> Result<bool, ConsumeError> {
    let mut client = client.clone();
    client.set("group.id", "siji-offsets");
    client.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create()?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, partition, Offset::Offset(last.offset))?;
    consumer.assign(&place)?;
    match consumer.poll(ANSWER_TIMEOUT) {
        Some(Ok(message)) => Ok(same_record(&message, last)),
        Some(Err(error)) => Err(error.into()),
        None => Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut).into()),
    }
}

/// Whether a message is the record remembered.
pub(super) fn same_record(message: &BorrowedMessage<'_>, last: LastRecord) -> bool {
    let check = record_check(
        message.timestamp().to_millis(),
        message.key(),
        message.payload(),
    );
    message.offset() == last.offset && check == last.check
}

/// What an error says, without the value of a property, which may be a password.
pub(crate) fn without_values(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, what, property, value) => {
            let what = if value.is_empty() || !what.contains(value) {
                what
            } else {
                "a value that is not allowed"
            };
            format!("property `{property}`: {what}")
        }
        other => other.to_string(),
    }
}

/// Errors that the client gets over by itself.
pub(super) fn passes(error: &KafkaError) -> bool {
    match error {
        KafkaError::MessageConsumption(code)
        | KafkaError::MetadataFetch(code)
        | KafkaError::Global(code) => matches!(
            code,
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::NetworkException
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        ),
        _ => false,
    }
}
