//! Where a partition begins and ends, and which offset a time falls on.

use rama::{Context, Service};
use tansu_sans_io::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use tansu_sans_io::{
    ErrorCode, IsolationLevel, ListOffset, ListOffsetsRequest, ListOffsetsResponse,
};
use tansu_storage::{Storage, StorageContainer, Topition};

use super::topics::{Topic, Topics};

/// No such offset, or no time to name with it.
const NONE: i64 = -1;

/// The `ListOffsets` route. The engine's own answers "0" for the end of a partition whose records have all been
/// removed by retention, and for a time after the last record.
#[derive(Clone, Debug)]
pub(super) struct ListOffsets {
    pub(super) storage: StorageContainer,
    pub(super) topics: Topics,
}

impl ListOffsets {
    /// Offset and, for a search by time, the record's own time in milliseconds.
    async fn find(
        &self,
        topic: Option<&Topic>,
        index: i32,
        timestamp: i64,
    ) -> Result<(i64, i64), ErrorCode> {
        let topic = topic
            .filter(|topic| topic.has(index))
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let partition = Topition::new(topic.name.clone(), index);
        let wanted = ListOffset::try_from(timestamp).map_err(|_| ErrorCode::InvalidRequest)?;
        let failed = |error: tansu_storage::Error| {
            tracing::error!(error = %super::error::brief(&error), "broker storage could not look up an offset");
            ErrorCode::KafkaStorageError
        };
        let end = self
            .storage
            .offset_stage(&partition)
            .await
            .map_err(failed)?
            .high_watermark();
        if matches!(wanted, ListOffset::Latest) {
            return Ok((end, NONE));
        }
        let asked = [(partition, wanted)];
        let found = self
            .storage
            .list_offsets(IsolationLevel::ReadUncommitted, &asked)
            .await
            .map_err(failed)?;
        // Without a time there was no record.
        let record = found
            .first()
            .and_then(|(_, record)| Some((record.offset()?, record.timestamp().ok().flatten()?)));
        Ok(match (wanted, record) {
            (ListOffset::Earliest, Some((offset, _))) => (offset, NONE),
            (ListOffset::Earliest, None) => (end, NONE),
            (_, Some((offset, time))) => (offset, time),
            (_, None) => (NONE, NONE),
        })
    }
}

impl Service<(), ListOffsetsRequest> for ListOffsets {
    type Response = ListOffsetsResponse;
    type Error = tansu_broker::Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: ListOffsetsRequest,
    ) -> Result<Self::Response, Self::Error> {
        let _held = self.topics.hold().await;
        let mut topics = Vec::new();
        for topic in request.topics.unwrap_or_default() {
            let found = self.topics.named(&topic.name).await?;
            let mut partitions = Vec::new();
            for partition in topic.partitions.unwrap_or_default() {
                let index = partition.partition_index;
                let (error, (offset, timestamp)) =
                    match self.find(found.as_ref(), index, partition.timestamp).await {
                        Ok(position) => (ErrorCode::None, position),
                        Err(code) => (code, (NONE, NONE)),
                    };
                partitions.push(
                    ListOffsetsPartitionResponse::default()
                        .partition_index(index)
                        .error_code(error.into())
                        .old_style_offsets(None)
                        .timestamp(Some(timestamp))
                        .offset(Some(offset))
                        .leader_epoch(Some(0)),
                );
            }
            topics.push(
                ListOffsetsTopicResponse::default()
                    .name(topic.name)
                    .partitions(Some(partitions)),
            );
        }
        Ok(ListOffsetsResponse::default()
            .throttle_time_ms(Some(0))
            .topics(Some(topics)))
    }
}
