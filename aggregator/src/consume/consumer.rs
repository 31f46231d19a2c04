//! A running consumer of one topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::assignment::assignment;
use super::client::{ConsumeError, ConsumerConfig, Context, settings};
use super::feed::{Delivery, Feed};
use super::group::{Group, Membership};
use super::polling::Polling;
use super::queues::Queues;
use super::watch::Watch;
use crate::position::{Partition, Position};

/// Deliveries that may wait for the pipeline.
const QUEUE: usize = 8;

/// Which partitions are consumed.
pub enum Take {
    /// These, beginning here.
    All(BTreeMap<Partition, Position>),
    /// Those that the group gives.
    Share(Membership),
}

/// The running thread and its client.
pub struct Consumer {
    stop: Arc<AtomicBool>,
    watch: Arc<Watch>,
    thread: Option<JoinHandle<Result<(), ConsumeError>>>,
    client: Arc<BaseConsumer<Context>>,
    topic: String,
}

impl Consumer {
    /// Starts consuming. The first delivery of a partition says where it begins. Blocks while the broker is asked for
    /// the partitions' logs.
    pub fn start(config: &ConsumerConfig, take: Take) -> Result<(Consumer, Feed), ConsumeError> {
        let watch = Arc::new(Watch::default());
        let (sender, deliveries) = sync_channel(QUEUE);
        let (all, group) = match take {
            Take::All(positions) => (Some(positions), None),
            Take::Share(membership) => {
                let group = Group::new(config.topic.clone(), membership, sender.clone());
                (None, Some(group))
            }
        };
        let client: BaseConsumer<Context> = settings(config).create_with_context(Context {
            watch: Arc::clone(&watch),
            topic: config.topic.clone(),
            group,
        })?;
        let client = Arc::new(client);
        let mut verify = BTreeMap::new();
        let mut queues = Queues::new(Arc::clone(&client), config.topic.clone());
        match all {
            Some(positions) => {
                let assignment = assignment(&client, &config.topic, &positions, &watch)?;
                client.assign(&assignment.places)?;
                queues.change(
                    &BTreeSet::new(),
                    &positions.keys().map(|partition| partition.0).collect(),
                );
                verify = assignment.verify;
                if sender.send(Delivery::Assigned(positions)).is_err() {
                    return Err(ConsumeError::Thread);
                }
            }
            None => client.subscribe(&[&config.topic])?,
        }
        let stop = Arc::new(AtomicBool::new(false));
        let polling = Polling {
            client: Arc::clone(&client),
            topic: config.topic.clone(),
            stop: Arc::clone(&stop),
            watch: Arc::clone(&watch),
            sender,
            verify,
            lost: BTreeSet::new(),
            open: BTreeMap::new(),
            queues,
        };
        let thread = std::thread::Builder::new()
            .name("siji-consume".to_owned())
            .spawn(move || polling.run())
            .map_err(|_| ConsumeError::Thread)?;
        let feed = Feed {
            deliveries,
            watch: Arc::clone(&watch),
        };
        let topic = config.topic.clone();
        let consumer = Consumer {
            stop,
            watch,
            thread: Some(thread),
            client,
            topic,
        };
        Ok((consumer, feed))
    }

    /// What the thread is doing.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Tells Kafka how far the lake has come. Only lag dashboards read it, so a failure is only logged.
    pub fn tell_progress(&self, next: &BTreeMap<i32, i64>) {
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in next {
            if let Err(error) =
                offsets.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))
            {
                tracing::debug!(%error, "cannot name an offset");
            }
        }
        if let Err(error) = self.client.commit(&offsets, CommitMode::Async) {
            tracing::debug!(%error, "kafka did not take the offsets; only lag dashboards miss them");
        }
    }

    /// Asks the thread to end without waiting for it.
    pub fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Stops consuming. What was handed on stays with the feed. The client lives on, and with it the membership of a
    /// group: drop the consumer when all that was taken is in the lake, so that the next owner begins behind it.
    pub fn stop(&mut self) -> Result<(), ConsumeError> {
        self.ask_to_stop();
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| ConsumeError::Thread)?,
            None => Ok(()),
        }
    }
}
