//! Rounds of maintenance in the background, on one thread at a time: at most one core, and never in the way of a
//! commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::metrics::{Counter, Gauge};
use opentelemetry::{KeyValue, global};
use siji_lake::vacuum::Options;
use siji_lake::{Lake, LakeError, LakeLocation};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{Done, MAINTAINED, MaintainConfig, Upkeep};
use crate::AggregatorError;

/// Files are looked for that nobody needs any more, and logs cleaned, once in so many rounds at most.
const CLEAN_EVERY: Duration = Duration::from_secs(600);
const VACUUM_EVERY: Duration = Duration::from_secs(3600);
/// A table of more files than this costs whoever opens it more than folding would: then it no longer stands back.
const CROWDED: u64 = 1000;

/// The maintainer of a lake, while it runs.
#[derive(Debug)]
pub struct Maintainer {
    stop: CancellationToken,
    ended: tokio::sync::oneshot::Receiver<()>,
}

impl Maintainer {
    /// Begins rounds, the first one after an interval. A round that fails is told in the log and tried again.
    ///
    /// # Errors
    /// [`AggregatorError::Config`] when a setting makes no sense.
    pub fn start(
        lake: LakeLocation,
        config: MaintainConfig,
    ) -> Result<Maintainer, AggregatorError> {
        config.check().map_err(AggregatorError::Config)?;
        let stop = CancellationToken::new();
        let (tell, ended) = tokio::sync::oneshot::channel();
        let (stopped, runtime) = (stop.clone(), Handle::current());
        std::thread::Builder::new()
            .name("siji-maintain".to_owned())
            .spawn(move || {
                runtime.block_on(rounds(&lake, &config, &stopped));
                // Nobody waits for it where the process simply ends.
                tell.send(()).unwrap_or_default();
            })
            .map_err(|_| AggregatorError::Thread("maintain"))?;
        Ok(Maintainer { stop, ended })
    }

    /// Ends after the step it is at. What it has not committed did not happen.
    pub async fn shutdown(self, deadline: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(deadline, self.ended).await.is_err() {
            tracing::warn!(
                "the maintainer did not end in time; what it has not committed did not happen"
            );
        }
    }
}

/// Folding takes what the pipeline leaves: where both want a whole processor, records go first, and a backlog is worked
/// off at nearly full speed. When there is none, folding has all it needs. For the calling thread, for good.
#[cfg(target_os = "linux")]
fn stand_back() {
    const NICE: libc::c_int = 10;
    // SAFETY: takes and returns plain numbers. 0 is the calling thread, for Linux has priorities by thread.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS as _, 0, NICE) };
    if done != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "the maintainer keeps its priority");
    }
}

/// Elsewhere priorities are those of whole processes.
#[cfg(not(target_os = "linux"))]
fn stand_back() {}

async fn rounds(location: &LakeLocation, config: &MaintainConfig, stop: &CancellationToken) {
    let metrics = Arc::new(Metrics::new());
    let mut upkeep: Option<Upkeep> = None;
    let mut crowded = false;
    let (mut cleaned, mut vacuumed) = (Instant::now(), Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(config.interval()) => {}
        }
        let current = match upkeep.take() {
            Some(upkeep) => upkeep,
            None => match Lake::open(location).await {
                Ok(lake) => Upkeep::new(lake),
                Err(error) => {
                    tracing::warn!(%error, "no maintenance: the lake cannot be opened");
                    continue;
                }
            },
        };
        let round = Round {
            upkeep: current,
            config: config.clone(),
            metrics: Arc::clone(&metrics),
            clean: due(&mut cleaned, CLEAN_EVERY),
            vacuum: due(&mut vacuumed, VACUUM_EVERY),
            stands_back: !crowded,
        };
        let Some((done, files)) = round.on_a_thread(stop.clone()).await else {
            if stop.is_cancelled() {
                return;
            }
            continue;
        };
        upkeep = Some(done);
        crowded = files > CROWDED;
    }
}

/// One look at all tables.
struct Round {
    upkeep: Upkeep,
    config: MaintainConfig,
    metrics: Arc<Metrics>,
    clean: bool,
    vacuum: bool,
    stands_back: bool,
}

