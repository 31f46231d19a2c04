//! Rounds of maintenance in the background, on one thread of their own: at most one core, and never in the way of a
//! commit.

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
                stand_back();
                runtime.block_on(async {
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = rounds(&lake, &config) => {}
                    }
                });
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
/// off at nearly full speed. When there is none, folding has all it needs.
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

async fn rounds(location: &LakeLocation, config: &MaintainConfig) {
    let metrics = Metrics::new();
    let mut upkeep: Option<Upkeep> = None;
    let (mut cleaned, mut vacuumed) = (Instant::now(), Instant::now());
    loop {
        tokio::time::sleep(config.interval()).await;
        let mut current = match upkeep.take() {
            Some(upkeep) => upkeep,
            None => match Lake::open(location).await {
                Ok(lake) => Upkeep::new(lake),
                Err(error) => {
                    tracing::warn!(%error, "no maintenance: the lake cannot be opened");
                    continue;
                }
            },
        };
        let clean = due(&mut cleaned, CLEAN_EVERY);
        let vacuum = due(&mut vacuumed, VACUUM_EVERY);
        for kept in MAINTAINED {
            let table = kept.spec.name;
            let began = Instant::now();
            match current.table(kept, &config.policy(), true).await {
                Ok(done) => metrics.done(table, &done, began.elapsed()),
                Err(LakeError::Conflict { .. } | LakeError::Removed { .. }) => {
                    tracing::debug!(table, "another maintainer was faster");
                }
                Err(error) => {
                    metrics.failures.add(1, &[KeyValue::new("table", table)]);
                    tracing::warn!(table, %error, "the table could not be folded; it is tried again");
                }
            }
            if clean && let Err(error) = current.clean_log(table, config.keep()).await {
                tracing::warn!(table, %error, "the log could not be cleaned up; it is tried again");
            }
            if vacuum {
                let options = Options {
                    retain: config.vacuum_retain(),
                    allow_short: false,
                    dry_run: false,
                };
                match current.vacuum(table, options).await {
                    Ok(gone) => {
                        tracing::debug!(table, files = gone.files, bytes = gone.bytes, "vacuumed")
                    }
                    Err(error) => {
                        tracing::warn!(table, %error, "unused files could not be deleted; it is tried again");
                    }
                }
            }
        }
        upkeep = Some(current);
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
