//! The door: HTTP requests and in-process submissions become judged records in the spool.
//!
//! ```text
//!   POST /v1/events ──> token, limits ──> split into events ──┐
//!   Intake::submit ───────────────────────────────────────────┴──> judge each ──> one append ──> report
//! ```
//!
//! A report is given after the fsync: what it calls accepted will reach the ledger, and so will what it calls rejected.

mod body;
mod bucket;
mod cloudevents;
mod door;
mod limits;
mod memory;
mod problem;
mod rate;
mod report;
mod serve;
mod split;
mod submit;
mod token;
mod unpack;

pub use cloudevents::CloudEvent;
pub(crate) use cloudevents::Envelope;
pub(crate) use door::{Door, router};
pub use limits::IntakeLimits;
pub use report::{Rejection, SubmitReport};
pub use serve::{ConnectionLimits, serve};
pub(crate) use split::is_deeper_than;
pub(crate) use submit::Counters;
pub use submit::{Intake, Submission};
pub use token::{Principal, Right, TokenConfig, Tokens, hash_token};
