//! The parts of the pipeline, started in one process and stopped in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::future::join_all;
use siji_aggregator::config::KafkaConfig;
use siji_aggregator::{Aggregator, AggregatorConfig};
use siji_collector::{CollectorConfig, Intake, RunningCollector, TokenConfig, hash_token};
use siji_lake::LakeLocation;
use siji_schemas::validate::Reference;
use tokio::time::{Instant, timeout, timeout_at};

use super::generate::Source;
use crate::admin;
use crate::broker::{self, BrokerConfig, RunningBroker};
use crate::failure::Failure;

/// What the data directory holds, for the next version that opens it.
const MARKER: &str = "siji-data.json";
const FORMAT: u64 = 1;

/// Broker, aggregator and collectors at work.
pub struct Site {
    broker: Option<RunningBroker>,
    aggregator: Aggregator,
    /// Whether the aggregator has ended by itself: then there is nothing to stop.
    aggregator_over: bool,
    collectors: Vec<RunningCollector>,
    /// Where the lake is.
    pub lake: LakeLocation,
    /// Kafka's address.
    pub brokers: String,
}

/// What a site is to be.
pub struct Plan<'a> {
    /// Directory of everything.
    pub data_dir: &'a Path,
    /// Kafka to use; embedded if absent.
    pub brokers: Option<String>,
    /// Kafka settings besides the address.
    pub kafka: KafkaConfig,
    /// The aggregator's settings.
    pub aggregator: AggregatorConfig,
    /// Reference data.
    pub reference: Arc<Reference>,
    /// Collectors, the centre's first.
    pub sources: &'a [Source],
    /// Area of each collector's heartbeats, as `sources`.
    pub heartbeat_seconds: u64,
    /// What all collectors have in common: pseudonym key, limits.
    pub collector: CollectorConfig,
    /// Token and address of the centre's HTTP door, if it is to have one.
    pub door: Option<(String, String)>,
}

impl Site {
    /// Starts everything, in the order of dependence.
    pub async fn start(plan: Plan<'_>) -> Result<Site, Failure> {
        mark(plan.data_dir)?;
        let broker = match &plan.brokers {
            Some(_) => None,
            None => {
                let config = BrokerConfig {
                    listen: ([127, 0, 0, 1], 0).into(),
                    advertised: None,
                    data_dir: plan.data_dir.join("broker"),
                };
                Some(broker::start(config).await?)
            }
        };
        let brokers = match (&broker, &plan.brokers) {
            (Some(broker), _) => broker.bootstrap().to_owned(),
            (None, Some(brokers)) => brokers.clone(),
            (None, None) => return Err(Failure::new("no broker")),
        };
        let kafka = KafkaConfig {
            brokers: brokers.clone(),
            // The only one.
            group: Some(String::new()),
            ..plan.kafka
        };
        let lake_dir = plan.data_dir.join("lake");
        let lake_dir = lake_dir
            .to_str()
            .ok_or_else(|| Failure::usage("the data directory's name is not UTF-8"))?;
        let lake = LakeLocation::parse(lake_dir, Default::default())?;
        let aggregator = Aggregator::start(
            lake.clone(),
            kafka.clone(),
            plan.aggregator,
            Arc::clone(&plan.reference),
        )
        .await?;
        let mut collectors = Vec::new();
        for (index, source) in plan.sources.iter().enumerate() {
            let mut config = CollectorConfig {
                listen: String::new(),
                source_id: source.id.clone(),
                area: source.areas.first().cloned().unwrap_or_default(),
                data_dir: collector_dir(plan.data_dir, &source.id),
                heartbeat_seconds: plan.heartbeat_seconds,
                ..plan.collector.clone()
            };
            config.kafka.brokers.clone_from(&kafka.brokers);
            config.kafka.topic.clone_from(&kafka.topic);
            config.kafka.properties.clone_from(&kafka.properties);
            if let (0, Some((token, listen))) = (index, &plan.door) {
                config.listen.clone_from(listen);
                config.tokens.push(TokenConfig {
                    name: "demo".to_owned(),
                    sha256: hash_token(token),
                    areas: source.areas.clone(),
                    rights: vec![siji_collector::Right::Write],
                    max_events_per_second: 100_000,
                });
            }
            let extra = if index == 0 {
                admin::metrics_router()
            } else {
                Router::new()
            };
            collectors
                .push(siji_collector::start(config, Arc::clone(&plan.reference), extra).await?);
        }
        Ok(Site {
            broker,
            aggregator,
            aggregator_over: false,
            collectors,
            lake,
            brokers,
        })
    }

