//! Records from Kafka, in chunks of one partition each.

mod chunk;
mod thread;

pub use chunk::{Chunk, Record, RefusedBy};
pub use thread::{ConsumeError, Consumer, ConsumerConfig, Feed, Next, PartitionState, Watch};