impl Round {
    /// On a thread of its own, for a priority that was given up does not come back. Returns the files of the table that
    /// has most; `None`: stopped on the way, or the thread failed.
    async fn on_a_thread(mut self, stop: CancellationToken) -> Option<(Upkeep, u64)> {
        let (tell, done) = tokio::sync::oneshot::channel();
        let runtime = Handle::current();
        let thread = std::thread::Builder::new().name("siji-maintain".to_owned());
        let started = thread.spawn(move || {
            if self.stands_back {
                stand_back();
            }
            let files = runtime.block_on(async {
                tokio::select! {
                    () = stop.cancelled() => None,
                    files = self.run() => Some(files),
                }
            });
            if let Some(files) = files {
                // Nobody waits for it where the process simply ends.
                tell.send((self.upkeep, files)).unwrap_or_default();
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "no maintenance: a thread could not be started");
        }
        done.await.ok()
    }

    async fn run(&mut self) -> u64 {
        let mut files = 0;
        for kept in MAINTAINED {
            let table = kept.spec.name;
            let began = Instant::now();
            match self.upkeep.table(kept, &self.config.policy(), true).await {
                Ok(done) => {
                    files = files.max(done.live_files);
                    self.metrics.done(table, &done, began.elapsed());
                }
                Err(LakeError::Conflict { .. } | LakeError::Removed { .. }) => {
                    tracing::debug!(table, "another maintainer was faster");
                }
                Err(error) => {
                    let failures = &self.metrics.failures;
                    failures.add(1, &[KeyValue::new("table", table)]);
                    tracing::warn!(table, %error, "the table could not be folded; it is tried again");
                }
            }
            if self.clean
                && let Err(error) = self.upkeep.clean_log(table, self.config.keep()).await
            {
                tracing::warn!(table, %error, "the log could not be cleaned up; it is tried again");
            }
            if self.vacuum {
                self.vacuum(table).await;
            }
        }
        files
    }

    async fn vacuum(&self, table: &'static str) {
        let options = Options {
            retain: self.config.vacuum_retain(),
            allow_short: false,
            dry_run: false,
        };
        match self.upkeep.vacuum(table, options).await {
            Ok(gone) => {
                tracing::debug!(table, files = gone.files, bytes = gone.bytes, "vacuumed");
            }
            Err(error) => {
                tracing::warn!(table, %error, "unused files could not be deleted; it is tried again");
            }
        }
    }
}

/// Whether something is due again; notes that it is done.
fn due(last: &mut Instant, every: Duration) -> bool {
    let due = last.elapsed() >= every;
    if due {
        *last = Instant::now();
    }
    due
}

struct Metrics {
    files: Counter<u64>,
    bytes: Counter<u64>,
    live: Gauge<u64>,
    failures: Counter<u64>,
}

impl Metrics {
    fn new() -> Metrics {
        let meter = global::meter("siji");
        Metrics {
            files: meter
                .u64_counter("siji_maintain_files")
                .with_description("files that folding read (in) and wrote (out)")
                .build(),
            bytes: meter
                .u64_counter("siji_maintain_bytes")
                .with_description("bytes of files that folding read (in) and wrote (out)")
                .build(),
            live: meter
                .u64_gauge("siji_table_files")
                .with_description("files in a table after the last round of maintenance")
                .build(),
            failures: meter
                .u64_counter("siji_maintain_failures")
                .with_description("tables that could not be folded in a round")
                .build(),
        }
    }

    fn done(&self, table: &'static str, done: &Done, took: Duration) {
        let Done {
            folded, followed, ..
        } = done;
        let of = |way: &'static str| [KeyValue::new("table", table), KeyValue::new("way", way)];
        self.files.add(folded.files_in + followed.files, &of("in"));
        self.files.add(folded.files_out, &of("out"));
        self.bytes.add(folded.bytes_in, &of("in"));
        self.bytes
            .add(folded.bytes_out + followed.bytes, &of("out"));
        self.live
            .record(done.live_files, &[KeyValue::new("table", table)]);
        tracing::debug!(
            table,
            files_in = folded.files_in,
            files_out = folded.files_out,
            followed = followed.versions,
            live = done.live_files,
            seconds = took.as_secs_f64(),
            "maintained"
        );
    }
}
