//! `siji server`

use std::process::ExitCode;

use siji_lake::Lake;
use siji_query::{Engine, EngineOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::cli;
use crate::failure::{DONE, Failure};
use crate::settings::Settings;
use crate::shutdown;

pub async fn run(args: cli::Server, settings: Settings) -> Result<ExitCode, Failure> {
    let engine = engine(&settings, args.lake.as_deref()).await?;
    let address = args.listen.unwrap_or(settings.server.listen);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::new(format!("cannot listen on {address}: {error}")))?;
    let stop = CancellationToken::new();
    let serving = serve(listener, engine, &settings, stop.clone())?;
    tokio::pin!(serving);
    tokio::select! {
        requested = shutdown::requested() => requested?,
        ended = &mut serving => {
            ended?;
            return Err(Failure::new("the server ended by itself"));
        }
    }
    stop.cancel();
    match tokio::time::timeout(shutdown::DEADLINE, &mut serving).await {
        Ok(ended) => ended?,
        Err(_) => tracing::warn!("queries were still running and are cut off"),
    }
    Ok(ExitCode::from(DONE))
}

/// An engine on the configured lake, or on the one named.
pub(super) async fn engine(settings: &Settings, lake: Option<&str>) -> Result<Engine, Failure> {
    let lake = Lake::open(&settings.lake_location(lake)?).await?;
    let options = EngineOptions {
        limits: settings.server.limits(),
        ..EngineOptions::default()
    };
    Ok(Engine::open(lake, options)?)
}

/// Serves SQL, health and metrics until `stop`.
pub(super) fn serve(
    listener: TcpListener,
    engine: Engine,
    settings: &Settings,
    stop: CancellationToken,
) -> Result<impl Future<Output = Result<(), Failure>> + Send + use<>, Failure> {
    let options = settings.server.http()?;
    let address = listener.local_addr()?;
    siji_query::door::http::may_listen(address, &options)?;
    let router = siji_query::router(engine, options).merge(admin::metrics_router());
    tracing::info!(%address, "query server listening");
    Ok(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await?;
        Ok(())
    })
}
