//! A collector from start to stop.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::serve::ListenerExt;
use rdkafka::error::KafkaError;
use siji_schemas::validate::Reference;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{CollectorConfig, ConfigProblems};
use crate::heartbeat::Heart;
use crate::intake::{Counters, Door, Intake, router};
use crate::metrics;
use crate::ship::Shipper;
use crate::spool::{AppendError, Spool, SpoolError};

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
    Kafka(#[from] KafkaError),
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
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
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
    let counters = Arc::new(Counters::default());
    let heart = Heart {
        source_id: config.source_id.clone(),
        area: checked.area,
        reference: Arc::clone(&reference),
        counters: Arc::clone(&counters),
        started: Instant::now(),
    };
    let first = heart.clone();
    let greeting = Box::new(move |opening: &_| first.first_beat(opening));
    let path = config.data_dir.join(SPOOL_FILE);
    let limits = config.spool.clone();
    // After a crash the whole file is read; other work of the process goes on meanwhile.
    let opened = tokio::task::spawn_blocking(move || Spool::open(&path, limits, greeting)).await;
    let spool = Arc::new(opened.map_err(|_| SpoolError::Closed)??);
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
            let (stop, stopped) = oneshot::channel::<()>();
            let listener = listener.tap_io(|connection| {
                if let Err(error) = connection.set_nodelay(true) {
                    tracing::debug!(error = %error, "small answers may be delayed on a connection");
                }
            });
            let server = axum::serve(listener, router(Arc::clone(&door)).merge(extra));
            let server = server.with_graceful_shutdown(async move {
                if stopped.await.is_err() {
                    tracing::debug!("the collector was dropped without a shutdown");
                }
            });
            let task = tokio::spawn(server.into_future());
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
        if let Some(Server { stop, mut task }) = self.server {
            if stop.send(()).is_err() {
                tracing::error!("the http door had already stopped");
            }
            // Half of the time is for delivery.
            match tokio::time::timeout(deadline / 2, &mut task).await {
                Ok(Ok(Ok(()))) => {}
                Ok(stopped) => tracing::error!(?stopped, "the http door stopped badly"),
                Err(_) => {
                    task.abort();
                    late.push("http requests");
                }
            }
        }
        let (shipper, spool) = (Arc::clone(&self.shipper), Arc::clone(&self.spool));
        let closing = tokio::task::spawn_blocking(move || {
            shipper.stop(until);
            let undelivered = spool.gauges().depth;
            spool.close();
            undelivered
        });
        let undelivered = match closing.await {
            Ok(undelivered) => undelivered,
            Err(error) => {
                tracing::error!(error = %error, "closing the spool panicked");
                late.push("spool");
                0
            }
        };
        if undelivered > 0 {
            late.push("kafka delivery");
        }
        ShutdownReport { undelivered, late }
    }
}
