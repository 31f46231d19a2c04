//! Hands records out, as soon as there are any.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::Counter;
use rama::{Context, Service};
use tansu_sans_io::fetch_request::{FetchPartition, FetchTopic};
use tansu_sans_io::fetch_response::{FetchableTopicResponse, PartitionData};
use tansu_sans_io::record::deflated::{Batch, Frame};
use tansu_sans_io::{ErrorCode, FetchRequest, FetchResponse, IsolationLevel, NULL_TOPIC_ID};
use tansu_storage::{Storage, StorageContainer, TopicId, Topition};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::topics::{Topic, Topics};
use super::unpack::LARGEST_RECORD;

/// Most that one response holds, whatever the client allows; one larger record goes out alone.
const LARGEST_RESPONSE: u32 = 16 * 1024 * 1024;
/// Longest wait for records, whatever the client asks for, so that a shutdown is not held up.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The `Fetch` route.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    storage: StorageContainer,
    topics: Topics,
    arrivals: Arc<Notify>,
    records: Counter<u64>,
}

/// One look at all partitions of a request.
struct Look {
    topics: Vec<FetchableTopicResponse>,
    bytes: u64,
    records: u64,
    refused: bool,
}

impl Fetch {
    /// `arrivals` says when to look again.
    pub(super) fn new(storage: StorageContainer, topics: Topics, arrivals: Arc<Notify>) -> Self {
        let records = opentelemetry::global::meter("siji")
            .u64_counter("siji_broker_records_out")
            .with_description("Records handed to consumers")
            .build();
        Self {
            storage,
            topics,
            arrivals,
            records,
        }
    }

    async fn look(
        &self,
        wanted: &[FetchTopic],
        max_bytes: u32,
    ) -> Result<Look, tansu_broker::Error> {
        let _held = self.topics.hold().await;
        let mut look = Look {
            topics: Vec::new(),
            bytes: 0,
            records: 0,
            refused: false,
        };
        let mut room = max_bytes;
        for topic in wanted {
            let found = match (&topic.topic, topic.topic_id) {
                (Some(name), _) => self.topics.named(name).await?,
                (None, Some(id)) if id != NULL_TOPIC_ID => {
                    self.topics.find(TopicId::from(id)).await?
                }
                (None, _) => None,
            };
            let mut partitions = Vec::new();
            for partition in topic.partitions.as_deref().unwrap_or_default() {
                partitions.push(
                    self.look_at(found.as_ref(), partition, &mut room, &mut look)
                        .await?,
                );
            }
            look.topics.push(
                FetchableTopicResponse::default()
                    .topic(topic.topic.clone())
                    .topic_id(
                        found
                            .map(|topic| topic.id)
                            .or(topic.topic_id)
                            .or(Some(NULL_TOPIC_ID)),
                    )
                    .partitions(Some(partitions)),
            );
        }
        Ok(look)
    }

    async fn look_at(
        &self,
        topic: Option<&Topic>,
        wanted: &FetchPartition,
        room: &mut u32,
        look: &mut Look,
    ) -> Result<PartitionData, tansu_broker::Error> {
        let index = wanted.partition;
        let Some(topic) = topic.filter(|topic| topic.has(index)) else {
            look.refused = true;
            return Ok(partition_data(
                index,
                ErrorCode::UnknownTopicOrPartition,
                -1,
                Vec::new(),
            ));
        };
        let source = Topition::new(topic.name.clone(), index);
        let end = self.storage.offset_stage(&source).await?.high_watermark();
        if !(0..=end).contains(&wanted.fetch_offset) {
            look.refused = true;
            return Ok(partition_data(
                index,
                ErrorCode::OffsetOutOfRange,
                end,
                Vec::new(),
            ));
        }
        let mut batches = Vec::new();
        if wanted.fetch_offset < end && *room > 0 {
            let limit = u32::try_from(wanted.partition_max_bytes)
                .unwrap_or(0)
                .min(*room);
            batches = self.read(&source, wanted.fetch_offset, limit).await?;
            if batches.is_empty() && look.records == 0 {
                // The next record is larger than the limit, and would otherwise stop the consumer here for ever.
                let record = u32::try_from(LARGEST_RECORD).unwrap_or(u32::MAX);
                batches = self
                    .read(&source, wanted.fetch_offset, record.saturating_add(1))
                    .await?;
            }
        }
        let bytes: u64 = batches
            .iter()
            .map(|batch| batch.record_data.len() as u64)
            .sum();
        look.bytes += bytes;
        look.records += batches
            .iter()
            .map(|batch| u64::from(batch.record_count))
            .sum::<u64>();
        *room = room.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
        Ok(partition_data(index, ErrorCode::None, end, batches))
    }

    /// Records from `offset` on, while their keys and values together stay below `limit` bytes.
    async fn read(
        &self,
        source: &Topition,
        offset: i64,
        limit: u32,
    ) -> Result<Vec<Batch>, tansu_broker::Error> {
        let mut batches = self
            .storage
            .fetch(source, offset, 0, limit, IsolationLevel::ReadUncommitted)
            .await?;
        // The engine says "nothing" with a batch of no records.
        batches.retain(|batch| batch.record_count > 0);
        Ok(batches)
    }
}

impl Service<(), FetchRequest> for Fetch {
    type Response = FetchResponse;
    type Error = tansu_broker::Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: FetchRequest,
    ) -> Result<Self::Response, Self::Error> {
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0))
            .min(LONGEST_WAIT);
        let deadline = Instant::now() + wait;
        let enough = u64::try_from(request.min_bytes).unwrap_or(0);
        let max_bytes = request
            .max_bytes
            .and_then(|bytes| u32::try_from(bytes).ok())
            .unwrap_or(u32::MAX);
        let wanted = request.topics.unwrap_or_default();

        let look = loop {
            // Listening begins before looking, so that what arrives in between is not missed.
            let arrival = self.arrivals.notified();
            tokio::pin!(arrival);
            arrival.as_mut().enable();
            let look = self.look(&wanted, max_bytes.min(LARGEST_RESPONSE)).await?;
            if look.refused || look.bytes >= enough || Instant::now() >= deadline {
                break look;
            }
            tokio::select! {
                () = &mut arrival => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        };
        self.records.add(look.records, &[]);
        Ok(FetchResponse::default()
            .throttle_time_ms(Some(0))
            .error_code(Some(ErrorCode::None.into()))
            .session_id(Some(0))
            .node_endpoints(Some(Vec::new()))
            .responses(Some(look.topics)))
    }
}

fn partition_data(index: i32, error: ErrorCode, end: i64, batches: Vec<Batch>) -> PartitionData {
    PartitionData::default()
        .partition_index(index)
        .error_code(error.into())
        .high_watermark(end)
        .last_stable_offset(Some(end))
        .log_start_offset(Some(0))
        .diverging_epoch(None)
        .current_leader(None)
        .snapshot_id(None)
        .aborted_transactions(Some(Vec::new()))
        .preferred_read_replica(Some(-1))
        .records((!batches.is_empty()).then_some(Frame { batches }))
}
