//! The embedded Kafka broker: `siji broker`, and in-process for the demo, `siji import` and the tests.
//!
//! ```text
//! TCP -> connections (frames, limits) -> routes -> produce | fetch | list offsets | producer ids | topics | groups
//!                                                     |        ^
//!                                                     v        | woken by produce
//!                                                  tansu's SQLite engine -> DIR/broker.db (+ -wal, synced before the reply)
//! ```
//!
//! The protocol, the storage engine and the committed offsets are [tansu](https://tansu.io)'s. The listener, the
//! consumer groups and five of the request routes are ours, because tansu 0.6 as it comes
//! - picks its own listening socket, so that a free port cannot be asked for and then advertised;
//! - lets requests that any client may send (a fetch from a deleted topic, a new epoch for a producer, a wrong
//!   partition) panic inside the one task that owns the database, after which every request fails for ever;
//! - answers `produce` before the write is on disk, sleeps up to half of `fetch.wait.max.ms` with data in hand,
//!   never says `OFFSET_OUT_OF_RANGE`, and cannot hand out a record larger than what the consumer asked for;
//! - begins a generation of a consumer group with whoever asks first, so that two members may hold one partition, or
//!   nobody holds it for good (ADR 11).
//!
//! What it is not: a cluster (one node, no replication), a place for transactions (refused), TLS or SASL (it listens
//! on the loopback address unless told otherwise). Cities run Apache Kafka; nothing but the address changes.

mod connections;
mod directory;
mod error;
mod fetch;
mod groups;
mod offsets;
mod produce;
mod producers;
mod routes;
mod topics;
mod unpack;
mod wal;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tansu_storage::{BrokerRegistrationRequest, Storage, StorageContainer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use connections::Listener;
use directory::BrokerDirectory;
pub use error::BrokerError;
use error::brief;
use wal::Wal;

/// Tansu logs whole requests, and on errors keys and values, through `tracing`. Add these directives to every
/// filter, so that no payload reaches a log; what matters is logged here, without payloads.
pub const LOG_DIRECTIVES: [&str; 5] = [
    "tansu_broker=off",
    "tansu_storage=off",
    "tansu_service=off",
    "tansu_sans_io=off",
    "tansu_auth=off",
];

const NODE_ID: i32 = 1;
/// How long a shutdown and a probe wait for the engine.
const ENGINE_PATIENCE: Duration = Duration::from_secs(3);

/// Where the broker listens and keeps its data.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Address to listen on. Port 0 takes a free port, to be found in [`RunningBroker::bootstrap`].
    pub listen: SocketAddr,
    /// `HOST` or `HOST:PORT` that clients are told to connect to; the listening address and port where missing.
    pub advertised: Option<String>,
    /// Directory of the database; made if missing. One broker at a time may use it.
    pub data_dir: PathBuf,
}

/// Starts a broker and returns once it accepts connections.
///
/// # Errors
/// See [`BrokerError`]; every message is one line that names the path or address.
pub async fn start(config: BrokerConfig) -> Result<RunningBroker, BrokerError> {
    let data_dir = config.data_dir.clone();
    let directory = tokio::task::spawn_blocking(move || BrokerDirectory::open(&data_dir))
        .await
        .map_err(|panic| BrokerError::Defect {
            reason: panic.to_string(),
        })??;

    let listen_failed = |source| BrokerError::Listen {
        listen: config.listen,
        source,
    };
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(listen_failed)?;
    let bound = listener.local_addr().map_err(listen_failed)?;
    let bootstrap = advertised(config.advertised.as_deref(), bound)?;

    let stop = CancellationToken::new();
    let stop_engine = CancellationToken::new();
    let storage = open_storage(&directory, &bootstrap, stop_engine.clone()).await?;
    let wal = Arc::new(Wal::new(directory.wal_path()));
    let groups = groups::Groups::new(storage.clone());
    let router =
        routes::router(directory.cluster_id(), &storage, &wal, &groups).map_err(|error| {
            BrokerError::Engine {
                path: directory.path().to_owned(),
                reason: brief(&error),
            }
        })?;

    let serving = Listener {
        listener,
        router,
        storage: storage.clone(),
        wal,
        groups,
        path: directory.path().to_owned(),
    };
    let task = tokio::spawn(serving.serve(stop.clone()));
    tracing::info!(address = %bootstrap, directory = %directory.path().display(), "broker is ready");
    Ok(RunningBroker {
        bootstrap,
        task: Some(task),
        stop,
        stop_engine,
        storage: Some(storage),
        directory,
    })
}

/// A broker that accepts connections until it is shut down or dropped.
#[derive(Debug)]
pub struct RunningBroker {
    bootstrap: String,
    task: Option<JoinHandle<Result<(), BrokerError>>>,
    stop: CancellationToken,
    stop_engine: CancellationToken,
    storage: Option<StorageContainer>,
    directory: BrokerDirectory,
}

