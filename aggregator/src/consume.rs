//! Records from Kafka, in chunks of one partition each.

mod assignment;
mod chunk;
mod client;
mod consumer;
mod feed;
mod group;
mod polling;
mod queues;
mod turns;
mod watch;

pub use chunk::{Chunk, Record, RefusedBy};
pub(crate) use client::without_values;
pub use client::{ConsumeError, ConsumerConfig, is_the_record, watermarks};
pub use consumer::{Consumer, Take};
pub use feed::{Delivery, Feed, Next, Release};
pub use group::{Membership, ReadPositions};
pub use watch::{PartitionState, Watch};
