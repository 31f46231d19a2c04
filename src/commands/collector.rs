//! `siji collector`

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use chrono::DateTime;
use siji_collector::{CollectorConfig, StartError};
use siji_schemas::validate::Reference;

use crate::cli::{self, CollectorJob, Output};
use crate::failure::{DONE, Failure};
use crate::settings::Settings;
use crate::shutdown;
use crate::{admin, allocator};

/// Milliseconds until freed memory is the system's again: a collector shares a small machine with others.
const FREED_MS: isize = 50;

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
    if let Some(CollectorJob::Resend(job)) = args.job {
        return resend(&job, config, reference).await;
    }
    allocator::give_back_within(FREED_MS)?;
    let mut requested = pin!(shutdown::requested()?);
    let collector = tokio::select! {
        started = siji_collector::start(config, reference, admin::metrics_router()) => started.map_err(not_started)?,
        () = &mut requested => return Ok(ExitCode::from(DONE)),
    };
    if let Some(address) = collector.local_addr() {
        tracing::info!(%address, "collector listening");
    }
    requested.await;
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

fn not_started(error: StartError) -> Failure {
    match error {
        StartError::Config(_) | StartError::Kafka(_) => Failure::usage(error.to_string()),
        StartError::Listen { ref source, .. }
            if source.kind() == std::io::ErrorKind::InvalidInput =>
        {
            Failure::usage(error.to_string())
        }
        other => other.into(),
    }
}

async fn resend(
    job: &cli::Resend,
    config: CollectorConfig,
    reference: Arc<Reference>,
) -> Result<ExitCode, Failure> {
    let since = DateTime::parse_from_rfc3339(&job.since).map_err(|error| {
        Failure::usage(format!(
            "--since {}: {error}; an instant looks like 2026-11-23T06:00:00+08:00",
            job.since
        ))
    })?;
    let resent = siji_collector::resend(config, reference, since.timestamp_millis())
        .await
        .map_err(not_started)?;
    match job.output {
        Output::Json => super::print_json(&serde_json::json!({ "records": resent.records }))?,
        Output::Text => super::print(format!(
            "{} records will be sent again when the collector starts",
            resent.records
        ))?,
    }
    Ok(ExitCode::from(DONE))
}
