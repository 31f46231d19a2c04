//! The topic as siji needs it: made if it is missing, refused if its shape is another.
//!
//! The number of partitions and the cleanup policy are part of what the ledger relies on: an event's partition
//! follows from its key and the number of partitions, and a compacted topic drops offsets that the ledger would have
//! to account for. Both are checked at every start, against the broker rather than the configuration.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::consume::without_values;

const CLEANUP_POLICY: &str = "cleanup.policy";
const POLICY: &str = "delete";
/// Between looks at a topic that was just made.
const PAUSE: Duration = Duration::from_millis(50);

/// The topic that siji wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicSpec {
    /// Name, `siji.events` unless configured.
    pub name: String,
    /// Number of partitions, 12 unless configured.
    pub partitions: u16,
    /// Copies of each partition for a topic that is made; `None` takes the broker's default.
    pub replication: Option<u16>,
    /// Further settings for a topic that is made, such as `retention.ms`.
    pub settings: Vec<(String, String)>,
}

impl TopicSpec {
    /// A topic of 12 partitions with the broker's replication.
    ///
    /// `message.timestamp.type=LogAppendTime`: retention and `broker_at` then follow the broker's clock, not that of a
    /// site which may be wrong or have been offline for a month.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let settings = vec![(
            "message.timestamp.type".to_owned(),
            "LogAppendTime".to_owned(),
        )];
        Self {
            name: name.into(),
            partitions: 12,
            replication: None,
            settings,
        }
    }
}

/// The topic as the broker has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicShape {
    /// Number of partitions.
    pub partitions: u16,
    /// Whether this call made it.
    pub created: bool,
}

/// Why the topic cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// No broker answered in time.
    #[error("no Kafka broker answered at {brokers} within {} s ({reason}): start it, or correct the address", waited.as_secs_f32().ceil())]
    Unreachable {
        /// `bootstrap.servers`.
        brokers: String,
        /// Time spent.
        waited: Duration,
        /// What the client library said.
        reason: String,
    },
    /// A client property is unknown or has an impossible value.
    #[error("kafka client configuration: {reason}")]
    Configuration {
        /// What the client library said, with the property.
        reason: String,
    },
    /// The topic has another number of partitions.
    #[error(
        "topic {topic} at {brokers} has {found} partitions, siji is configured for {wanted}: \
         set the number of partitions to {found} if the topic is siji's, or name another topic"
    )]
    Partitions {
        /// The topic.
        topic: String,
        /// `bootstrap.servers`.
        brokers: String,
        /// Partitions it has.
        found: usize,
        /// Partitions configured.
        wanted: u16,
    },
    /// The topic's records may be compacted away.
    #[error(
        "topic {topic} at {brokers} has cleanup.policy={found}, siji needs {POLICY}: \
         change it with kafka-configs, or name another topic"
    )]
    Policy {
        /// The topic.
        topic: String,
        /// `bootstrap.servers`.
        brokers: String,
        /// The policy it has.
        found: String,
    },
    /// The broker refused to make or to describe the topic.
    #[error("topic {topic} at {brokers}: cannot {action}: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// `bootstrap.servers`.
        brokers: String,
        /// What was tried.
        action: &'static str,
        /// What the broker said.
        reason: String,
    },
}

/// Makes the topic if it is missing and checks its shape, within `patience`.
///
/// `client` holds `bootstrap.servers` and whatever else the connection needs (TLS, SASL). The topic is looked up in
/// the list of all topics, because asking for one by name makes some brokers create it with their own defaults.
///
/// # Errors
/// See [`TopicError`]; nothing is changed on a topic that exists.
pub async fn ensure_topic(
    client: &ClientConfig,
    spec: &TopicSpec,
    patience: Duration,
) -> Result<TopicShape, TopicError> {
    let brokers = client
        .get("bootstrap.servers")
        .unwrap_or_default()
        .to_owned();
    let visit = Visit {
        spec,
        brokers,
        started: Instant::now(),
        patience,
    };
    let admin: AdminClient<DefaultClientContext> =
        client.create().map_err(|error| TopicError::Configuration {
            reason: without_values(&error),
        })?;
    let admin = std::sync::Arc::new(admin);

    let mut created = false;
    let mut partitions = visit.partitions(&admin).await?;
    if partitions.is_none() {
        created = visit.create(&admin).await?;
        while partitions.is_none() {
            if visit.remaining().is_zero() {
                return Err(visit.unreachable("the new topic has no leaders yet"));
            }
            tokio::time::sleep(PAUSE).await;
            partitions = visit.partitions(&admin).await?;
        }
    }
    let found = partitions.unwrap_or_default();
    let wanted = spec.partitions;
    if found != usize::from(wanted) {
        return Err(TopicError::Partitions {
            topic: spec.name.clone(),
            brokers: visit.brokers,
            found,
            wanted,
        });
    }
    let policy = visit.cleanup_policy(&admin).await?;
    if policy != POLICY {
        return Err(TopicError::Policy {
            topic: spec.name.clone(),
            brokers: visit.brokers,
            found: policy,
        });
    }
    tracing::info!(topic = %spec.name, partitions = wanted, created, "topic is as it should be");
    Ok(TopicShape {
        partitions: wanted,
        created,
    })
}

