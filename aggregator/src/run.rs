//! The running aggregator: one generation after another.
//!
//! A generation opens the lake, reads where it stands, recovers what was not derived, and then works until it is told
//! to stop or something fails. After a failure that may pass, nothing in memory is trusted: the next generation reads
//! the positions again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use siji_lake::{Lake, LakeError, LakeLocation, checkpoint};
use siji_schemas::validate::Reference;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::AggregatorError;
use crate::commit::{Sealed, Tables};
use crate::config::{AggregatorConfig, KafkaConfig, StartAt};
use crate::consume::{Consumer, ConsumerConfig};
use crate::metrics::{self, Metrics};
use crate::pipeline::Pipeline;
use crate::position::{Partition, Position};
use crate::reader::LedgerReader;
use crate::recover::catch_up;
use crate::reference::write_areas;
use crate::topic::{TopicSpec, ensure_topic};

mod health;
mod latest;
pub use health::{Health, Progress};
use latest::begin_at_the_end;

/// Sealed batches that may wait while one is committed.
const WAITING_BATCHES: usize = 1;
/// How often the registers' positions follow although there is nothing for them.
const REGISTERS_EVERY: Duration = Duration::from_secs(60);

/// A running aggregator.
#[derive(Debug)]
pub struct Aggregator {
    health: Arc<Health>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AggregatorError>>,
}

