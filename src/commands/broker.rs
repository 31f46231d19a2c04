//! `siji broker`

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::admin::{self, Ready};
use crate::broker::{self, BrokerConfig};
use crate::cli;
use crate::failure::{DONE, Failure};
use crate::settings::Settings;
use crate::shutdown;

pub async fn run(args: cli::Broker, settings: Settings) -> Result<ExitCode, Failure> {
    let config = BrokerConfig {
        listen: args.listen.unwrap_or(settings.broker.listen),
        advertised: args.advertised.or(settings.broker.advertised),
        data_dir: args.data_dir.unwrap_or(settings.broker.data_dir),
    };
    let mut requested = pin!(shutdown::requested()?);
    let mut broker = tokio::select! {
        started = broker::start(config) => started?,
        () = &mut requested => return Ok(ExitCode::from(DONE)),
    };
    let probe = broker.probe();
    let ready: Ready = Arc::new(move || {
        let probe = probe.clone();
        Box::pin(async move { probe.check().await.map_err(|error| error.to_string()) })
    });
    let stop = CancellationToken::new();
    let address = args.admin.unwrap_or(settings.admin.broker);
    // Nothing but its own storage stands behind a broker.
    let healthy = Arc::clone(&ready);
    let served = admin::serve(admin::bind(address).await?, healthy, ready, stop.clone())?;
    super::print(format!("siji broker: kafka at {}", broker.bootstrap()))?;
    tokio::select! {
        () = &mut requested => {}
        error = broker.failed() => return Err(error.into()),
    }
    broker.shutdown().await?;
    stop.cancel();
    served.abort();
    Ok(ExitCode::from(DONE))
}
