//! The thread that polls the Kafka client.
//!
//! It reads each remembered record again (D2), copies records into chunks and hands them on through a bounded channel.
//! When the pipeline is slow the thread waits, and librdkafka's own queue, bounded too, stops fetching.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message};

use super::Chunk;
use super::assignment::not_the_record;
use super::client::{ConsumeError, Context, passes, same_record};
use super::feed::Delivery;
use super::group::Changes;
use super::watch::{PartitionState, Watch};
use crate::position::LastRecord;

/// Records in a chunk at most.
const CHUNK_RECORDS: usize = 4096;
/// Bytes in a chunk at most, but for a single larger record.
const CHUNK_BYTES: usize = 4 << 20;
/// How long a chunk may wait for more records.
const CHUNK_AGE: Duration = Duration::from_millis(20);
/// Records between looks at how long chunks have waited: the clock costs more than a record.
const LOOK_EVERY: usize = 64;

pub(super) struct Polling {
    pub client: Arc<BaseConsumer<Context>>,
    pub topic: String,
    pub stop: Arc<AtomicBool>,
    pub watch: Arc<Watch>,
    pub sender: SyncSender<Delivery>,
    pub verify: BTreeMap<i32, LastRecord>,
    /// Partitions whose remembered record was not found again.
    pub lost: BTreeSet<i32>,
    pub open: BTreeMap<i32, (Instant, Chunk)>,
}

impl Polling {
    pub(super) fn run(mut self) -> Result<(), ConsumeError> {
        let ended = self.poll();
        if let Some(group) = &self.client.context().group {
            group.end();
        }
        ended
    }

    /// Until it is told to stop, nobody takes chunks any more, or the client fails.
    fn poll(&mut self) -> Result<(), ConsumeError> {
        let client = Arc::clone(&self.client);
        let mut since_look = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let polled = client.poll(Duration::from_millis(5));
            // Partitions come and go inside of `poll`.
            if let Some(changes) = client.context().group.as_ref().and_then(|it| it.changes()) {
                self.apply(changes)?;
            }
            match polled {
                Some(Ok(message)) => {
                    if !self.keep(&message)? {
                        return Ok(());
                    }
                    since_look += 1;
                }
                Some(Err(error)) if passes(&error) => {
                    self.watch.erred(error.to_string());
                    since_look = LOOK_EVERY;
                }
                Some(Err(error)) => return Err(error.into()),
                None => since_look = LOOK_EVERY,
            }
            if since_look >= LOOK_EVERY {
                since_look = 0;
                if !self.hand_on_what_waited() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, changes: Changes) -> Result<(), ConsumeError> {
        if let Some(failure) = changes.failure {
            return Err(ConsumeError::Assignment(failure));
        }
        // What has not been handed on is read again by the next owner.
        self.open
            .retain(|partition, _| !changes.gone.contains(partition));
        self.verify
            .retain(|partition, _| !changes.gone.contains(partition));
        self.lost
            .retain(|partition| !changes.gone.contains(partition));
        for (partition, last) in changes.verify {
            self.open.remove(&partition);
            self.lost.remove(&partition);
            self.verify.insert(partition, last);
        }
        Ok(())
    }

    /// Copies a record into its partition's chunk. False when nobody takes chunks any more.
    fn keep(&mut self, message: &BorrowedMessage<'_>) -> Result<bool, ConsumeError> {
        if !self.verified(message)? {
            return Ok(true);
        }
        let partition = message.partition();
        let (_, chunk) = self
            .open
            .entry(partition)
            .or_insert_with(|| (Instant::now(), Chunk::new(partition)));
        chunk.push_message(message);
        crate::trace::consumed(message);
        let full = chunk.len() >= CHUNK_RECORDS || chunk.byte_len() >= CHUNK_BYTES;
        Ok(!full || self.hand_on(partition))
    }

    /// False when nobody takes chunks any more.
    fn hand_on_what_waited(&mut self) -> bool {
        let due: Vec<i32> = self
            .open
            .iter()
            .filter(|(_, (since, _))| since.elapsed() >= CHUNK_AGE)
            .map(|(partition, _)| *partition)
            .collect();
        due.into_iter().all(|partition| self.hand_on(partition))
    }

    /// False when nobody takes chunks any more.
    fn hand_on(&mut self, partition: i32) -> bool {
        let Some((_, chunk)) = self.open.remove(&partition) else {
            return true;
        };
        self.watch.queue_grew();
        self.sender.send(Delivery::Chunk(chunk)).is_ok()
    }

    /// Whether a record is to be handed on. The first of a partition that resumes is the last one remembered: it is
    /// compared and swallowed.
    fn verified(&mut self, message: &BorrowedMessage<'_>) -> Result<bool, ConsumeError> {
        let partition = message.partition();
        let Some(last) = self.verify.remove(&partition) else {
            return Ok(!self.lost.contains(&partition));
        };
        if same_record(message, last) {
            self.watch.set(partition, PartitionState::Running);
            return Ok(false);
        }
        self.watch
            .stopped(partition, not_the_record(partition, last));
        self.lost.insert(partition);
        let mut stopped = TopicPartitionList::new();
        stopped.add_partition(&self.topic, partition);
        if self.client.context().group.is_some() {
            // It stays ours, so that the group does not hand it from one to the other.
            self.client.pause(&stopped)?;
        } else {
            self.client.incremental_unassign(&stopped)?;
        }
        Ok(false)
    }
}
