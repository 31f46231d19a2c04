//! Who may send what: bearer tokens, known only by their hashes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use siji_schemas::area::{AreaId, AreaTree, Lineage};
use subtle::ConstantTimeEq;

use super::bucket::{Bucket, Standing};

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Sending events.
    Write,
    /// Giving `recorded_at` oneself, for data recorded elsewhere before.
    Import,
}

/// A token in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Name for logs and problems.
    pub name: String,
    /// [`hash_token`] of the token: the token itself stands in no file here.
    pub sha256: String,
    /// Areas it may report for, everything below them included.
    pub areas: Vec<String>,
    /// What it allows. Default `["write"]`.
    #[serde(default = "write_only")]
    pub rights: Vec<Right>,
    /// Most events a second, twice that at once; a request that cannot be read counts as one. Default 100,000.
    #[serde(default = "default_rate")]
    pub max_events_per_second: u32,
}

fn write_only() -> Vec<Right> {
    vec![Right::Write]
}

fn default_rate() -> u32 {
    100_000
}

/// The SHA-256 of a token in hex digits, as it stands in the configuration. No salt and no stretching: tokens are
/// random, of 128 bits and more.
pub fn hash_token(token: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}

/// Who sends: a token's holder, or a part of this process.
#[derive(Debug)]
pub struct Principal {
    name: String,
    /// Registry forms, as configured, and their ids in the tree.
    areas: Vec<(String, AreaId)>,
    rights: Vec<Right>,
    bucket: Mutex<Bucket>,
}

impl Principal {
    /// A principal of this process. Fails with every area that is in no registry, or if there is none.
    pub fn new(
        name: &str,
        areas: &[&str],
        rights: &[Right],
        tree: &AreaTree,
    ) -> Result<Principal, Vec<String>> {
        let config = TokenConfig {
            name: name.to_owned(),
            sha256: String::new(),
            areas: areas.iter().map(|area| (*area).to_owned()).collect(),
            rights: rights.to_vec(),
            max_events_per_second: u32::MAX,
        };
        Principal::of(&config, tree)
    }

    fn of(config: &TokenConfig, tree: &AreaTree) -> Result<Principal, Vec<String>> {
        let mut problems = Vec::new();
        if config.areas.is_empty() {
            problems.push(format!(
                "tokens {}: areas: expected at least one",
                config.name
            ));
        }
        if config.max_events_per_second == 0 {
            problems.push(format!(
                "tokens {}: max_events_per_second: expected at least 1",
                config.name
            ));
        }
        let found = config.areas.iter().filter_map(|code| {
            let found = tree.id(code).map(|id| (tree.code(id).to_owned(), id));
            if found.is_none() {
                problems.push(format!(
                    "tokens {}: areas: \"{code}\" is in no registry",
                    config.name
                ));
            }
            found
        });
        let areas = found.collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let bucket = Mutex::new(Bucket::new(config.max_events_per_second, Instant::now()));
        Ok(Principal {
            name: config.name.clone(),
            areas,
            rights: config.rights.clone(),
            bucket,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has a right.
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// Whether an area with this lineage is one of its areas or below one.
    pub(crate) fn covers(&self, place: &Lineage) -> bool {
        self.areas.iter().any(|(_, area)| place.is_within(*area))
    }

    /// Codes of its areas, for a message.
    pub(crate) fn area_list(&self) -> String {
        self.areas
            .iter()
            .map(|(code, _)| code.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The area its records belong to when they name none that is known.
    pub(crate) fn first_area(&self) -> &str {
        self.areas.first().map_or("", |(code, _)| code)
    }

    /// Whether anything is left of the rate; if not, how long to wait.
    pub(super) fn admit(&self) -> Result<(), Duration> {
        self.bucket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(Instant::now())
    }

    /// Gives back what was charged for events that were not taken.
    pub(super) fn give_back(&self, events: usize) {
        self.bucket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .give_back(events);
    }

    /// What is left of the rate.
    pub(super) fn standing(&self) -> Standing {
        self.bucket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .standing(Instant::now())
    }

    /// Takes the events off the rate, unless it is used up: one step, whatever comes at the same time.
    pub(super) fn charge(&self, events: usize) -> Result<(), Duration> {
        self.bucket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .charge(Instant::now(), events)
    }
}

/// All tokens of a collector.
#[derive(Debug, Default)]
pub struct Tokens {
    all: Vec<([u8; 32], Arc<Principal>)>,
}

impl Tokens {
    /// Reads the configured tokens. Fails with all problems.
    pub fn new(configs: &[TokenConfig], tree: &AreaTree) -> Result<Tokens, Vec<String>> {
        let mut problems = Vec::new();
        let mut all: Vec<([u8; 32], Arc<Principal>)> = Vec::new();
        for config in configs {
            let hash = HEXLOWER_PERMISSIVE
                .decode(config.sha256.as_bytes())
                .ok()
                .and_then(|h| <[u8; 32]>::try_from(h).ok());
            if hash.is_none() {
                problems.push(format!(
                    "tokens {}: sha256: expected 64 hex digits, the SHA-256 of the token",
                    config.name
                ));
            }
            if hash.is_some_and(|hash| all.iter().any(|(known, _)| *known == hash)) {
                problems.push(format!(
                    "tokens {}: sha256: the same token stands twice",
                    config.name
                ));
            }
            match Principal::of(config, tree) {
                Ok(principal) => all.extend(hash.map(|hash| (hash, Arc::new(principal)))),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            Ok(Tokens { all })
        } else {
            Err(problems)
        }
    }

    /// Who holds a token. Takes the same time whichever token it is, or none.
    pub fn find(&self, token: &str) -> Option<&Arc<Principal>> {
        let hash = Sha256::digest(token.as_bytes());
        let mut found = None;
        for (known, principal) in &self.all {
            if bool::from(known.ct_eq(hash.as_slice())) {
                found = Some(principal);
            }
        }
        found
    }
}
