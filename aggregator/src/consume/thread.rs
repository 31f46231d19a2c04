//! The thread that owns the Kafka consumer.
//!
//! It assigns the partitions at the offsets the ledger names, reads each remembered record again (D2), copies records
//! into chunks and hands them on through a bounded channel. When the pipeline is slow the thread waits, and
//! librdkafka's own queue, bounded too, stops fetching.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};

use super::Chunk;
use crate::position::{LastRecord, Partition, Position, Standing, record_check, standing};

/// Records in a chunk at most.
const CHUNK_RECORDS: usize = 4096;
/// Bytes in a chunk at most, but for a single larger record.
const CHUNK_BYTES: usize = 4 << 20;
/// How long a chunk may wait for more records.
const CHUNK_AGE: Duration = Duration::from_millis(20);
/// Chunks that may wait for the pipeline.
const QUEUE: usize = 8;
/// How long to wait for the broker when asking for a partition's log.
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach the topic.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// `bootstrap.servers` and whatever else is configured.
    pub client: ClientConfig,
    /// Topic.
    pub topic: String,
}

/// Why consuming ended.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The client cannot be made or used.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The thread panicked.
    #[error("the consumer thread failed")]
    Thread,
}

/// What a partition is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionState {
    /// Its remembered record has still to be read again.
    Verifying,
    /// Consumed.
    Running,
    /// Not consumed; why, and what an operator can do.
    Stopped(String),
}

/// What others may look at while the thread runs.
#[derive(Debug, Default)]
pub struct Watch {
    states: Mutex<BTreeMap<i32, PartitionState>>,
    highs: Mutex<BTreeMap<i32, i64>>,
    last_error: Mutex<Option<(Instant, String)>>,
    queued: AtomicI64,
}

impl Watch {
    /// State of every partition.
    pub fn states(&self) -> BTreeMap<i32, PartitionState> {
        lock(&self.states).clone()
    }

    /// The next offset the broker will give, by partition, as last heard.
    pub fn highs(&self) -> BTreeMap<i32, i64> {
        lock(&self.highs).clone()
    }

    /// Chunks waiting for the pipeline.
    pub fn queued(&self) -> i64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// An error of the client in the last `within`, if any.
    pub fn recent_error(&self, within: Duration) -> Option<String> {
        lock(&self.last_error)
            .as_ref()
            .filter(|(at, _)| at.elapsed() < within)
            .map(|(_, error)| error.clone())
    }

    fn set(&self, partition: i32, state: PartitionState) {
        lock(&self.states).insert(partition, state);
    }
}

