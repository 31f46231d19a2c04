//! The configuration: a TOML file, over it the environment, over that the command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use siji_aggregator::config::KafkaConfig;
use siji_aggregator::{AggregatorConfig, MaintainConfig};
use siji_collector::CollectorConfig;
use siji_lake::LakeLocation;
use siji_query::{HttpOptions, Limits, TokenHash};
use siji_schemas::area::Zone;
use siji_schemas::catalogue::{Catalogue, CatalogueSource};
use siji_schemas::validate::Reference;

use crate::cli::ReferenceArgs;
use crate::failure::Failure;

mod environment;
mod message;

use message::without_values;

/// All sections. Unknown keys are errors.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub reference: ReferenceSettings,
    pub lake: LakeSettings,
    pub kafka: KafkaConfig,
    pub collector: CollectorConfig,
    pub aggregator: AggregatorConfig,
    pub maintain: MaintainConfig,
    pub broker: BrokerSettings,
    pub server: ServerSettings,
    pub admin: AdminSettings,
    pub log: LogSettings,
    pub telemetry: TelemetrySettings,
}

/// `[reference]`: what events are judged by.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReferenceSettings {
    /// Built-in area registries.
    pub cities: Vec<String>,
    /// Zone of local days.
    pub zone: String,
    /// Directory with a city's own catalogue and areas.
    pub catalogue: Option<PathBuf>,
}

impl Default for ReferenceSettings {
    fn default() -> Self {
        let cities = siji_schemas::area::BUILTIN
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        Self {
            cities,
            zone: "+08:00".to_owned(),
            catalogue: None,
        }
    }
}

/// `[lake]`: where the tables are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeSettings {
    /// Directory or `s3://bucket/prefix`.
    pub location: String,
    /// Options of the object store.
    pub options: BTreeMap<String, String>,
}

impl Default for LakeSettings {
    fn default() -> Self {
        Self {
            location: "data/lake".to_owned(),
            options: BTreeMap::new(),
        }
    }
}

/// `[broker]`: the embedded broker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerSettings {
    /// Address for Kafka clients.
    pub listen: SocketAddr,
    /// What clients are told to connect to.
    pub advertised: Option<String>,
    /// Directory of its data.
    pub data_dir: PathBuf,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9092)),
            advertised: None,
            data_dir: "data/broker".into(),
        }
    }
}

/// `[server]`: the query server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// Address of HTTP.
    pub listen: SocketAddr,
    /// Who may ask; nobody named: anyone, on loopback only.
    pub tokens: Vec<ServerToken>,
    /// Milliseconds a query may take.
    pub deadline_ms: u64,
    /// Bytes a query may use.
    pub memory_bytes: usize,
    /// Bytes all queries together may use.
    pub total_memory_bytes: usize,
    /// Rows of one result at most.
    pub max_rows: Option<u64>,
    /// Queries that run at the same time.
    pub concurrent: usize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8470)),
            tokens: Vec::new(),
            deadline_ms: limits.deadline.as_millis() as u64,
            memory_bytes: limits.memory_bytes,
            total_memory_bytes: limits.total_memory_bytes,
            max_rows: limits.max_rows,
            concurrent: limits.concurrent,
        }
    }
}

/// One token of the query server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerToken {
    /// Name for logs.
    pub name: String,
    /// SHA-256 of the token, hex.
    pub sha256: String,
}

impl ServerSettings {
    /// As the engine wants them.
    pub fn limits(&self) -> Limits {
        Limits {
            deadline: Duration::from_millis(self.deadline_ms),
            memory_bytes: self.memory_bytes,
            total_memory_bytes: self.total_memory_bytes,
            max_rows: self.max_rows,
            concurrent: self.concurrent,
            ..Limits::default()
        }
    }

    /// As the HTTP door wants them.
    pub fn http(&self) -> Result<HttpOptions, Failure> {
        let tokens = self
            .tokens
            .iter()
            .map(|token| {
                TokenHash::from_hex(&token.name, &token.sha256).ok_or_else(|| {
                    Failure::usage(format!(
                        "server.tokens `{}`: sha256 must be 64 hex digits; see `siji token`",
                        token.name
                    ))
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(HttpOptions {
            tokens,
            ..HttpOptions::default()
        })
    }
}

/// `[admin]`: health and metrics of roles that have no HTTP of their own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Of the aggregator.
    pub aggregator: SocketAddr,
    /// Of the broker.
    pub broker: SocketAddr,
}

impl Default for AdminSettings {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            aggregator: loopback(8474),
            broker: loopback(8475),
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Directives as in `info,siji_collector=debug`.
    pub level: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            json: false,
        }
    }
}

/// `[telemetry]`: export by OTLP. Off without an endpoint; the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and its
/// like) stand over it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// Address of an OTLP collector for HTTP, such as `http://127.0.0.1:4318`.
    pub endpoint: Option<String>,
    /// Part of the requests without a trace of their own that are traced; others follow their trace.
    pub sample_ratio: f64,
    /// Seconds between exports of the metrics.
    pub metrics_interval_seconds: u64,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_ratio: 0.001,
            metrics_interval_seconds: 30,
        }
    }
}

