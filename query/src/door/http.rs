//! SQL over HTTP.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/sql` with `{"sql": "..", "params": [..]}` | rows |
//! | `GET /v1/sql?q=..` | rows |
//! | `GET /v1/tables` | tables with what they hold |
//! | `GET /v1/tables/{t}` | columns with meaning and unit |
//! | `GET /healthz` | 200 while the engine answers `SELECT 1` within a second, else 503; looked at once a second at most |
//! | `GET /readyz` | 200 while the lake can be read, else 503 with the reason |
//!
//! The format of rows is `format=json|ndjson|csv|arrow|parquet|table`, else by `Accept`, else JSON; `escape_formulas=true`
//! makes CSV safe for spreadsheets. The header `x-siji-versions` names the version of every table read
//! (`ledger=12,rollup=11`). JSON holds at most [`HttpOptions::json_rows`] rows, the other formats have no limit of their own.
//! The status is chosen when the first rows are there: a query that fails before has the status of its error, one that breaks
//! off later ends in an `error` member (JSON) or a broken connection (all others).
//!
//! Without tokens only loopback is served, to requests addressed to loopback; with tokens every `/v1` request needs
//! `Authorization: Bearer <token>`.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::Engine;

mod access;
mod health;
mod negotiation;
mod problem;
mod sql;
mod tables;

pub use access::TokenHash;

/// How the HTTP door is set up.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Who may ask, by token. Empty: anyone, on loopback only.
    pub tokens: Vec<TokenHash>,
    /// Largest request body in bytes.
    pub body_bytes: usize,
    /// Most rows of a JSON answer.
    pub json_rows: u64,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            body_bytes: 1 << 20,
            json_rows: 1_000_000,
        }
    }
}

/// Why the door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Anyone on the network could read everything.
    #[error(
        "{0} can be reached from other machines, but no token is configured: add one, or listen on 127.0.0.1"
    )]
    OpenToAll(SocketAddr),
    /// The socket failed.
    #[error("the query server's socket failed: {0}")]
    Socket(#[from] std::io::Error),
}

#[derive(Debug)]
struct Door {
    engine: Engine,
    options: HttpOptions,
    health: health::Health,
}

/// The routes, for a server that adds its own (`/metrics`).
pub fn router(engine: Engine, options: HttpOptions) -> Router {
    let body_bytes = options.body_bytes;
    let door = Arc::new(Door {
        engine,
        options,
        health: health::Health::default(),
    });
    Router::new()
        .route("/v1/sql", get(sql::by_url).post(sql::by_body))
        .route("/v1/tables", get(tables::all))
        .route("/v1/tables/{table}", get(tables::one))
        .layer(from_fn_with_state(Arc::clone(&door), access::check))
        .route("/healthz", get(health::healthy))
        .route("/readyz", get(health::ready))
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::unknown_method)
        .layer(DefaultBodyLimit::max(body_bytes))
        .with_state(door)
}

/// Serves [`router`] on `listener` until `shutdown` completes, then lets running answers end.
///
/// # Errors
/// [`DoorError`]; a listener that other machines can reach needs tokens.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    options: HttpOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), DoorError> {
    let address = listener.local_addr()?;
    may_listen(address, &options)?;
    tracing::info!(%address, tokens = options.tokens.len(), "query server listening");
    axum::serve(listener, router(engine, options))
        .with_graceful_shutdown(shutdown)
        .await?;
    Ok(())
}

/// Whether these options are safe on this address; for servers that serve [`router`] themselves.
///
/// # Errors
/// [`DoorError::OpenToAll`].
pub fn may_listen(address: SocketAddr, options: &HttpOptions) -> Result<(), DoorError> {
    if options.tokens.is_empty() && !address.ip().is_loopback() {
        return Err(DoorError::OpenToAll(address));
    }
    Ok(())
}
