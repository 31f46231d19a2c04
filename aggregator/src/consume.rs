//! Records from Kafka, in chunks of one partition each.

mod assignment;
mod chunk;
mod client;
mod thread;
mod watch;

pub use chunk::{Chunk, Record, RefusedBy};
pub(crate) use client::without_values;
pub use client::{ConsumeError, ConsumerConfig, is_the_record, watermarks};
pub use thread::{Consumer, Feed, Next};
pub use watch::{PartitionState, Watch};
