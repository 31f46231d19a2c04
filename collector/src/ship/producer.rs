//! The librdkafka producer and what its reports mean.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::error::ClientError;
use super::kafka::KafkaConfig;
use crate::spool::SpooledRecord;

/// What became of a record given to the producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The broker has it.
    Delivered,
    /// Not delivered for a reason that lies outside the record: send it again.
    Again(RDKafkaErrorCode),
    /// The broker refuses the record, or the batch it was in, for what it is.
    Refused(RDKafkaErrorCode),
}

impl Outcome {
    fn of(error: &KafkaError) -> Outcome {
        use RDKafkaErrorCode::*;
        match error.rdkafka_error_code() {
            Some(
                code @ (MessageSizeTooLarge | MessageBatchTooLarge | InvalidMessage
                | InvalidMessageSize | InvalidTimestamp | InvalidRecord | PolicyViolation
                | BadMessage),
            ) => Outcome::Refused(code),
            Some(code) => Outcome::Again(code),
            None => Outcome::Again(RDKafkaErrorCode::Unknown),
        }
    }
}

/// What happened since the last look.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Position and outcome, in the order they were reported.
    pub outcomes: Vec<(u64, Outcome)>,
    /// The last error that stops all delivery.
    pub error: Option<String>,
    /// The producer cannot go on.
    pub fatal: bool,
}

#[derive(Debug, Clone, Default)]
struct Context {
    reports: Arc<Mutex<Reports>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A broker that is away says so every second; the sender reports the change of state once.
        tracing::debug!(target: "siji_collector::librdkafka", ?level, facility, "{message}");
    }

    fn stats(&self, _: rdkafka::Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => reports.fatal = true,
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Authentication) => {}
            // One broker of several, or a passing hiccup: delivery reports tell whether it matters.
            _ => return,
        }
        reports.error = Some(reason.to_owned());
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, position: usize) {
        let outcome = match result {
            Ok(_) => Outcome::Delivered,
            Err((error, _)) => Outcome::of(error),
        };
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.outcomes.push((position as u64, outcome));
    }
}

/// Why a record was not taken by the producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// Its queue is full: serve reports, then try again.
    QueueFull,
    /// It cannot take anything any more.
    Fatal,
    /// It will not take this record.
    Refused(RDKafkaErrorCode),
    /// Something else, for now.
    Again(RDKafkaErrorCode),
}

/// An idempotent producer. Dropping it abandons what is under way.
pub(super) struct Producer {
    producer: BaseProducer<Context>,
    context: Context,
    topic: String,
}

impl Producer {
    /// Builds the client; it connects in the background and keeps trying.
    pub fn new(config: &KafkaConfig) -> Result<Producer, ClientError> {
        let context = Context::default();
        let producer = BaseProducer::from_config_and_context(&config.producer(), context.clone())?;
        Ok(Producer {
            producer,
            context,
            topic: config.topic.clone(),
        })
    }

    /// Gives a record to the producer, which copies it.
    pub fn send(&self, record: &SpooledRecord<'_>) -> Result<(), NotTaken> {
        let mut message = BaseRecord::with_opaque_to(&self.topic, record.position as usize)
            .key(record.key)
            .payload(record.value);
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (key, value) in &record.headers {
                headers = headers.insert(Header {
                    key,
                    value: Some(*value),
                });
            }
            message = message.headers(headers);
        }
        self.producer
            .send(message)
            .map_err(|(error, _)| match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => NotTaken::QueueFull,
                Some(RDKafkaErrorCode::Fatal) => NotTaken::Fatal,
                _ => match Outcome::of(&error) {
                    Outcome::Refused(code) => NotTaken::Refused(code),
                    Outcome::Again(code) => NotTaken::Again(code),
                    Outcome::Delivered => NotTaken::Again(RDKafkaErrorCode::Unknown),
                },
            })
    }

    /// Serves events for up to that long, then hands out what was reported.
    pub fn poll(&self, timeout: std::time::Duration) -> Reports {
        self.producer.poll(timeout);
        let mut reports = self
            .context
            .reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut reports = std::mem::take(&mut *reports);
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            reports.fatal = true;
            reports.error = Some(format!("{code}: {reason}"));
        }
        reports
    }
}
