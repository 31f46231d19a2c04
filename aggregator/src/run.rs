//! The running aggregator: one generation after another.
//!
//! A generation opens the lake, takes partitions (all, or its share of a group's), recovers what was not derived of them,
//! and then works until it is told to stop or something fails. After a failure that may pass, nothing in memory is trusted: the next generation reads
//! the positions again.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use siji_lake::{Lake, LakeError, LakeLocation};
use siji_schemas::validate::Reference;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::AggregatorError;
use crate::commit::Tables;
use crate::config::{AggregatorConfig, KafkaConfig};
use crate::consume::{Consumer, ConsumerConfig, Membership, Take};
use crate::fence::Fence;
use crate::metrics::{self, Metrics};
use crate::pipeline::Pipeline;
use crate::position::{Partition, Position};
use crate::reader::LedgerReader;
use crate::reference::write_areas;
use crate::topic::{TopicSpec, ensure_topic};

mod assign;
mod committer;
mod encoder;
mod health;
mod latest;
mod source;
use assign::Assigner;
use committer::Committer;
pub use health::{Health, Progress};
use source::tie;

/// Starts on a lake at which others start too.
const FIRST_ATTEMPTS: u32 = 5;
/// Batches that may wait while one is encoded, and while one is committed.
const WAITING_BATCHES: usize = 1;

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
        let first = setup.begin_first().await?;
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
    lake: Lake,
    consumer: Consumer,
    pipeline: Ending,
    encoder: Ending,
    committer: Ending,
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
                Ok(()) => return self.stopped(),
                Err(error) => error,
            };
            self.health.failed(&error);
            if !error.may_pass() {
                return Err(error);
            }
            if self.stop.is_cancelled() {
                // What is not in the lake is read from Kafka again at the next start.
                tracing::warn!(%error, "the last batch was not committed");
                return self.stopped();
            }
            if began.elapsed() > Duration::from_secs(60) {
                pause = Duration::from_millis(500);
            }
            tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "aggregation failed and starts over");
            self.metrics.started_over();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return self.stopped(),
            }
            pause = (pause * 2).min(Duration::from_secs(30));
            current = tokio::select! {
                begun = self.begin(false) => begun,
                () = self.stop.cancelled() => return self.stopped(),
            };
        }
    }

    /// Two that start on an empty lake both make its tables; who loses looks again.
    async fn begin_first(&self) -> Result<Generation, AggregatorError> {
        let mut attempt = 1;
        loop {
            match self.begin(true).await {
                Err(AggregatorError::Lake(LakeError::Conflict { .. }))
                    if attempt < FIRST_ATTEMPTS =>
                {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                begun => return begun,
            }
        }
    }

    fn stopped(&self) -> Result<(), AggregatorError> {
        self.health.stopped_cleanly();
        Ok(())
    }

    /// Opens everything and starts the threads. Only the first generation may make the lake: if it goes away later,
    /// as an unmounted disk does, a new one in its place would begin at nothing.
    async fn begin(&self, may_make: bool) -> Result<Generation, AggregatorError> {
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
        let lake = if may_make {
            Lake::open_or_create(&self.lake, &self.reference.zone.to_string()).await?
        } else {
            Lake::open(&self.lake).await?
        };
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
        tie(&mut tables, topic, self.kafka.partitions, now_ms).await?;
        let assigner = Assigner {
            lake: lake.clone(),
            kafka: self.kafka.clone(),
            start: self.config.start,
            catalogue: Arc::new(self.reference.catalogue.clone()),
        };
        let fence = Arc::new(Fence::default());
        let runtime = Handle::current();
        let group = self.kafka.group_of(lake.id());
        let take = if group.is_none() {
            // Rows may be read and folded: work for a thread that may be busy.
            let all: Vec<Partition> = (0..self.kafka.partitions).map(Partition).collect();
            let reading =
                tokio::task::spawn_blocking(move || runtime.block_on(assigner.assign(&all)));
            Take::All(
                reading
                    .await
                    .map_err(|_| AggregatorError::Thread("recovery"))??,
            )
        } else {
            let stop = self.stop.clone();
            Take::Share(Membership {
                // What is broken off on the way is found out again at the next start, as after a kill.
                read: Box::new(move |partitions| {
                    runtime.block_on(async {
                        tokio::select! {
                            read = assigner.assign(partitions) => read.map_err(|error| error.to_string()),
                            () = stop.cancelled() => Err("stopped before it was read".to_owned()),
                        }
                    })
                }),
                fence: Arc::clone(&fence),
                release_wait: Duration::from_millis(self.config.release_wait_ms),
            })
        };
        let ledger = LedgerReader::open(&lake)?;
        tracing::info!(lake = %lake.url(), ref_version = self.reference.version(), group, "aggregating");

        let consumer_config = ConsumerConfig {
            client: self.kafka.client(),
            topic: topic.clone(),
            partitions: self.kafka.partitions,
            group,
            instance: self.kafka.instance_id.clone(),
        };
        let (consumer, feed) =
            tokio::task::spawn_blocking(move || Consumer::start(&consumer_config, take))
                .await
                .map_err(|_| AggregatorError::Thread("consumer"))??;
        let gauges = self.health.begin(consumer.watch());
        let pipeline = Pipeline::new(
            self.config.clone(),
            Arc::clone(&self.reference),
            self.kafka.partitions,
            ledger,
            gauges,
            Handle::current(),
        );
        let (sender, sealed) = sync_channel(WAITING_BATCHES);
        let pipeline = thread("pipeline", move || pipeline.run(feed, &sender))?;
        let (sender, encoded) = sync_channel(WAITING_BATCHES);
        let encoder = thread("encoder", move || encoder::run(&sealed, &sender))?;
        let committer = Committer::new(
            lake.clone(),
            tables,
            topic.clone(),
            fence,
            Arc::clone(&self.health),
            self.config.checkpoint_every,
        );
        let runtime = Handle::current();
        let committer = thread("committer", move || committer.run(&encoded, &runtime))?;
        Ok(Generation {
            lake,
            consumer,
            pipeline,
            encoder,
            committer,
        })
    }

    /// Waits until the generation ends, by request or by failure, and stops all of it.
    async fn oversee(&self, generation: Generation) -> Result<(), AggregatorError> {
        let Generation {
            lake,
            mut consumer,
            mut pipeline,
            mut encoder,
            mut committer,
        } = generation;
        let mut tell = tokio::time::interval(Duration::from_secs(5));
        let (mut pipeline_end, mut encoder_end, mut committer_end) = (None, None, None);
        let mut accepted = None;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                ended = &mut pipeline => { pipeline_end = Some(flatten(ended, "pipeline")); break; }
                ended = &mut encoder => { encoder_end = Some(flatten(ended, "encoder")); break; }
                ended = &mut committer => { committer_end = Some(flatten(ended, "committer")); break; }
                _ = tell.tick() => {
                    consumer.tell_progress(&self.health.committed_offsets());
                    accepted = self.accepted(&lake).await.unwrap_or_else(|error| {
                        tracing::debug!(%error, "cannot look whether offsets were accepted");
                        None
                    });
                    if accepted.is_some() {
                        break;
                    }
                }
            }
        }
        // In the order of the data: no more records, then what was taken, then what was sealed.
        consumer.ask_to_stop();
        self.health.stage("consumer");
        let stopping = tokio::task::spawn_blocking(move || (consumer.stop(), consumer)).await;
        let (consumed, consumer) = stopping.map_err(|_| AggregatorError::Thread("consumer"))?;
        self.health.stage("pipeline");
        let pipeline_end = match pipeline_end {
            Some(end) => end,
            None => flatten(pipeline.await, "pipeline"),
        };
        self.health.stage("encoder");
        let encoder_end = match encoder_end {
            Some(end) => end,
            None => flatten(encoder.await, "encoder"),
        };
        self.health.stage("committer");
        let committer_end = match committer_end {
            Some(end) => end,
            None => flatten(committer.await, "committer"),
        };
        // Only now the group may give our partitions to others.
        self.health.stage("leaving the group");
        tokio::task::spawn_blocking(move || drop(consumer))
            .await
            .map_err(|_| AggregatorError::Thread("consumer"))?;
        // The committer's reason first: the others end because it did.
        committer_end?;
        encoder_end?;
        pipeline_end?;
        consumed?;
        match accepted {
            Some(partition) => Err(AggregatorError::Accepted(partition)),
            None => Ok(()),
        }
    }

    /// A stopped partition that an operator has accepted since this generation began.
    async fn accepted(&self, lake: &Lake) -> Result<Option<Partition>, AggregatorError> {
        let stopped = self.health.stopped();
        let stopped: Vec<Partition> = stopped
            .into_iter()
            .filter(|(_, reason)| reason.is_some())
            .map(|(number, _)| Partition(number))
            .collect();
        if stopped.is_empty() {
            return Ok(None);
        }
        let Some(ledger) = siji_lake::table::state(lake, "ledger").await? else {
            return Ok(None);
        };
        let began = self.health.began();
        let now = |partition| Position::read(&ledger.txns, &self.kafka.topic, partition);
        Ok(stopped.into_iter().find(|partition| {
            began
                .get(partition)
                .is_some_and(|it| *it != now(*partition))
        }))
    }
}

/// How a thread ended; nothing if it panicked.
type Ending = oneshot::Receiver<Result<(), AggregatorError>>;

/// Runs work that blocks on a thread of that name.
fn thread(
    name: &'static str,
    work: impl FnOnce() -> Result<(), AggregatorError> + Send + 'static,
) -> Result<Ending, AggregatorError> {
    let (tell, ending) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("siji-{name}"))
        .spawn(move || {
            if tell.send(work()).is_err() {
                tracing::debug!(thread = name, "ended when nobody waited for it");
            }
        })
        .map_err(|_| AggregatorError::Thread(name))?;
    Ok(ending)
}

fn flatten(
    ended: Result<Result<(), AggregatorError>, oneshot::error::RecvError>,
    name: &'static str,
) -> Result<(), AggregatorError> {
    ended.map_err(|_| AggregatorError::Thread(name))?
}
