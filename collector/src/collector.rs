//! A collector from start to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use siji_schemas::validate::Reference;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{CollectorConfig, ConfigProblems};
use crate::heartbeat::Heart;
use crate::intake::{ConnectionLimits, Door, Intake, router, serve};
use crate::metrics;
use crate::ship::{ClientError, Shipper};
use crate::spool::{AppendError, Resent, Spool, SpoolError};

/// File of the spool in the data directory.
const SPOOL_FILE: &str = "spool.redb";

/// Why a collector does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigProblems),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// librdkafka does not take its configuration.
    #[error("kafka configuration: {0}")]
    Kafka(#[from] ClientError),
    /// The address cannot be listened on.
    #[error("listen {address}: {source}")]
    Listen {
        /// The configured address.
        address: String,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// How a shutdown went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Records that stay in the spool for the next start.
    pub undelivered: u64,
    /// Parts that were not done by the deadline.
    pub late: Vec<&'static str>,
}

/// A running collector. Drop it only after [`RunningCollector::shutdown`], or what is under way is cut off.
#[derive(Debug)]
pub struct RunningCollector {
    local_addr: Option<SocketAddr>,
    door: Arc<Door>,
    spool: Arc<Spool>,
    shipper: Arc<Shipper>,
    server: Option<Server>,
    heart: JoinHandle<()>,
}

#[derive(Debug)]
struct Server {
    /// Takes the time until which running requests may go on.
    stop: oneshot::Sender<Instant>,
    task: JoinHandle<usize>,
}

/// Starts a collector: opens the spool, ships what is in it, takes events in. `extra` are further routes of the HTTP
/// door, such as `/metrics`.
///
/// # Errors
/// One clear line; nothing runs then.
pub async fn start(
    config: CollectorConfig,
    reference: Arc<Reference>,
    extra: Router,
) -> Result<RunningCollector, StartError> {
    let checked = config.prepare(&reference)?;
    let listener = listen(&config.listen).await?;
    let heart = heart(&config, checked.area, &reference);
    let counters = Arc::clone(&heart.counters);
    let spool = open_spool(&config, &heart).await?;
    let shipper = Arc::new(Shipper::start(Arc::clone(&spool), config.kafka)?);
    metrics::observe(&spool, shipper.status());
    let gauges = spool.gauges();
    tracing::info!(
        source = config.source_id,
        incarnation = gauges.opening.incarnation,
        undelivered = gauges.depth,
        "collector started"
    );
    let intake = Arc::new(Intake {
        spool: Arc::clone(&spool),
        reference,
        limits: config.limits,
        key: checked.key,
        source_id: config.source_id,
        counters,
    });
    let every = Duration::from_secs(config.heartbeat_seconds);
    let heart = tokio::spawn(heart.run(every, Arc::clone(&spool), Arc::clone(shipper.status())));
    let door = Arc::new(Door::new(
        intake,
        checked.tokens,
        Arc::clone(shipper.status()),
    ));
    let (local_addr, server) = match listener {
        Some((local_addr, listener)) => {
            let (stop, stopped) = oneshot::channel();
            let stopped = async move {
                stopped.await.unwrap_or_else(|_| {
                    tracing::debug!("the collector was dropped without a shutdown");
                    Instant::now()
                })
            };
            let router = router(Arc::clone(&door)).merge(extra);
            // Bodies are read as they are wanted, so that a thousand connections take little.
            let limits = ConnectionLimits {
                buffer: 16 << 10,
                ..ConnectionLimits::default()
            };
            let task = tokio::spawn(serve(listener, router, limits, stopped));
            (Some(local_addr), Some(Server { stop, task }))
        }
        None => (None, None),
    };
    Ok(RunningCollector {
        local_addr,
        door,
        spool,
        shipper,
        server,
        heart,
    })
}

/// Has everything sent again that was delivered after `since_ms` (milliseconds UTC) and is still kept; the collector,
/// which must not run meanwhile, does it at its next start. The ledger counts none of it twice.
///
/// # Errors
/// The configuration is wrong, there is no spool, or it cannot be opened: a running collector holds it.
pub async fn resend(
    config: CollectorConfig,
    reference: Arc<Reference>,
    since_ms: i64,
) -> Result<Resent, StartError> {
    let checked = config.prepare(&reference)?;
    let path = config.data_dir.join(SPOOL_FILE);
    if !path.exists() {
        // Opening would make one, and "nothing was sent" would look like an answer.
        return Err(SpoolError::Missing(path).into());
    }
    let spool = open_spool(&config, &heart(&config, checked.area, &reference)).await?;
    let resent = spool.resend(since_ms).await;
    let closed = tokio::task::spawn_blocking(move || spool.close()).await;
    closed.map_err(|_| SpoolError::Closed)?;
    Ok(resent?)
}

fn heart(config: &CollectorConfig, area: String, reference: &Arc<Reference>) -> Heart {
    Heart {
        source_id: config.source_id.clone(),
        area,
        reference: Arc::clone(reference),
        counters: Arc::default(),
        started: Instant::now(),
    }
}

/// The first record of an opening tells of the one before.
async fn open_spool(config: &CollectorConfig, heart: &Heart) -> Result<Arc<Spool>, StartError> {
    let heart = heart.clone();
    let greeting = Box::new(move |opening: &_| heart.first_beat(opening));
    let path = config.data_dir.join(SPOOL_FILE);
    let limits = config.spool.clone();
    // After a crash the whole file is read; other work of the process goes on meanwhile.
    let opened = tokio::task::spawn_blocking(move || Spool::open(&path, limits, greeting)).await;
    Ok(Arc::new(opened.map_err(|_| SpoolError::Closed)??))
}

async fn listen(address: &str) -> Result<Option<(SocketAddr, TcpListener)>, StartError> {
    if address.is_empty() {
        return Ok(None);
    }
    let failed = |source| StartError::Listen {
        address: address.to_owned(),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local_addr = listener.local_addr().map_err(failed)?;
    Ok(Some((local_addr, listener)))
}

impl RunningCollector {
    /// Address of the HTTP door, if it has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// The way in for other parts of the process.
    pub fn intake(&self) -> &Arc<Intake> {
        &self.door.intake
    }

    /// The spool: gauges, resend.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// The sender: what was delivered, what keeps it from delivering.
    pub fn shipper(&self) -> &Shipper {
        &self.shipper
    }

    /// Whether an event would be taken now.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), AppendError> {
        self.door.ready()
    }

    /// Waits until everything spooled so far is delivered, or the time is over. Returns the records that still wait.
    pub async fn drained(&self, timeout: Duration) -> u64 {
        let until = Instant::now() + timeout;
        let target = self.spool.gauges().next;
        loop {
            let waiting = target.saturating_sub(self.spool.mark().position);
            if waiting == 0 || Instant::now() >= until {
                return waiting;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops in order: no new events (503), requests in hand end, the spool commits, the producer delivers what it can
    /// until the deadline, the spool closes. Nothing acknowledged is lost, whatever is late.
    pub async fn shutdown(self, deadline: Duration) -> ShutdownReport {
        let until = Instant::now() + deadline;
        let mut late = Vec::new();
        self.door.stopping.store(true, Ordering::Release);
        self.heart.abort();
        if let Some(Server { stop, task }) = self.server {
            // Half of the time is for delivery.
            if stop.send(Instant::now() + deadline / 2).is_err() {
                tracing::error!("the http door had already stopped");
            }
            match task.await {
                Ok(0) => {}
                Ok(connections) => {
                    tracing::warn!(connections, "connections with requests were cut off");
                    late.push("http requests");
                }
                Err(error) => tracing::error!(%error, "the http door was stopped by a defect"),
            }
        }
        let undelivered = finish(self.shipper, self.spool, until, &mut late).await;
        if undelivered > 0 {
            late.push("kafka delivery");
        }
        ShutdownReport { undelivered, late }
    }
}

/// Delivers what can be delivered, closes the spool, and says what stays in it. A disk that does not answer holds up
/// nobody: the thread is left to it.
async fn finish(
    shipper: Arc<Shipper>,
    spool: Arc<Spool>,
    until: Instant,
    late: &mut Vec<&'static str>,
) -> u64 {
    // A tenth of the time is for the spool: to commit, to store the mark.
    let ship_until = until - until.saturating_duration_since(Instant::now()) / 10;
    let closing = tokio::task::spawn_blocking({
        let spool = Arc::clone(&spool);
        move || {
            shipper.stop(ship_until);
            spool.close();
        }
    });
    match tokio::time::timeout_at(until.into(), closing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(error = %error, "closing the spool panicked");
            late.push("spool");
        }
        Err(_) => {
            tracing::error!(
                "the spool's disk does not answer, the spool is left open; what was acknowledged is on disk"
            );
            late.push("spool");
        }
    }
    spool.gauges().depth
}

#[cfg(test)]
mod tests;
