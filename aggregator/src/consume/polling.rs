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
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};

use super::Chunk;
use super::assignment::not_the_record;
use super::client::{ConsumeError, Context, passes, same_record};
use super::feed::Delivery;
use super::group::Changes;
use super::queues::Queues;
use super::watch::{PartitionState, Watch};
use crate::position::LastRecord;

/// Records in a chunk at most.
const CHUNK_RECORDS: usize = 4096;
/// Bytes in a chunk at most, but for a single larger record.
const CHUNK_BYTES: usize = 4 << 20;
/// How long a chunk may wait for more records.
const CHUNK_AGE: Duration = Duration::from_millis(40);
/// Records of a partition in a row, between looks at callbacks and at how long chunks have waited.
const LOOK_EVERY: usize = 64;
/// Between looks when there is nothing.
const PAUSE: Duration = Duration::from_millis(5);

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
    pub queues: Queues,
}

/// What a look into queues came to.
enum Polled {
    Some,
    Nothing,
    NobodyTakes,
}

/// Whether somebody takes chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    No,
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
        let mut wait = Duration::ZERO;
        while !self.stop.load(Ordering::Relaxed) {
            // Callbacks run in here, and partitions come and go; their first records may come this way too.
            if !self.poll_client(wait)? || !self.hand_on_what_waited() {
                return Ok(());
            }
            wait = match self.poll_queues()? {
                Polled::Some => Duration::ZERO,
                Polled::Nothing => PAUSE,
                Polled::NobodyTakes => return Ok(()),
            };
        }
        Ok(())
    }

    /// Everything in the client's own queue. False when nobody takes chunks any more.
    fn poll_client(&mut self, mut wait: Duration) -> Result<bool, ConsumeError> {
        let client = Arc::clone(&self.client);
        loop {
            let polled = client.poll(wait);
            wait = Duration::ZERO;
            if let Some(changes) = client.context().group.as_ref().and_then(|it| it.changes()) {
                self.apply(changes)?;
            }
            match polled {
                None => return Ok(true),
                Some(_) if self.stop.load(Ordering::Relaxed) => return Ok(true),
                Some(message) => {
                    if self.take(message)? == Some(Taken::No) {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// A number of records of the partition whose turn it is, or of the next one that has some.
    fn poll_queues(&mut self) -> Result<Polled, ConsumeError> {
        let mut queues = std::mem::take(&mut self.queues.partitions);
        let order = self.queues.turns.next().to_vec();
        let polled = order
            .into_iter()
            .map(|place| match queues.get(place) {
                Some((_, queue)) => self.poll_queue(place, queue),
                None => Ok(Polled::Nothing),
            })
            .find(|polled| !matches!(polled, Ok(Polled::Nothing)));
        std::mem::swap(&mut self.queues.partitions, &mut queues);
        polled.unwrap_or(Ok(Polled::Nothing))
    }

    fn poll_queue(
        &mut self,
        place: usize,
        queue: &PartitionQueue<Context>,
    ) -> Result<Polled, ConsumeError> {
        let mut polled = Polled::Nothing;
        for _ in 0..LOOK_EVERY {
            let Some(message) = queue.poll(Duration::ZERO) else {
                break;
            };
            polled = Polled::Some;
            if let Ok(message) = &message {
                let ms = message.timestamp().to_millis();
                self.queues.turns.took(place, ms);
            }
            match self.take(message)? {
                Some(Taken::Yes) => {}
                Some(Taken::No) => return Ok(Polled::NobodyTakes),
                // An error: look at the client first.
                None => break,
            }
        }
        Ok(polled)
    }

    /// `None`: it was an error that passes.
    fn take(
        &mut self,
        message: KafkaResult<BorrowedMessage<'_>>,
    ) -> Result<Option<Taken>, ConsumeError> {
        match message {
            Ok(message) if self.keep(&message)? => Ok(Some(Taken::Yes)),
            Ok(_) => Ok(Some(Taken::No)),
            Err(error) if passes(&error) => {
                self.watch.erred(error.to_string());
                Ok(None)
            }
            Err(error) => Err(match self.client.client().fatal_error() {
                Some((RDKafkaErrorCode::FencedInstanceId, _)) => ConsumeError::Fenced,
                _ => error.into(),
            }),
        }
    }

    fn apply(&mut self, changes: Changes) -> Result<(), ConsumeError> {
        if let Some(failure) = changes.failure {
            return Err(ConsumeError::Assignment(failure));
        }
        self.queues.change(&changes.gone, &changes.given);
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
