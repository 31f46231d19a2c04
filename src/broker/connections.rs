//! Accepts connections and carries frames between them and the routes; notices when the broker cannot go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rama::{Context, Service};
use tansu_storage::{Storage, StorageContainer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::BrokerError;
use super::error::brief;
use super::groups::{Groups, forget_the_silent};
use super::routes::Router;
use super::wal::Wal;

/// More clients than this are turned away.
const MOST_CONNECTIONS: usize = 1024;
/// Largest request; a batch is limited to 1 MiB, a request may hold several.
const LARGEST_REQUEST: usize = 16 * 1024 * 1024;
/// A connection that says nothing for this long is closed, as Kafka does; clients connect again.
const LONGEST_SILENCE: Duration = Duration::from_secs(600);
/// How often the engine is asked for a sign of life, and how often it applies the topics' retention.
const PULSE: Duration = Duration::from_secs(1);
const RETENTION_EVERY: Duration = Duration::from_secs(600);
/// What requests in hand get at a shutdown.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The broker's socket and all that hangs on it.
pub(super) struct Listener {
    pub(super) listener: TcpListener,
    pub(super) router: Router,
    pub(super) storage: StorageContainer,
    pub(super) wal: Arc<Wal>,
    pub(super) groups: Groups,
    pub(super) path: PathBuf,
}

impl Listener {
    /// Serves until `stop`, or until the engine or the disk fails.
    pub(super) async fn serve(self, stop: CancellationToken) -> Result<(), BrokerError> {
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut connections = JoinSet::new();
        let hang_up = CancellationToken::new();
        let dead = died(&self.storage);
        let retention = apply_retention(&self.storage);
        let forget = forget_the_silent(self.groups);
        tokio::pin!(dead, retention, forget);

        let ended = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                reason = &mut dead => break Err(BrokerError::Engine { path: self.path.clone(), reason }),
                source = self.wal.broken() => {
                    break Err(BrokerError::Sync { path: self.wal.path().to_owned(), source });
                }
                () = &mut retention => {}
                () = &mut forget => {}
                Some(ended) = connections.join_next() => {
                    if let Err(panic) = ended {
                        tracing::error!(error = %panic, "a broker connection was stopped by a defect");
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => match Arc::clone(&slots).try_acquire_owned() {
                        Ok(slot) => {
                            connections.spawn(converse(stream, peer, self.router.clone(), hang_up.clone(), slot));
                        }
                        Err(_) => tracing::warn!(%peer, limit = MOST_CONNECTIONS, "broker turned a client away"),
                    },
                    Err(error) => {
                        tracing::warn!(%error, "broker could not accept a connection");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        };
        drop(self.listener);
        hang_up.cancel();
        let finish = async { while connections.join_next().await.is_some() {} };
        if timeout(LAST_CALL, finish).await.is_err() {
            connections.shutdown().await;
        }
        ended
    }
}

/// Resolves with the reason when the engine's task is gone.
async fn died(storage: &StorageContainer) -> String {
    loop {
        sleep(PULSE).await;
        if let Err(error) = storage.ping().await {
            return brief(&error);
        }
    }
}

async fn apply_retention(storage: &StorageContainer) {
    loop {
        sleep(RETENTION_EVERY).await;
        if let Err(error) = storage.maintain(SystemTime::now()).await {
            tracing::warn!(error = %brief(&error), "broker could not apply retention");
        }
    }
}

/// One client, from its first request to its last.
async fn converse(
    mut stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    hang_up: CancellationToken,
    _slot: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "broker connection without TCP_NODELAY");
    }
    loop {
        let request = tokio::select! {
            () = hang_up.cancelled() => return,
            request = timeout(LONGEST_SILENCE, read_request(&mut stream)) => request,
        };
        let request = match request {
            Ok(Ok(Some(request))) => request,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => {
                tracing::warn!(%peer, %error, "broker closed a connection");
                return;
            }
        };
        let response = match router.serve(Context::default(), request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(%peer, error = %brief(&error), "broker could not answer a request");
                return;
            }
        };
        if let Err(error) = stream.write_all(&response).await {
            tracing::debug!(%peer, %error, "broker client went away");
            return;
        }
    }
}

/// The next request with its four bytes of length in front, as the routes want it; `None` at the end of the stream.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let size = i32::from_be_bytes(length);
    let size = usize::try_from(size)
        .ok()
        .filter(|size| *size <= LARGEST_REQUEST)
        .ok_or_else(|| {
            let reason = format!(
                "request of {size} bytes, at most {LARGEST_REQUEST} are taken: not a Kafka client?"
            );
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })?;
    let mut request = Vec::from(length);
    // Grows with what arrives, so that a length alone reserves nothing.
    let taken = stream.take(size as u64).read_to_end(&mut request).await?;
    if taken < size {
        Ok(None)
    } else {
        Ok(Some(Bytes::from(request)))
    }
}