type Admin = std::sync::Arc<AdminClient<DefaultClientContext>>;

/// One call of [`ensure_topic`]: what is wanted, where, and how much time is left.
struct Visit<'a> {
    spec: &'a TopicSpec,
    brokers: String,
    started: Instant,
    patience: Duration,
}

impl Visit<'_> {
    fn remaining(&self) -> Duration {
        self.patience.saturating_sub(self.started.elapsed())
    }

    /// Number of partitions, or `None` if the topic is missing or has a partition without a leader.
    async fn partitions(&self, admin: &Admin) -> Result<Option<usize>, TopicError> {
        let (admin, remaining) = (Admin::clone(admin), self.remaining().max(PAUSE));
        let metadata =
            tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, remaining))
                .await
                .map_err(|panic| self.refused("list topics", panic.to_string()))?
                .map_err(|error| self.unreachable(&error.to_string()))?;
        let topic = metadata
            .topics()
            .iter()
            .find(|topic| topic.name() == self.spec.name && topic.error().is_none());
        Ok(topic.and_then(|topic| {
            let led = topic
                .partitions()
                .iter()
                .all(|partition| partition.leader() >= 0);
            (led && !topic.partitions().is_empty()).then(|| topic.partitions().len())
        }))
    }

    /// Whether it was us who made it.
    async fn create(&self, admin: &Admin) -> Result<bool, TopicError> {
        let replication = TopicReplication::Fixed(self.spec.replication.map_or(-1, i32::from));
        let mut topic = NewTopic::new(
            &self.spec.name,
            i32::from(self.spec.partitions),
            replication,
        )
        .set(CLEANUP_POLICY, POLICY);
        for (key, value) in &self.spec.settings {
            topic = topic.set(key, value);
        }
        let outcome = admin
            .create_topics([&topic], &self.options())
            .await
            .map_err(|error| self.lost("create it", &error))?;
        match outcome.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) => Err(self.refused("create it", code.to_string())),
            Some(Ok(_)) => Ok(true),
            None => Err(self.refused("create it", "the broker's answer is empty".to_owned())),
        }
    }

    async fn cleanup_policy(&self, admin: &Admin) -> Result<String, TopicError> {
        let action = "read its configuration";
        let topic = ResourceSpecifier::Topic(&self.spec.name);
        let outcome = admin
            .describe_configs([&topic], &self.options())
            .await
            .map_err(|error| self.lost(action, &error))?;
        let described = match outcome.into_iter().next() {
            Some(Ok(described)) => described,
            Some(Err(code)) => return Err(self.refused(action, code.to_string())),
            None => return Err(self.refused(action, "the broker's answer is empty".to_owned())),
        };
        // A broker that names only what was set means its default, which is this policy.
        Ok(described
            .get(CLEANUP_POLICY)
            .and_then(|entry| entry.value.clone())
            .unwrap_or_else(|| POLICY.to_owned()))
    }

    fn options(&self) -> AdminOptions {
        let remaining = self.remaining().max(PAUSE);
        AdminOptions::new()
            .request_timeout(Some(remaining))
            .operation_timeout(Some(remaining))
    }

    fn lost(&self, action: &'static str, error: &KafkaError) -> TopicError {
        let unanswered = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::OperationTimedOut
                    | RDKafkaErrorCode::RequestTimedOut
                    | RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::AllBrokersDown
            )
        );
        if unanswered {
            self.unreachable(&error.to_string())
        } else {
            self.refused(action, error.to_string())
        }
    }

    fn unreachable(&self, reason: &str) -> TopicError {
        TopicError::Unreachable {
            brokers: self.brokers.clone(),
            waited: self.started.elapsed(),
            reason: reason.to_owned(),
        }
    }

    fn refused(&self, action: &'static str, reason: String) -> TopicError {
        TopicError::Refused {
            topic: self.spec.name.clone(),
            brokers: self.brokers.clone(),
            action,
            reason,
        }
    }
}