impl RunningBroker {
    /// `HOST:PORT` for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Resolves when the broker can serve no longer, with the reason. Never resolves while it works; safe to drop and
    /// call again, so it can stand in a `select!`.
    pub async fn failed(&mut self) -> BrokerError {
        let Some(task) = self.task.as_mut() else {
            return std::future::pending().await;
        };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => BrokerError::Defect {
                reason: "the listener ended without being asked to".to_owned(),
            },
            Err(panic) => BrokerError::Defect {
                reason: panic.to_string(),
            },
        }
    }

    /// For `/readyz`: a handle that asks the storage engine for a sign of life.
    #[must_use]
    pub fn probe(&self) -> BrokerProbe {
        BrokerProbe {
            storage: self.storage.clone(),
            path: self.directory.path().to_owned(),
        }
    }

    /// Lets requests in hand finish (up to a second), closes the connections, then the database, then gives up the
    /// directory's lock. A second broker can start on the directory when this returns.
    pub async fn shutdown(mut self) -> Result<(), BrokerError> {
        self.stop.cancel();
        let ended = match self.task.take() {
            Some(task) => task.await.unwrap_or_else(|panic| {
                Err(BrokerError::Defect {
                    reason: panic.to_string(),
                })
            }),
            None => Ok(()),
        };
        self.stop_engine.cancel();
        self.storage = None;
        // The engine's task cannot be joined; SQLite removes the log when the last connection has closed.
        let wal = self.directory.wal_path();
        let closed = async {
            while wal.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(ENGINE_PATIENCE, closed).await.is_err() {
            tracing::warn!(directory = %self.directory.path().display(), "broker storage is still busy, leaving it");
        }
        ended
    }
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        self.stop.cancel();
        self.stop_engine.cancel();
    }
}

/// Asks a running broker's storage for a sign of life.
#[derive(Clone, Debug)]
pub struct BrokerProbe {
    storage: Option<StorageContainer>,
    path: PathBuf,
}

impl BrokerProbe {
    /// # Errors
    /// [`BrokerError::Engine`] if the storage engine fails or says nothing for three seconds.
    pub async fn check(&self) -> Result<(), BrokerError> {
        let failed = |reason: String| BrokerError::Engine {
            path: self.path.clone(),
            reason,
        };
        let Some(storage) = &self.storage else {
            return Err(failed("it was shut down".to_owned()));
        };
        match tokio::time::timeout(ENGINE_PATIENCE, storage.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(brief(&error))),
            Err(_) => Err(failed(format!(
                "no answer within {} s",
                ENGINE_PATIENCE.as_secs()
            ))),
        }
    }
}

/// Opens the engine; waits a little for a lock that a broker in this process, just shut down, has not quite let go of.
async fn open_storage(
    directory: &BrokerDirectory,
    bootstrap: &str,
    stop: CancellationToken,
) -> Result<StorageContainer, BrokerError> {
    let advertised =
        Url::parse(&format!("tcp://{bootstrap}")).map_err(|error| BrokerError::Advertised {
            address: bootstrap.to_owned(),
            reason: error.to_string(),
        })?;
    let storage_url = directory.storage_url()?;
    let started = Instant::now();
    loop {
        let reason =
            match try_storage(directory.cluster_id(), &storage_url, &advertised, &stop).await {
                Ok(storage) => return Ok(storage),
                Err(error) => brief(&error),
            };
        if !reason.contains("locked") || started.elapsed() > ENGINE_PATIENCE {
            return Err(BrokerError::Engine {
                path: directory.path().to_owned(),
                reason,
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn try_storage(
    cluster_id: &str,
    storage_url: &Url,
    advertised: &Url,
    stop: &CancellationToken,
) -> Result<StorageContainer, tansu_storage::Error> {
    let storage = StorageContainer::builder()
        .cluster_id(cluster_id)
        .node_id(NODE_ID)
        .advertised_listener(advertised.clone())
        .storage(storage_url.clone())
        .cancellation(stop.clone())
        .silent(true)
        .build()
        .await?;
    // The engine only logs a failure to make its tables; registering is the first statement that needs one.
    let cluster_id = cluster_id.to_owned();
    let incarnation_id = Uuid::new_v4();
    let registration = BrokerRegistrationRequest {
        broker_id: NODE_ID,
        cluster_id,
        incarnation_id,
        rack: None,
    };
    storage.register_broker(registration).await?;
    Ok(storage)
}

/// `HOST:PORT` that clients are told to use.
fn advertised(configured: Option<&str>, bound: SocketAddr) -> Result<String, BrokerError> {
    let refuse = |address: &str, reason: &str| {
        Err(BrokerError::Advertised {
            address: address.to_owned(),
            reason: reason.to_owned(),
        })
    };
    let Some(configured) = configured else {
        if bound.ip().is_unspecified() {
            return refuse(
                &bound.to_string(),
                "clients cannot connect to it: say which host name they should use",
            );
        }
        return Ok(bound.to_string());
    };
    let (host, port) = match configured.rsplit_once(':') {
        Some((host, port)) => match port.parse::<u16>() {
            Ok(port) if port > 0 => (host, port),
            _ => return refuse(configured, "the port is no number from 1 to 65535"),
        },
        None => (configured, bound.port()),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || !host.chars().all(plain) {
        return refuse(configured, "expected HOST or HOST:PORT");
    }
    Ok(format!("{host}:{port}"))
}
