//! Serves HTTP on a listener, with the limits that a bare hyper leaves open: how many connections there are, how long
//! a client may take to say what it wants, and how long a shutdown waits for it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};

/// Pause after an error that is not one connection's, such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// What clients of a listener may take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Most connections at a time; others wait in the system's queue until one ends.
    pub connections: usize,
    /// Longest time until the header of a request is there, from the connection's beginning or the request before: so
    /// also how long an idle connection is kept.
    pub header: Duration,
    /// Most bytes that are read from a connection before somebody wants them: so also the largest head of a request.
    pub buffer: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            connections: 1024,
            header: Duration::from_secs(10),
            buffer: 64 << 10,
        }
    }
}

/// Serves HTTP/1.1 until `stop` resolves, which says how long running requests may then take. No connection is taken
/// from then on, and those without a request are closed. Returns the number of connections that were cut off at that
/// time.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    stop: impl Future<Output = Instant>,
) -> usize {
    let places = Arc::new(Semaphore::new(limits.connections));
    let (stopping, hang_up) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    let deadline = loop {
        tokio::select! {
            deadline = &mut stop => break deadline,
            Some(ended) = connections.join_next() => ended_well(ended),
            (stream, place) = next(&listener, &places) => {
                let service = router.clone();
                connections.spawn(converse(stream, service, limits, hang_up.clone(), place));
            }
        }
    };
    drop(listener);
    stopping.send_replace(true);
    let finish = async {
        while let Some(ended) = connections.join_next().await {
            ended_well(ended);
        }
    };
    if tokio::time::timeout_at(deadline.into(), finish)
        .await
        .is_ok()
    {
        return 0;
    }
    let late = connections.len();
    connections.shutdown().await;
    late
}

/// The next connection, when there is a place for it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            // Nobody closes the semaphore.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// One client, from its first request to its last.
async fn converse(
    stream: TcpStream,
    router: Router,
    limits: ConnectionLimits,
    mut hang_up: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers may be delayed on a connection");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(limits.buffer)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let hang_up = async { hang_up.wait_for(|stopping| *stopping).await.is_ok() };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = hang_up => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn ended_well(ended: Result<(), JoinError>) {
    // What a panic says may quote what was sent.
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a connection was stopped by a defect");
    }
}
