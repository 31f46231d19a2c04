//! From the consumer's thread to the pipeline: records and changes of the assignment, in one order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::{Chunk, Watch};
use crate::position::{Partition, Position};

/// What comes next.
#[derive(Debug)]
pub enum Delivery {
    /// Records of a partition that is ours.
    Chunk(Chunk),
    /// These partitions are ours from now on, and begin here.
    Assigned(BTreeMap<Partition, Position>),
    /// Partitions go to another member of the group, which waits for the answer.
    Revoked(Release),
}

/// Partitions to be let go: what was taken of them is committed first, then [`Release::done`] is called.
#[derive(Debug)]
pub struct Release {
    /// Which.
    pub partitions: Vec<Partition>,
    pub(super) done: SyncSender<()>,
}

impl Release {
    /// Nothing of these partitions will be committed any more.
    pub fn done(self) {
        if self.done.send(()).is_err() {
            tracing::warn!(
                partitions = ?self.partitions,
                "partitions were let go too late: their next owner did not wait"
            );
        }
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Feed {
    pub(super) deliveries: Receiver<Delivery>,
    pub(super) watch: Arc<Watch>,
}

/// What waiting for a delivery brought.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Next {
    /// Something.
    Delivery(Delivery),
    /// Nothing in time.
    Nothing,
    /// The thread ended.
    Ended,
}

impl Feed {
    /// Waits for the next delivery.
    pub fn next(&self, wait: Duration) -> Next {
        match self.deliveries.recv_timeout(wait) {
            Ok(delivery) => {
                if matches!(delivery, Delivery::Chunk(_)) {
                    self.watch.queue_shrank();
                }
                Next::Delivery(delivery)
            }
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Ended,
        }
    }
}
