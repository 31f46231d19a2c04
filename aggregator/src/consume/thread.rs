//! The thread that owns the Kafka consumer.
//!
//! It assigns the partitions at the offsets the ledger names, reads each remembered record again (D2), copies records
//! into chunks and hands them on through a bounded channel. When the pipeline is slow the thread waits, and
//! librdkafka's own queue, bounded too, stops fetching.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::Chunk;
use super::assignment::{assignment, not_the_record};
use super::client::{ConsumeError, ConsumerConfig, Context, passes, same_record, settings};
use super::watch::{PartitionState, Watch};
use crate::position::{LastRecord, Partition, Position};

/// Records in a chunk at most.
const CHUNK_RECORDS: usize = 4096;
/// Bytes in a chunk at most, but for a single larger record.
const CHUNK_BYTES: usize = 4 << 20;
/// How long a chunk may wait for more records.
const CHUNK_AGE: Duration = Duration::from_millis(20);
/// Records between looks at how long chunks have waited: the clock costs more than a record.
const LOOK_EVERY: usize = 64;
/// Chunks that may wait for the pipeline.
const QUEUE: usize = 8;

/// The receiving end: chunks in order per partition.
#[derive(Debug)]
pub struct Feed {
    chunks: Receiver<Chunk>,
    watch: Arc<Watch>,
}

/// What waiting for a chunk brought.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Next {
    /// Records.
    Chunk(Chunk),
    /// None in time.
    Nothing,
    /// The thread ended.
    Ended,
}

impl Feed {
    /// Waits for the next chunk.
    pub fn next(&self, wait: Duration) -> Next {
        match self.chunks.recv_timeout(wait) {
            Ok(chunk) => {
                self.watch.queue_shrank();
                Next::Chunk(chunk)
            }
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Ended,
        }
    }
}

/// The running thread.
pub struct Consumer {
    stop: Arc<AtomicBool>,
    watch: Arc<Watch>,
    thread: Option<JoinHandle<Result<(), ConsumeError>>>,
    client: Arc<BaseConsumer<Context>>,
    topic: String,
}

impl Consumer {
    /// Assigns every partition of `positions` where the ledger stands and starts consuming. Blocks while the broker is
    /// asked for the partitions' logs.
    pub fn start(
        config: &ConsumerConfig,
        positions: &BTreeMap<Partition, Position>,
    ) -> Result<(Consumer, Feed), ConsumeError> {
        let watch = Arc::new(Watch::default());
        let client: BaseConsumer<Context> = settings(config).create_with_context(Context {
            watch: Arc::clone(&watch),
            topic: config.topic.clone(),
        })?;
        let client = Arc::new(client);
        let assignment = assignment(&client, &config.topic, positions, &watch)?;
        client.assign(&assignment.places)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, chunks) = sync_channel(QUEUE);
        let thread = Polling {
            client: Arc::clone(&client),
            topic: config.topic.clone(),
            stop: Arc::clone(&stop),
            watch: Arc::clone(&watch),
            sender,
            verify: assignment.verify,
            lost: BTreeSet::new(),
            open: BTreeMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("siji-consume".to_owned())
            .spawn(move || thread.run())
            .map_err(|_| ConsumeError::Thread)?;
        let feed = Feed {
            chunks,
            watch: Arc::clone(&watch),
        };
        let topic = config.topic.clone();
        Ok((
            Consumer {
                stop,
                watch,
                thread: Some(thread),
                client,
                topic,
            },
            feed,
        ))
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

    /// Stops consuming. What was handed on stays with the feed.
    pub fn stop(mut self) -> Result<(), ConsumeError> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| ConsumeError::Thread)?,
            None => Ok(()),
        }
    }

    /// Asks the thread to end without waiting for it.
    pub fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Polling {
    client: Arc<BaseConsumer<Context>>,
    topic: String,
    stop: Arc<AtomicBool>,
    watch: Arc<Watch>,
    sender: SyncSender<Chunk>,
    verify: BTreeMap<i32, LastRecord>,
    /// Partitions whose remembered record was not found again.
    lost: BTreeSet<i32>,
    open: BTreeMap<i32, (Instant, Chunk)>,
}

impl Polling {
    fn run(mut self) -> Result<(), ConsumeError> {
        let client = Arc::clone(&self.client);
        let mut since_look = 0;
        while !self.stop.load(Ordering::Relaxed) {
            match client.poll(Duration::from_millis(5)) {
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
        self.sender.send(chunk).is_ok()
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
        self.client.incremental_unassign(&stopped)?;
        Ok(false)
    }
}