impl Settings {
    /// Reads the file, if one is named, and the environment.
    pub fn load(file: Option<&Path>) -> Result<Settings, Failure> {
        let table = match file {
            None => toml::Table::new(),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    Failure::usage(format!("configuration {}: {error}", file.display()))
                })?;
                // Only where and why: the line itself may hold a password.
                let bad = |error: toml::de::Error| {
                    let before = error.span().and_then(|span| text.get(..span.start));
                    let line = before.map_or(1, |before| 1 + before.matches('\n').count());
                    let (file, why) = (file.display(), without_values(error.message()));
                    Failure::usage(format!("configuration {file}:{line}: {why}"))
                };
                // Once as it will be used, for errors that name the line; once as a table, to be overlaid.
                toml::from_str::<Settings>(&text).map_err(bad)?;
                text.parse().map_err(bad)?
            }
        };
        let mut settings: Settings = environment::overlay(table, std::env::vars())?;
        settings.collector_inherits_kafka();
        Ok(settings)
    }

    /// What is wrong with numbers that have a least or a most, whichever role they are for.
    pub fn check(&self) -> Result<(), Failure> {
        self.aggregator.check().map_err(Failure::usage)?;
        self.maintain.check().map_err(Failure::usage)?;
        if !(0.0..=1.0).contains(&self.telemetry.sample_ratio) {
            return Err(Failure::usage(
                "telemetry.sample_ratio: expected a number from 0 to 1",
            ));
        }
        if self.telemetry.metrics_interval_seconds == 0 {
            return Err(Failure::usage(
                "telemetry.metrics_interval_seconds: expected 1 or more",
            ));
        }
        Ok(())
    }

    /// Variables of the environment that look like ours and are read by nobody.
    pub fn strangers() -> Vec<String> {
        environment::strangers(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
    }

    /// Collectors ship to the same Kafka, in each point that their own section leaves open.
    fn collector_inherits_kafka(&mut self) {
        let default = siji_collector::CollectorConfig::default().kafka;
        let theirs = &mut self.collector.kafka;
        if theirs.brokers == default.brokers {
            theirs.brokers.clone_from(&self.kafka.brokers);
        }
        if theirs.topic == default.topic {
            theirs.topic.clone_from(&self.kafka.topic);
        }
        for (property, value) in &self.kafka.properties {
            theirs
                .properties
                .entry(property.clone())
                .or_insert_with(|| value.clone());
        }
    }

    /// Takes what the command line says of reference data.
    pub fn apply_reference(&mut self, args: &ReferenceArgs) {
        if let Some(cities) = &args.cities {
            self.reference.cities.clone_from(cities);
        }
        if args.catalogue.is_some() {
            self.reference.catalogue.clone_from(&args.catalogue);
        }
    }

    /// Takes what a mapping says of the areas and the zone of its log.
    pub fn apply_mapping(&mut self, choice: &siji_collector::import::ReferenceChoice) {
        if let Some(cities) = &choice.cities {
            self.reference.cities.clone_from(cities);
        }
        if choice.catalogue.is_some() {
            self.reference.catalogue.clone_from(&choice.catalogue);
        }
        if let Some(zone) = &choice.zone {
            self.reference.zone.clone_from(zone);
        }
    }

    /// Loads areas and catalogue.
    pub fn load_reference(&self) -> Result<Reference, Failure> {
        let zone = Zone::parse(&self.reference.zone).ok_or_else(|| {
            Failure::usage(format!(
                "reference.zone: `{}` is no offset such as +08:00",
                self.reference.zone
            ))
        })?;
        Reference::load(
            self.reference.catalogue.as_deref(),
            &self.reference.cities,
            zone,
        )
        .map_err(|problems| Failure::usage(format!("reference data:\n{problems}")))
    }

    /// Loads the catalogue alone.
    pub fn load_catalogue(&self) -> Result<Catalogue, Failure> {
        let source = match &self.reference.catalogue {
            Some(directory) => CatalogueSource::Directory(directory.clone()),
            None => CatalogueSource::Builtin,
        };
        Catalogue::load(&source)
            .map_err(|problems| Failure::usage(format!("catalogue:\n{problems}")))
    }

    /// Where the lake is, unless the command line says otherwise.
    pub fn lake_location(&self, flag: Option<&str>) -> Result<LakeLocation, Failure> {
        let location = flag.unwrap_or(&self.lake.location);
        LakeLocation::parse(location, self.lake.options.clone())
            .map_err(|error| Failure::usage(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
