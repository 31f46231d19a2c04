//! Takes records in: checks them, stores them, syncs, and only then replies.

use std::sync::Arc;
use std::time::Instant;

use opentelemetry::metrics::{Counter, Histogram};
use rama::{Context, Service};
use tansu_sans_io::produce_request::PartitionProduceData;
use tansu_sans_io::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use tansu_sans_io::record::deflated::Batch;
use tansu_sans_io::{ErrorCode, ProduceRequest, ProduceResponse};
use tansu_storage::{Error as StorageError, Storage, StorageContainer, Topition};
use tokio::sync::{Notify, Semaphore};

use super::topics::{Topic, Topics};
use super::unpack::unpack;
use super::wal::Wal;

/// Batches unpacked at a time: each may take as much memory as the largest one. The engine stores one after another
/// anyhow.
const UNPACKED_AT_ONCE: usize = 4;
/// Seconds, from half a millisecond (a sync of a fast disk) to ten.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The `Produce` route.
#[derive(Clone, Debug)]
pub(super) struct Produce {
    storage: StorageContainer,
    topics: Topics,
    wal: Arc<Wal>,
    arrivals: Arc<Notify>,
    unpacking: Arc<Semaphore>,
    records: Counter<u64>,
    seconds: Histogram<f64>,
}

impl Produce {
    /// `arrivals` is notified when records have become readable.
    pub(super) fn new(
        storage: StorageContainer,
        topics: Topics,
        wal: Arc<Wal>,
        arrivals: Arc<Notify>,
    ) -> Self {
        let meter = opentelemetry::global::meter("siji");
        let records = meter
            .u64_counter("siji_broker_records_in")
            .with_description("Records acknowledged to producers")
            .build();
        let seconds = meter
            .f64_histogram("siji_broker_produce_seconds")
            .with_boundaries(SECONDS.to_vec())
            .with_description("Time from a produce request to its reply, disk sync included")
            .build();
        Self {
            storage,
            topics,
            wal,
            arrivals,
            unpacking: Arc::new(Semaphore::new(UNPACKED_AT_ONCE)),
            records,
            seconds,
        }
    }

    async fn append(&self, topic: Option<&Topic>, partition: PartitionProduceData) -> Appended {
        let index = partition.index;
        let Some(topic) = topic.filter(|topic| topic.has(index)) else {
            return Appended::refused(index, ErrorCode::UnknownTopicOrPartition);
        };
        let target = Topition::new(topic.name.clone(), index);
        let mut appended = Appended {
            index,
            base_offset: None,
            records: 0,
            error: ErrorCode::None,
        };
        for batch in partition
            .records
            .map(|frame| frame.batches)
            .unwrap_or_default()
        {
            let records = u64::from(batch.record_count);
            match self.store(&target, &batch).await {
                Ok(offset) => {
                    appended.base_offset.get_or_insert(offset);
                    appended.records += records;
                }
                Err(code) => {
                    appended.error = code;
                    return appended;
                }
            }
        }
        if appended.base_offset.is_none() {
            appended.error = ErrorCode::CorruptMessage;
        }
        appended
    }

    /// Returns the batch's first offset.
    async fn store(&self, target: &Topition, batch: &Batch) -> Result<i64, ErrorCode> {
        let turn = self.unpacking.acquire().await;
        let _turn = turn.map_err(|_| ErrorCode::KafkaStorageError)?;
        self.storage
            .produce(None, target, unpack(batch)?)
            .await
            .map_err(|error| error_code(&error))
    }
}

impl Service<(), ProduceRequest> for Produce {
    type Response = ProduceResponse;
    type Error = tansu_broker::Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: ProduceRequest,
    ) -> Result<Self::Response, Self::Error> {
        let started = Instant::now();
        let held = self.topics.hold().await;
        let mut answers = Vec::new();
        for topic in request.topic_data.unwrap_or_default() {
            let found = self.topics.named(&topic.name).await?;
            let mut appended = Vec::new();
            for partition in topic.partition_data.unwrap_or_default() {
                appended.push(self.append(found.as_ref(), partition).await);
            }
            answers.push((topic.name, appended));
        }
        drop(held);

        let records: u64 = answers
            .iter()
            .flat_map(|(_, appended)| appended)
            .map(|one| one.records)
            .sum();
        let durable = if records > 0 {
            self.wal.sync().await.is_ok()
        } else {
            true
        };
        if durable {
            self.arrivals.notify_waiters();
            self.records.add(records, &[]);
            self.seconds.record(started.elapsed().as_secs_f64(), &[]);
        }
        let responses = answers
            .into_iter()
            .map(|(name, appended)| {
                let partitions = appended
                    .into_iter()
                    .map(|one| one.response(durable))
                    .collect();
                TopicProduceResponse::default()
                    .name(name)
                    .partition_responses(Some(partitions))
            })
            .collect();
        Ok(ProduceResponse::default()
            .responses(Some(responses))
            .throttle_time_ms(Some(0))
            .node_endpoints(Some(Vec::new())))
    }
}

/// What became of one partition's batches.
#[derive(Debug)]
struct Appended {
    index: i32,
    base_offset: Option<i64>,
    records: u64,
    error: ErrorCode,
}

impl Appended {
    fn refused(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            base_offset: None,
            records: 0,
            error,
        }
    }

    fn response(self, durable: bool) -> PartitionProduceResponse {
        let (error, base_offset) = match self.base_offset {
            Some(_) if !durable => (ErrorCode::KafkaStorageError, -1),
            Some(offset) if self.error == ErrorCode::None => (ErrorCode::None, offset),
            _ => (self.error, -1),
        };
        PartitionProduceResponse::default()
            .index(self.index)
            .error_code(error.into())
            .base_offset(base_offset)
            .log_append_time_ms(Some(-1))
            .log_start_offset(Some(0))
            .record_errors(Some(Vec::new()))
            .error_message(None)
            .current_leader(None)
    }
}

fn error_code(error: &StorageError) -> ErrorCode {
    match error {
        StorageError::Api(code) => *code,
        other => {
            // Retriable: a full disk, for one, may be emptied.
            tracing::error!(error = %super::error::brief(other), "broker storage refused a write");
            ErrorCode::KafkaStorageError
        }
    }
}