/// Everything a generation needs.
struct Setup {
    lake: LakeLocation,
    kafka: KafkaConfig,
    config: AggregatorConfig,
    reference: Arc<Reference>,
    health: Arc<Health>,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Aggregator {
    /// Starts aggregating and returns once it does, or says why it cannot.
    pub async fn start(
        lake: LakeLocation,
        kafka: KafkaConfig,
        config: AggregatorConfig,
        reference: Arc<Reference>,
    ) -> Result<Aggregator, AggregatorError> {
        let health = Arc::new(Health::new());
        metrics::observe(&health);
        let stop = CancellationToken::new();
        let setup = Setup {
            lake,
            kafka,
            config,
            reference,
            health: Arc::clone(&health),
            metrics: Metrics::new(),
            stop: stop.clone(),
        };
        let first = setup.begin().await?;
        let task = tokio::spawn(setup.supervise(first));
        Ok(Aggregator { health, stop, task })
    }

    /// How it is doing.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Resolves when it ended by itself, which it does only on an error that will not pass.
    pub async fn ended(&mut self) -> Result<(), AggregatorError> {
        (&mut self.task)
            .await
            .map_err(|_| AggregatorError::Thread("supervisor"))?
    }

    /// Stops taking records, commits what was taken, and ends; or says who was late.
    pub async fn shutdown(mut self, deadline: Duration) -> Result<(), AggregatorError> {
        self.stop.cancel();
        match tokio::time::timeout(deadline, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => Err(AggregatorError::Late(self.health.busy())),
        }
    }
}

/// One generation at work.
struct Generation {
    consumer: Consumer,
    pipeline: JoinHandle<Result<(), AggregatorError>>,
    committer: JoinHandle<Result<(), AggregatorError>>,
}

impl Setup {
    async fn supervise(self, first: Generation) -> Result<(), AggregatorError> {
        let mut current = Ok(first);
        let mut pause = Duration::from_millis(500);
        loop {
            let began = Instant::now();
            let ended = match current {
                Ok(generation) => self.oversee(generation).await,
                Err(error) => Err(error),
            };
            let error = match ended {
                Ok(()) => {
                    self.health.stopped_cleanly();
                    return Ok(());
                }
                Err(error) => error,
            };
            self.health.failed(&error);
            if self.stop.is_cancelled() || !error.may_pass() {
                return Err(error);
            }
            if began.elapsed() > Duration::from_secs(60) {
                pause = Duration::from_millis(500);
            }
            tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "aggregation failed and starts over");
            self.metrics.started_over();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return Err(error),
            }
            pause = (pause * 2).min(Duration::from_secs(30));
            current = self.begin().await;
        }
    }

    /// Opens everything and starts the threads.
    async fn begin(&self) -> Result<Generation, AggregatorError> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let partitions = u16::try_from(self.kafka.partitions)
            .ok()
            .filter(|partitions| *partitions > 0)
            .ok_or_else(|| {
                AggregatorError::Config(format!(
                    "`partitions` is {}, not 1 to 65535",
                    self.kafka.partitions
                ))
            })?;
        let lake = Lake::open_or_create(&self.lake, &self.reference.zone.to_string()).await?;
        let spec = TopicSpec {
            partitions,
            replication: self.kafka.replication,
            ..TopicSpec::new(&self.kafka.topic)
        };
        ensure_topic(
            &self.kafka.client(),
            &spec,
            Duration::from_millis(self.config.patience_ms),
        )
        .await?;
        write_areas(&lake, &self.reference, now_ms).await?;
        let mut tables = Tables::open(&lake).await?;
        let topic = &self.kafka.topic;
        let mut positions: BTreeMap<Partition, Position> = (0..self.kafka.partitions)
            .map(|number| {
                (
                    Partition(number),
                    Position::read(tables.ledger.txns(), topic, Partition(number)),
                )
            })
            .collect();
        if self.config.start == StartAt::Latest {
            begin_at_the_end(&mut tables, &self.kafka, &mut positions, now_ms).await?;
        }
        refuse_more_partitions(&tables, topic, self.kafka.partitions)?;
        let ledger = LedgerReader::open(&lake)?;
        let catalogue = Arc::new(self.reference.catalogue.clone());
        let read = catch_up(&mut tables, &ledger, &positions, topic, &catalogue, now_ms).await?;
        tracing::info!(lake = %lake.url(), recovered_rows = read, ref_version = self.reference.version(), "aggregating");

        let consumer_config = ConsumerConfig {
            client: self.kafka.client(),
            topic: topic.clone(),
        };
        let resume = positions.clone();
        let (consumer, feed) =
            tokio::task::spawn_blocking(move || Consumer::start(&consumer_config, &resume))
                .await
                .map_err(|_| AggregatorError::Thread("consumer"))??;
        let gauges = self.health.begin(consumer.watch(), &positions);
        let pipeline = Pipeline::new(
            self.config.clone(),
            Arc::clone(&self.reference),
            self.kafka.partitions,
            positions.clone(),
            ledger,
            gauges,
            Handle::current(),
        )?;
        let (sender, batches) = sync_channel(WAITING_BATCHES);
        let pipeline = tokio::task::spawn_blocking(move || pipeline.run(&feed, &sender));
        let committer = Committer {
            lake,
            tables,
            topic: topic.clone(),
            positions,
            health: Arc::clone(&self.health),
            metrics: Metrics::new(),
            checkpoint_every: self.config.checkpoint_every,
            checkpointing: None,
        };
        let committer =
            tokio::task::spawn_blocking(move || committer.run(&batches, &Handle::current()));
        Ok(Generation {
            consumer,
            pipeline,
            committer,
        })
    }

    /// Waits until the generation ends, by request or by failure, and stops all of it.
    async fn oversee(&self, generation: Generation) -> Result<(), AggregatorError> {
        let Generation {
            consumer,
            mut pipeline,
            mut committer,
        } = generation;
        let mut tell = tokio::time::interval(Duration::from_secs(5));
        let (mut pipeline_end, mut committer_end) = (None, None);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                ended = &mut pipeline => { pipeline_end = Some(flatten(ended, "pipeline")); break; }
                ended = &mut committer => { committer_end = Some(flatten(ended, "committer")); break; }
                _ = tell.tick() => consumer.tell_progress(&self.health.committed_offsets()),
            }
        }
        // In the order of the data: no more records, then what was taken, then what was sealed.
        consumer.ask_to_stop();
        self.health.stage("consumer");
        let consumed = tokio::task::spawn_blocking(move || consumer.stop()).await;
        self.health.stage("pipeline");
        let pipeline_end = match pipeline_end {
            Some(end) => end,
            None => flatten(pipeline.await, "pipeline"),
        };
        self.health.stage("committer");
        let committer_end = match committer_end {
            Some(end) => end,
            None => flatten(committer.await, "committer"),
        };
        // The committer's reason first: the others end because it did.
        committer_end?;
        pipeline_end?;
        consumed.map_err(|_| AggregatorError::Thread("consumer"))??;
        Ok(())
    }
}

