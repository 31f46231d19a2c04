//! `siji aggregator`

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use siji_aggregator::topic::TopicError;
use siji_aggregator::{Aggregator, AggregatorError, Maintainer};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Ready};
use crate::cli;
use crate::failure::{DONE, Failure};
use crate::settings::Settings;
use crate::shutdown;

/// What a fold under way gets to end; it may be broken off anywhere.
const MAINTAINER_DEADLINE: Duration = Duration::from_secs(1);

/// Takes what the command line says.
pub(super) fn apply(args: &cli::Aggregator, settings: &mut Settings) {
    if let Some(brokers) = &args.brokers {
        settings.kafka.brokers.clone_from(brokers);
    }
    if let Some(topic) = &args.topic {
        settings.kafka.topic.clone_from(topic);
    }
    if let Some(partitions) = args.partitions {
        settings.kafka.partitions = partitions;
    }
    if let Some(group) = &args.group {
        settings.kafka.group = Some(group.clone());
    }
    if let Some(instance) = &args.instance_id {
        settings.kafka.instance_id = Some(instance.clone());
    }
    if let Some(lake) = &args.lake {
        settings.lake.location.clone_from(lake);
    }
    settings.apply_reference(&args.reference);
}

pub async fn run(args: cli::Aggregator, mut settings: Settings) -> Result<ExitCode, Failure> {
    apply(&args, &mut settings);
    let reference = Arc::new(settings.load_reference()?);
    let lake = settings.lake_location(None)?;
    let mut requested = pin!(shutdown::requested()?);
    // Before the lake is touched: a process that cannot be watched must not leave its registry there.
    let listener = admin::bind(args.admin.unwrap_or(settings.admin.aggregator)).await?;
    let (kafka, config) = (settings.kafka.clone(), settings.aggregator.clone());
    let maintained = lake.clone();
    let mut aggregator = tokio::select! {
        started = Aggregator::start(lake, kafka, config, reference) => started.map_err(not_started)?,
        () = &mut requested => return Ok(ExitCode::from(DONE)),
    };
    // After the lake was made; it never ends the aggregator.
    let maintainer = match settings.maintain.enabled {
        true => Some(Maintainer::start(maintained, settings.maintain.clone())?),
        false => None,
    };
    let health = aggregator.health();
    let ready: Ready = Arc::new(move || {
        let health = Arc::clone(&health);
        Box::pin(async move { health.ready() })
    });
    let stop = CancellationToken::new();
    let health = aggregator.health();
    let healthy: Ready = Arc::new(move || {
        let health = Arc::clone(&health);
        Box::pin(async move { health.alive() })
    });
    let served = admin::serve(listener, healthy, ready, stop.clone())?;
    tokio::select! {
        () = &mut requested => {}
        ended = aggregator.ended() => {
            ended?;
            return Err(Failure::new("the aggregator ended by itself"));
        }
    }
    if let Some(maintainer) = maintainer {
        maintainer.shutdown(MAINTAINER_DEADLINE).await;
    }
    aggregator.shutdown(shutdown::DEADLINE).await?;
    stop.cancel();
    served.abort();
    Ok(ExitCode::from(DONE))
}

fn not_started(error: AggregatorError) -> Failure {
    match error {
        AggregatorError::Config(_) | AggregatorError::Topic(TopicError::Configuration { .. }) => {
            Failure::usage(error.to_string())
        }
        other => other.into(),
    }
}
