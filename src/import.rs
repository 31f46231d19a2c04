//! Bringing an old log in: rows are read and mapped on one thread, sent on another, and each row's fate is kept until it
//! is known.
//!
//! ```text
//!   files ──> reader ──(bounded)──> embedded: spool, Kafka, ledger ──> verdicts ──┐
//!             maps rows        └──> remote: a collector's HTTP door ──> answers ──┴──> books: sums, FILE.rejects.csv
//! ```

pub mod books;
pub mod embedded;
pub mod follow;
mod known;
mod listing;
mod position;
mod prefix;
pub mod preview;
pub mod reader;
pub mod remote;
mod verdicts;

use std::path::PathBuf;
use std::sync::Arc;

use siji_collector::import::Mapping;
use siji_schemas::validate::Reference;

/// What is to be imported and how.
#[derive(Debug, Clone)]
pub struct Job {
    /// The mapping file, checked.
    pub mapping: Arc<Mapping>,
    /// Areas and catalogue.
    pub reference: Arc<Reference>,
    /// The files, in their order.
    pub files: Vec<PathBuf>,
    /// Where rejects files go; `None` = beside their files.
    pub rejects: Option<PathBuf>,
}
