//! `/metrics`, `/healthz`, `/readyz`.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use siji_collector::intake::{self, ConnectionLimits};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::telemetry;

/// What answers under way get at a shutdown.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Whether a role can do its work now, or why not.
pub type Ready =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// `/metrics` alone, for roles with a door of their own.
pub fn metrics_router() -> Router {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics() -> Response {
    match telemetry::render() {
        Ok(text) => (
            [(
                header::CONTENT_TYPE,
                "text/plain; version=0.0.4; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Takes the address of health and metrics.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(format!(
            "cannot listen on {address} for health and metrics: {error}"
        ))
    })
}

/// Serves health and metrics until `stop`. `healthy` is about this process alone, so that it is restarted only when
/// that may help; `ready` also about what it depends on.
pub fn serve(
    listener: TcpListener,
    healthy: Ready,
    ready: Ready,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, Failure> {
    let address = listener.local_addr()?;
    let router = metrics_router()
        .route("/healthz", get(async move || answer(&healthy, "ok").await))
        .route("/readyz", get(async move || answer(&ready, "ready").await));
    tracing::info!(%address, "health and metrics");
    Ok(tokio::spawn(async move {
        let stop = async {
            stop.cancelled().await;
            Instant::now() + LAST_CALL
        };
        intake::serve(listener, router, ConnectionLimits::default(), stop).await;
    }))
}

async fn answer(check: &Ready, good: &str) -> (StatusCode, String) {
    match check().await {
        Ok(()) => (StatusCode::OK, format!("{good}\n")),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn healthy_and_ready_are_two_questions() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let healthy: Ready = Arc::new(|| Box::pin(async { Err("the engine is gone".to_owned()) }));
        let ready: Ready = Arc::new(|| Box::pin(async { Ok(()) }));
        let stop = CancellationToken::new();
        let served = serve(listener, healthy, ready, stop.clone()).unwrap();
        let ask = async |path: &str| {
            let answer = reqwest::get(format!("http://{address}{path}")).await;
            let answer = answer.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        assert_eq!(
            ask("/healthz").await,
            (503, "the engine is gone\n".to_owned())
        );
        assert_eq!(ask("/readyz").await, (200, "ready\n".to_owned()));
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(3), served)
            .await
            .unwrap()
            .unwrap();
    }
}
