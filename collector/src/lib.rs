//! The edge of siji: takes events in, judges them, keeps them safe on disk, ships them to Kafka.
//!
//! The modules are the stations of an event in their order:
//!
//! ```text
//!   intake ──> validate ──> pseudonymise ──> spool ──> ship
//!   (HTTP,     (read,       (HMAC before     (fsync    (idempotent producer,
//!    in-process) stamp,      anything is      before    in spool order)
//!               judge)       written)         the 2xx)
//! ```
//!
//! A 2xx means: judged, without raw personal data, and fsynced. From there to Kafka delivery is at least once; the
//! ledger counts each event once. What is refused takes the same way, so that the ledger has it too.
#![deny(missing_docs)]

mod clock;
mod collector;
mod config;
mod heartbeat;
pub mod import;
pub mod intake;
mod metrics;
mod pseudonymise;
pub mod ship;
pub mod spool;
mod trace;
mod validate;

pub use collector::{RunningCollector, ShutdownReport, StartError, resend, start};
pub use config::{CollectorConfig, ConfigProblems, Secret};
pub use intake::{
    Intake, Principal, Rejection, Right, Submission, SubmitReport, TokenConfig, hash_token,
};
pub use pseudonymise::{CityKey, KeyError};
