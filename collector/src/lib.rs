//! The edge of siji: takes events in, judges them, keeps them safe on disk, ships them to Kafka.
#![deny(missing_docs)]

mod clock;
mod metrics;
pub mod ship;
pub mod spool;