    /// The collectors, as planned.
    pub fn collectors(&self) -> &[RunningCollector] {
        &self.collectors
    }

    /// The ways into the collectors, as planned.
    pub fn intakes(&self) -> Vec<Arc<Intake>> {
        let intakes = self.collectors.iter().map(RunningCollector::intake);
        intakes.cloned().collect()
    }

    /// The aggregator.
    pub fn aggregator(&self) -> &Aggregator {
        &self.aggregator
    }

    /// Resolves with the reason when a part ends by itself. Safe to drop and call again.
    pub async fn broken(&mut self) -> Failure {
        let (aggregator, over) = (&mut self.aggregator, &mut self.aggregator_over);
        let aggregator = async {
            if *over {
                return std::future::pending().await;
            }
            let ended = aggregator.ended().await;
            *over = true;
            match ended {
                Ok(()) => Failure::new("the aggregator ended by itself"),
                Err(error) => error.into(),
            }
        };
        match &mut self.broker {
            Some(broker) => tokio::select! {
                failure = aggregator => failure,
                error = broker.failed() => error.into(),
            },
            None => aggregator.await,
        }
    }

    /// Stops in the order of the data, so that nothing is left on the way: the collectors together, then the aggregator,
    /// then the broker. What is late is left behind; nothing acknowledged is lost by that.
    pub async fn stop(self, deadline: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        let third = deadline / 3;
        let collectors = self.collectors.into_iter();
        let stopping = join_all(collectors.map(|collector| collector.shutdown(third)));
        match timeout_at(began + third + third / 4, stopping).await {
            Ok(reports) => {
                let undelivered: u64 = reports.iter().map(|report| report.undelivered).sum();
                if undelivered > 0 {
                    tracing::warn!(undelivered, "records stay in the spools");
                }
            }
            Err(_) => tracing::warn!("collectors are still stopping and are left"),
        }
        let aggregated = if self.aggregator_over {
            Ok(())
        } else {
            let left = (began + 2 * third).saturating_duration_since(Instant::now());
            self.aggregator.shutdown(left).await
        };
        if let Some(broker) = self.broker {
            let left = (began + deadline).saturating_duration_since(Instant::now());
            match timeout(left, broker.shutdown()).await {
                Ok(stopped) => stopped?,
                Err(_) => tracing::warn!("the broker is still stopping and is left"),
            }
        }
        Ok(aggregated?)
    }
}

fn collector_dir(data_dir: &Path, source: &str) -> PathBuf {
    data_dir.join("collectors").join(source)
}

/// Marks a data directory as ours, or refuses one of another version.
fn mark(data_dir: &Path) -> Result<(), Failure> {
    let marker = data_dir.join(MARKER);
    let named = |error: std::io::Error| Failure::new(format!("{}: {error}", data_dir.display()));
    std::fs::create_dir_all(data_dir).map_err(named)?;
    match std::fs::read_to_string(&marker) {
        Ok(text) => {
            let format = serde_json::from_str::<serde_json::Value>(&text)
                .ok()
                .and_then(|marker| marker.get("format").and_then(serde_json::Value::as_u64));
            match format {
                Some(FORMAT) => Ok(()),
                other => Err(Failure::new(format!(
                    "{} is a data directory of format {}, this siji needs {FORMAT}: name a new directory",
                    data_dir.display(),
                    other.map_or("unknown".to_owned(), |format| format.to_string())
                ))),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::write(&marker, format!("{{\"format\":{FORMAT}}}\n")).map_err(named)
        }
        Err(error) => Err(named(error)),
    }
}
