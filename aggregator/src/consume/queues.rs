//! A queue of its own for every partition that is ours.

use std::collections::BTreeSet;
use std::sync::Arc;

use rdkafka::consumer::BaseConsumer;
use rdkafka::consumer::base_consumer::PartitionQueue;

use super::client::Context;
use super::turns::Turns;

/// The queues, and whose turn it is.
pub(super) struct Queues {
    client: Arc<BaseConsumer<Context>>,
    topic: String,
    pub(super) partitions: Vec<(i32, PartitionQueue<Context>)>,
    pub(super) turns: Turns,
}

impl Queues {
    pub(super) fn new(client: Arc<BaseConsumer<Context>>, topic: String) -> Queues {
        Queues {
            client,
            topic,
            partitions: Vec::new(),
            turns: Turns::default(),
        }
    }

    /// Partitions came, others went.
    ///
    /// What arrived of a partition before it got its queue is in the client's own, which must be emptied before the
    /// next record is taken from here. That is all: librdkafka does not take a queue back that was split off.
    pub(super) fn change(&mut self, gone: &BTreeSet<i32>, given: &BTreeSet<i32>) {
        self.partitions
            .retain(|(partition, _)| !gone.contains(partition) && !given.contains(partition));
        for partition in given {
            // Without a queue its records come through the client's.
            if let Some(queue) = self.client.split_partition_queue(&self.topic, *partition) {
                self.partitions.push((*partition, queue));
            }
        }
        self.turns = Turns::new(self.partitions.len());
    }
}
