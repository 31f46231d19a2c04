//! `siji collector`

use std::process::ExitCode;
use std::sync::Arc;

use crate::admin;
use crate::cli;
use crate::failure::{DONE, Failure};
use crate::settings::Settings;
use crate::shutdown;

pub async fn run(args: cli::Collector, mut settings: Settings) -> Result<ExitCode, Failure> {
    settings.apply_reference(&args.reference);
    let mut config = settings.collector.clone();
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    if let Some(data_dir) = args.data_dir {
        config.data_dir = data_dir;
    }
    if let Some(brokers) = args.brokers {
        config.kafka.brokers = brokers;
    }
    let reference = Arc::new(settings.load_reference()?);
    let collector = siji_collector::start(config, reference, admin::metrics_router()).await?;
    if let Some(address) = collector.local_addr() {
        tracing::info!(%address, "collector listening");
    }
    shutdown::requested().await?;
    let report = collector.shutdown(shutdown::DEADLINE).await;
    if report.undelivered > 0 {
        tracing::warn!(
            undelivered = report.undelivered,
            "records stay in the spool and are sent at the next start"
        );
    }
    if !report.late.is_empty() {
        tracing::warn!(
            late = report.late.join(", "),
            "not done in time; nothing acknowledged is lost"
        );
    }
    Ok(ExitCode::from(DONE))
}