fn flatten(
    ended: Result<Result<(), AggregatorError>, tokio::task::JoinError>,
    name: &'static str,
) -> Result<(), AggregatorError> {
    ended.map_err(|_| AggregatorError::Thread(name))?
}

/// A lake that knows partitions the topic does not have was fed by a topic of another shape.
fn refuse_more_partitions(
    tables: &Tables,
    topic: &str,
    partitions: i32,
) -> Result<(), AggregatorError> {
    let prefix = format!("{topic}/");
    let known = tables.ledger.txns().keys().filter_map(|id| {
        id.strip_prefix(&prefix)?
            .rsplit('/')
            .next()?
            .parse::<i32>()
            .ok()
    });
    match known.max() {
        Some(largest) if largest >= partitions => Err(AggregatorError::Config(format!(
            "the ledger holds partition {largest} of topic `{topic}`, but {partitions} partitions are configured: the lake \
             belongs to a topic of another shape"
        ))),
        _ => Ok(()),
    }
}

/// The thread that commits, one batch after another.
struct Committer {
    lake: Lake,
    tables: Tables,
    topic: String,
    positions: BTreeMap<Partition, Position>,
    health: Arc<Health>,
    metrics: Metrics,
    checkpoint_every: i64,
    checkpointing: Option<JoinHandle<()>>,
}

impl Committer {
    fn run(mut self, batches: &Receiver<Sealed>, runtime: &Handle) -> Result<(), AggregatorError> {
        let mut registers_at = Instant::now();
        loop {
            match batches.recv_timeout(Duration::from_secs(1)) {
                Ok(sealed) => self.commit(&sealed, runtime)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if registers_at.elapsed() >= REGISTERS_EVERY {
                registers_at = Instant::now();
                self.advance_registers(runtime)?;
            }
        }
        self.advance_registers(runtime)
    }

    fn commit(&mut self, sealed: &Sealed, runtime: &Handle) -> Result<(), AggregatorError> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let times = runtime.block_on(self.tables.commit(sealed, &self.topic, now_ms))?;
        self.positions.extend(
            sealed
                .positions
                .iter()
                .map(|(partition, position)| (*partition, *position)),
        );
        let rows: usize = sealed
            .ledger
            .iter()
            .map(arrow::array::RecordBatch::num_rows)
            .sum();
        self.metrics.committed(&sealed.tally, rows as u64, times);
        self.health.committed(sealed);
        tracing::debug!(rows, turn = sealed.turn, seconds = times.all_s, "committed");
        self.checkpoint(runtime);
        Ok(())
    }

    fn advance_registers(&mut self, runtime: &Handle) -> Result<(), AggregatorError> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let advanced = runtime.block_on(self.tables.advance_registers(
            &self.positions,
            &self.topic,
            now_ms,
        ));
        advanced.map_err(AggregatorError::from)
    }

    /// Checkpoints in the background, one at a time; a failure only makes opening slower.
    fn checkpoint(&mut self, runtime: &Handle) {
        if self
            .checkpointing
            .as_ref()
            .is_some_and(|task| !task.is_finished())
            || self.checkpoint_every <= 0
        {
            return;
        }
        let due: Vec<&'static str> = [
            &self.tables.ledger,
            &self.tables.rollup,
            &self.tables.registers,
        ]
        .iter()
        .filter(|table| table.version() > 0 && table.version() % self.checkpoint_every == 0)
        .map(|table| table.spec().name)
        .collect();
        if due.is_empty() {
            return;
        }
        let lake = self.lake.clone();
        self.checkpointing = Some(runtime.spawn(async move {
            for table in due {
                match checkpoint::write(&lake, table).await {
                    Ok(version) => tracing::debug!(table, version, "checkpoint"),
                    Err(error) => report_checkpoint(table, &error),
                }
            }
        }));
    }
}

fn report_checkpoint(table: &str, error: &LakeError) {
    tracing::warn!(table, %error, "no checkpoint; the log is read from an older one");
}
