//! Configuration of a collector: `[collector]` in the file.

use std::path::PathBuf;

use serde::Deserialize;
use siji_schemas::personal::contains_raw_personal;
use siji_schemas::validate::Reference;

use crate::clock::now_ms;
use crate::intake::{IntakeLimits, TokenConfig, Tokens};
use crate::pseudonymise::{CityKey, KeyError};
use crate::ship::KafkaConfig;
use crate::spool::SpoolLimits;

/// A collector's configuration. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectorConfig {
    /// Address of the HTTP door; empty = none, events come in-process only. Default `127.0.0.1:8471`.
    pub listen: String,
    /// Name of this collector in every event: letters, digits, `.`, `_`, `-`, at most 64. Required.
    pub source_id: String,
    /// Area the collector stands for; its heartbeats belong there. Required.
    pub area: String,
    /// Directory of the spool. Default `data/collector`.
    pub data_dir: PathBuf,
    /// Seconds between heartbeats. Default 30.
    pub heartbeat_seconds: u64,
    /// File that holds the city's pseudonym key as hex digits, at least 32 bytes.
    pub pseudonym_key_file: Option<PathBuf>,
    /// The same key in the configuration itself (from the environment, say). At most one of the two.
    pub pseudonym_key: Option<Secret>,
    /// Who may send.
    pub tokens: Vec<TokenConfig>,
    /// Limits of the HTTP door.
    pub limits: IntakeLimits,
    /// Limits of the spool.
    pub spool: SpoolLimits,
    /// The Kafka connection.
    pub kafka: KafkaConfig,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        CollectorConfig {
            listen: "127.0.0.1:8471".to_owned(),
            source_id: String::new(),
            area: String::new(),
            data_dir: PathBuf::from("data/collector"),
            heartbeat_seconds: 30,
            pseudonym_key_file: None,
            pseudonym_key: None,
            tokens: Vec::new(),
            limits: IntakeLimits::default(),
            spool: SpoolLimits::default(),
            kafka: KafkaConfig::default(),
        }
    }
}

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("collector configuration: {}", .0.join("; "))]
pub struct ConfigProblems(pub Vec<String>);

/// What a checked configuration comes to.
pub(crate) struct Checked {
    pub tokens: Tokens,
    pub key: Option<CityKey>,
    /// Registry form of the collector's area.
    pub area: String,
}

impl CollectorConfig {
    /// Checks everything that does not need the disk of the spool or the network, against the reference data.
    ///
    /// # Errors
    /// All problems, each naming its key.
    pub fn check(&self, reference: &Reference) -> Result<(), ConfigProblems> {
        self.prepare(reference).map(|_| ())
    }

    pub(crate) fn prepare(&self, reference: &Reference) -> Result<Checked, ConfigProblems> {
        let mut problems = Vec::new();
        if !is_source_id(&self.source_id) {
            problems
                .push("source_id: expected 1 to 64 letters, digits, `.`, `_` or `-`".to_owned());
        }
        let today = reference.zone.day_of(now_ms());
        let area = reference
            .areas
            .get(&self.area, today)
            .map(|area| area.code.clone());
        if area.is_none() {
            problems.push(format!(
                "area: \"{}\" is in no registry, or not valid today",
                self.area
            ));
        }
        if self.heartbeat_seconds == 0 {
            problems.push("heartbeat_seconds: expected at least 1".to_owned());
        }
        if self.spool.full_at() < MIN_SPOOL_BYTES {
            problems.push(format!(
                "spool.max_bytes: expected at least {} MiB",
                MIN_SPOOL_BYTES >> 19
            ));
        }
        if self.spool.queue_requests == 0 {
            problems.push("spool.queue_requests: expected at least 1".to_owned());
        }
        if self.kafka.max_in_flight == 0 {
            problems.push("kafka.max_in_flight: expected at least 1".to_owned());
        }
        problems.extend(
            self.kafka
                .check()
                .into_iter()
                .map(|problem| problem.to_string()),
        );
        problems.extend(self.limits.check());
        let tokens = Tokens::new(&self.tokens, &reference.areas).unwrap_or_else(|found| {
            problems.extend(found);
            Tokens::default()
        });
        let key = self.city_key().unwrap_or_else(|error| {
            problems.push(error.to_string());
            None
        });
        match area {
            Some(area) if problems.is_empty() => Ok(Checked { tokens, key, area }),
            _ => Err(ConfigProblems(problems)),
        }
    }

    fn city_key(&self) -> Result<Option<CityKey>, KeyError> {
        match (&self.pseudonym_key, &self.pseudonym_key_file) {
            (Some(_), Some(_)) => Err(KeyError::Twice),
            (Some(hex), None) => CityKey::from_hex("pseudonym_key", &hex.0).map(Some),
            (None, Some(file)) => CityKey::from_file(file).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Smaller spools could not hold a single large batch.
const MIN_SPOOL_BYTES: u64 = 2 << 20;

fn is_source_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len())
        && text.bytes().all(plain)
        && !contains_raw_personal(text.as_bytes())
}
