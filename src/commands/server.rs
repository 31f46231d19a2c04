//! `siji server`

use std::pin::pin;
use std::process::ExitCode;
use std::time::Instant;

use siji_collector::intake::{self, ConnectionLimits};
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
    let mut requested = pin!(shutdown::requested()?);
    let engine = engine(&settings, args.lake.as_deref()).await?;
    let address = args.listen.unwrap_or(settings.server.listen);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::new(format!("cannot listen on {address}: {error}")))?;
    let stop = CancellationToken::new();
    let serving = serve(listener, engine, &settings, stop.clone())?;
    tokio::pin!(serving);
    tokio::select! {
        () = &mut requested => {}
        ended = &mut serving => {
            ended?;
            return Err(Failure::new("the server ended by itself"));
        }
    }
    stop.cancel();
    serving.await?;
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
        let stop = async {
            stop.cancelled().await;
            Instant::now() + shutdown::DEADLINE
        };
        let cut_off = intake::serve(listener, router, ConnectionLimits::default(), stop).await;
        if cut_off > 0 {
            tracing::warn!(
                connections = cut_off,
                "queries were still running and are cut off"
            );
        }
        Ok(())
    })
}