/// A poisoned lock only means that another thread panicked while writing a whole value.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

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
                self.watch.queued.fetch_sub(1, Ordering::Relaxed);
                Next::Chunk(chunk)
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => Next::Nothing,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Next::Ended,
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
        let client: BaseConsumer<Context> = client_config(config).create_with_context(Context {
            watch: Arc::clone(&watch),
            topic: config.topic.clone(),
        })?;
        let client = Arc::new(client);
        let mut assignment = TopicPartitionList::new();
        let mut verify = BTreeMap::new();
        for (partition, position) in positions {
            let (low, high) =
                client.fetch_watermarks(&config.topic, partition.0, WATERMARK_TIMEOUT)?;
            lock(&watch.highs).insert(partition.0, high);
            match start_of(*partition, position, low, high) {
                Ok(start) => {
                    let state = if start.verify.is_some() {
                        PartitionState::Verifying
                    } else {
                        PartitionState::Running
                    };
                    watch.set(partition.0, state);
                    assignment.add_partition_offset(
                        &config.topic,
                        partition.0,
                        Offset::Offset(start.at),
                    )?;
                    verify.extend(start.verify.map(|last| (partition.0, last)));
                }
                Err(reason) => {
                    tracing::error!(partition = partition.0, reason, "partition stopped");
                    watch.set(partition.0, PartitionState::Stopped(reason));
                }
            }
        }
        client.assign(&assignment)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, chunks) = sync_channel(QUEUE);
        let thread = Polling {
            client: Arc::clone(&client),
            topic: config.topic.clone(),
            stop: Arc::clone(&stop),
            watch: Arc::clone(&watch),
            sender,
            verify,
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
        if let Err(error) = self
            .client
            .commit(&offsets, rdkafka::consumer::CommitMode::Async)
        {
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
    let accept = format!("`siji offsets accept --partition {}`", partition.0);
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

fn client_config(config: &ConsumerConfig) -> ClientConfig {
    let mut client = config.client.clone();
    for (key, value) in [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // The ledger decides where to read; an offset that is not there must not be replaced in silence.
        ("auto.offset.reset", "error"),
        ("statistics.interval.ms", "1000"),
    ] {
        client.set(key, value);
    }
    for (key, value) in [
        ("group.id", "siji-aggregator"),
        ("client.id", "siji-aggregator"),
        // The default of 1000 sleeps a second whenever the queue is full: half the throughput.
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.wait.max.ms", "50"),
        ("queued.max.messages.kbytes", "65536"),
        ("fetch.message.max.bytes", "4194304"),
    ] {
        if client.get(key).is_none() {
            client.set(key, value);
        }
    }
    client
}

/// Receives librdkafka's callbacks.
struct Context {
    watch: Arc<Watch>,
    topic: String,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error or through the state of partitions.
        tracing::debug!(target: "siji_aggregator::librdkafka", ?level, facility, "{message}");
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let mut highs = lock(&self.watch.highs);
        for (number, partition) in &topic.partitions {
            if *number >= 0 && partition.hi_offset >= 0 {
                highs.insert(*number, partition.hi_offset);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // librdkafka reconnects by itself; the state shows in readiness and in the log.
        *lock(&self.watch.last_error) = Some((Instant::now(), format!("{error}: {reason}")));
        tracing::warn!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Context {}

struct Polling {
    client: Arc<BaseConsumer<Context>>,
    topic: String,
    stop: Arc<AtomicBool>,
    watch: Arc<Watch>,
    sender: SyncSender<Chunk>,
    verify: BTreeMap<i32, LastRecord>,
    open: BTreeMap<i32, (Instant, Chunk)>,
}

impl Polling {
    fn run(mut self) -> Result<(), ConsumeError> {
        let client = Arc::clone(&self.client);
        while !self.stop.load(Ordering::Relaxed) {
            match client.poll(Duration::from_millis(5)) {
                Some(Ok(message)) => {
                    let partition = message.partition();
                    if !self.verified(&message)? {
                        continue;
                    }
                    let (_, chunk) = self
                        .open
                        .entry(partition)
                        .or_insert_with(|| (Instant::now(), Chunk::new(partition)));
                    chunk.push_message(&message);
                    if (chunk.len() >= CHUNK_RECORDS || chunk.byte_len() >= CHUNK_BYTES)
                        && !self.hand_on(partition)
                    {
                        return Ok(());
                    }
                }
                Some(Err(error)) if passes(&error) => {
                    *lock(&self.watch.last_error) = Some((Instant::now(), error.to_string()));
                }
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
            let due: Vec<i32> = self
                .open
                .iter()
                .filter(|(_, (since, _))| since.elapsed() >= CHUNK_AGE)
                .map(|(p, _)| *p)
                .collect();
            for partition in due {
                if !self.hand_on(partition) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// False when nobody takes chunks any more.
    fn hand_on(&mut self, partition: i32) -> bool {
        let Some((_, chunk)) = self.open.remove(&partition) else {
            return true;
        };
        self.watch.queued.fetch_add(1, Ordering::Relaxed);
        self.sender.send(chunk).is_ok()
    }

    /// Whether a record is to be handed on. The first of a partition that resumes is the last one remembered: it is
    /// compared and swallowed.
    fn verified(
        &mut self,
        message: &rdkafka::message::BorrowedMessage<'_>,
    ) -> Result<bool, ConsumeError> {
        let partition = message.partition();
        let Some(last) = self.verify.remove(&partition) else {
            return Ok(!matches!(
                lock(&self.watch.states).get(&partition),
                Some(PartitionState::Stopped(_))
            ));
        };
        let check = record_check(
            message.timestamp().to_millis(),
            message.key(),
            message.payload(),
        );
        if message.offset() == last.offset && check == last.check {
            self.watch.set(partition, PartitionState::Running);
            return Ok(false);
        }
        let reason = format!(
            "topic recreated or broker lost records: the record at offset {} is not the one in the ledger; \
             `siji offsets accept --partition {partition}` begins a new epoch",
            last.offset
        );
        tracing::error!(partition, reason, "partition stopped");
        self.watch.set(partition, PartitionState::Stopped(reason));
        let mut stopped = TopicPartitionList::new();
        stopped.add_partition(&self.topic, partition);
        self.client.incremental_unassign(&stopped)?;
        Ok(false)
    }
}

/// Errors that the client gets over by itself.
fn passes(error: &KafkaError) -> bool {
    match error {
        KafkaError::MessageConsumption(code) | KafkaError::Global(code) => matches!(
            code,
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::NetworkException
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        ),
        _ => false,
    }
}
