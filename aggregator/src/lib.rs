//! Kafka to ledger to rollups, each event once.
//!
//! The stations, in the order of the data: [`consume`] → [`decode`] → [`judge`] → [`settle`] (with [`dedup`],
//! [`amend`], [`parked`]) → [`ledger`] →
//! [`mod@derive`] → [`commit`]; [`pipeline`] joins them, [`recover`] brings derived tables up to the ledger after a crash.
//! What decides ([`position`], [`judge`], [`settle`], [`mod@derive`]) is pure; I/O stands at both ends.
#![deny(missing_docs)]

pub mod accept;
pub mod amend;
pub mod commit;
pub mod config;
pub mod consume;
pub mod decode;
pub mod dedup;
pub mod derive;
mod error;
pub mod fence;
pub mod judge;
pub mod ledger;
mod lock;
pub mod maintain;
mod metrics;
pub mod parked;
pub mod pipeline;
pub mod position;
pub mod reader;
pub mod recover;
pub mod reference;
pub mod run;
pub mod settle;
pub mod topic;
mod trace;

pub use config::AggregatorConfig;
pub use error::AggregatorError;
pub use maintain::{MaintainConfig, Maintainer};
pub use run::{Aggregator, Health, Progress};
