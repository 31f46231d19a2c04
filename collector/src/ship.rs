//! From the spool to Kafka: an idempotent producer, in spool order, for as long as it takes.
//!
//! One thread reads pages of blocks, hands the records to librdkafka and serves its delivery reports. What was
//! delivered is a window over spool positions; its lower edge is the mark the spool stores. Nothing is
//! given up: a broker that is away makes the spool grow, a fatal error of the producer builds a new one that starts at
//! the first undelivered record, and only a record that the broker refuses for what it *is* (too large, not valid) is
//! set aside, after it was refused on its own.

mod error;
mod kafka;
mod producer;
mod sender;
mod shipper;
mod status;
mod stuck;
mod window;

pub use error::ClientError;
pub use kafka::{KafkaConfig, PropertyError};
pub use shipper::Shipper;
pub use status::ShipStatus;

#[cfg(test)]
mod tests;
