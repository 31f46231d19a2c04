//! Where each partition begins: at the offset the ledger names, after its last record was found again (D2).

use std::collections::BTreeMap;

use rdkafka::consumer::BaseConsumer;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{ConsumeError, Context, log_ends};
use super::watch::{PartitionState, Watch};
use crate::position::{LastRecord, Partition, Position, Standing, standing};

/// The partitions to consume, and the records to find again first.
pub(super) struct Assignment {
    pub places: TopicPartitionList,
    pub verify: BTreeMap<i32, LastRecord>,
}

/// Asks the broker for each partition's log and decides where to begin; a partition that cannot go on is marked as
/// stopped and left out. Blocks.
pub(super) fn assignment(
    client: &BaseConsumer<Context>,
    topic: &str,
    positions: &BTreeMap<Partition, Position>,
    watch: &Watch,
) -> Result<Assignment, ConsumeError> {
    let mut assignment = Assignment {
        places: TopicPartitionList::new(),
        verify: BTreeMap::new(),
    };
    for (partition, position) in positions {
        let (low, high) = log_ends(client, topic, partition.0)?;
        watch.ends(partition.0, high);
        let start = match start_of(*partition, position, low, high) {
            Ok(start) => start,
            Err(reason) => {
                watch.stopped(partition.0, reason);
                continue;
            }
        };
        let state = if start.verify.is_some() {
            PartitionState::Verifying
        } else {
            PartitionState::Running
        };
        watch.set(partition.0, state);
        assignment
            .places
            .add_partition_offset(topic, partition.0, Offset::Offset(start.at))?;
        assignment
            .verify
            .extend(start.verify.map(|last| (partition.0, last)));
    }
    Ok(assignment)
}

/// Why a partition whose remembered record was not found again does not go on.
pub(super) fn not_the_record(partition: i32, last: LastRecord) -> String {
    format!(
        "topic recreated or broker lost records: the record at offset {} is not the one in the ledger; {} begins a new \
         epoch",
        last.offset,
        accept(partition)
    )
}

fn accept(partition: i32) -> String {
    format!("`siji offsets accept --partition {partition}`")
}

/// Where to begin, and what to compare there first.
struct Start {
    at: i64,
    verify: Option<LastRecord>,
}

fn start_of(
    partition: Partition,
    position: &Position,
    low: i64,
    high: i64,
) -> Result<Start, String> {
    let next = position.next.unwrap_or(low);
    let accept = accept(partition.0);
    match standing(position, low, high) {
        Standing::Fresh => Ok(Start {
            at: low,
            verify: None,
        }),
        Standing::Resume { verify } => Ok(Start {
            at: verify.offset,
            verify: Some(verify),
        }),
        Standing::ResumeUnverified => Ok(Start {
            at: next,
            verify: None,
        }),
        Standing::Lost => Err(format!(
            "topic recreated or broker lost records: the ledger stands at offset {next}, the log ends at {high}; \
             {accept} begins a new epoch"
        )),
        Standing::Deleted => Err(format!(
            "records were deleted before they were read: the ledger stands at offset {next}, the log begins at {low}; \
             {accept} records the gap"
        )),
    }
}
