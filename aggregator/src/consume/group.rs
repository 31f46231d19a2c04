//! Membership of a consumer group: partitions come and go while others are being read.
//!
//! All of this runs inside librdkafka's rebalance callback, on the consumer's thread. Start offsets are set there,
//! before the first record can come; a revoked partition is given up only after what was taken of it is in the lake, so
//! that its next owner begins where we ended. If that takes too long, or the partition is lost already, the [`Fence`]
//! makes sure that nothing of it is committed any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, RebalanceProtocol};
use rdkafka::error::KafkaResult;

use super::assignment::{Assignment, assignment};
use super::client::Context;
use super::feed::{Delivery, Release};
use super::watch::Watch;
use crate::fence::Fence;
use crate::position::{LastRecord, Partition, Position};

/// Where partitions stand in the lake, right now, with everything derived from it. May block.
pub type ReadPositions =
    Box<dyn Fn(&[Partition]) -> Result<BTreeMap<Partition, Position>, String> + Send + Sync>;

/// What membership needs.
pub struct Membership {
    /// Where partitions begin.
    pub read: ReadPositions,
    /// Closed for what is revoked and not committed.
    pub fence: Arc<Fence>,
    /// How long a revocation waits until what was taken is in the lake.
    pub release_wait: Duration,
}

/// The callback's side of the consumer.
pub(super) struct Group {
    topic: String,
    membership: Membership,
    /// Nothing once the polling thread has ended: the pipeline must see the end of what there is.
    sender: Mutex<Option<SyncSender<Delivery>>>,
    changed: AtomicBool,
    changes: Mutex<Changes>,
}

/// What the polling thread has to know before it takes the next record.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Partitions that became ours.
    pub given: BTreeSet<i32>,
    /// Records to find again.
    pub verify: BTreeMap<i32, LastRecord>,
    /// Partitions that are not ours any more.
    pub gone: BTreeSet<i32>,
    /// Why no assignment could be taken.
    pub failure: Option<String>,
}

impl Group {
    pub(super) fn new(
        topic: String,
        membership: Membership,
        sender: SyncSender<Delivery>,
    ) -> Group {
        Group {
            topic,
            membership,
            sender: Mutex::new(Some(sender)),
            changed: AtomicBool::new(false),
            changes: Mutex::default(),
        }
    }

    /// What changed since the last look. Costs next to nothing when nothing did.
    #[inline]
    pub(super) fn changes(&self) -> Option<Changes> {
        self.changed
            .swap(false, Ordering::AcqRel)
            .then(|| std::mem::take(&mut *self.lock()))
    }

    fn change(&self, change: impl FnOnce(&mut Changes)) {
        change(&mut self.lock());
        self.changed.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        // Every change is a whole one.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Partitions became ours.
    pub(super) fn assigned(
        &self,
        consumer: &BaseConsumer<Context>,
        given: &TopicPartitionList,
        watch: &Watch,
    ) {
        let partitions = self.ours(given);
        tracing::info!(partitions = ?numbers(&partitions), "partitions assigned");
        let begun = self.begin(consumer, &partitions, watch);
        let places = begun.unwrap_or_else(|failure| {
            self.change(|changes| changes.failure = Some(failure));
            TopicPartitionList::new()
        });
        answer(match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&places),
            _ => consumer.assign(&places),
        });
    }

    /// Tells pipeline and polling thread, and says where to read from.
    fn begin(
        &self,
        consumer: &BaseConsumer<Context>,
        partitions: &[Partition],
        watch: &Watch,
    ) -> Result<TopicPartitionList, String> {
        if partitions.is_empty() {
            return Ok(TopicPartitionList::new());
        }
        if self.membership.fence.is_closed(partitions) {
            return Err(
                "a partition came back before what was taken of it was given up".to_owned(),
            );
        }
        let positions = (self.membership.read)(partitions)?;
        let Assignment { places, verify } =
            assignment(consumer, &self.topic, &positions, watch).map_err(|e| e.to_string())?;
        self.change(|changes| {
            for partition in partitions {
                changes.gone.remove(&partition.0);
                changes.given.insert(partition.0);
            }
            changes.verify.extend(verify);
        });
        if !self.send(Delivery::Assigned(positions)) {
            return Err("the pipeline has ended".to_owned());
        }
        Ok(places)
    }

    /// False: nobody takes deliveries any more.
    fn send(&self, delivery: Delivery) -> bool {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sender.as_ref().map(|sender| sender.send(delivery));
        matches!(sent, Some(Ok(())))
    }

    /// The polling thread has ended: no deliveries come any more.
    pub(super) fn end(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Partitions are not ours any more, or are about to go.
    pub(super) fn revoked(
        &self,
        consumer: &BaseConsumer<Context>,
        given: &TopicPartitionList,
        watch: &Watch,
    ) {
        let partitions = self.ours(given);
        let lost = consumer.assignment_lost();
        tracing::info!(partitions = ?numbers(&partitions), lost, "partitions revoked");
        if !partitions.is_empty() {
            self.change(|changes| {
                for partition in &partitions {
                    changes.given.remove(&partition.0);
                    changes.gone.insert(partition.0);
                }
            });
            self.let_go(&partitions, lost);
            for partition in &partitions {
                watch.gone(partition.0);
            }
        }
        answer(match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                held(consumer, given).and_then(|held| consumer.incremental_unassign(&held))
            }
            _ => consumer.unassign(),
        });
    }

    fn let_go(&self, partitions: &[Partition], lost: bool) {
        if lost {
            // Somebody else reads them already.
            self.membership.fence.close(partitions);
        }
        let (done, released) = sync_channel(1);
        let release = Release {
            partitions: partitions.to_vec(),
            done,
        };
        if !self.send(Delivery::Revoked(release)) {
            // The pipeline has ended, so everything it took is in the lake or will never be.
            return;
        }
        if lost {
            return;
        }
        if released.recv_timeout(self.membership.release_wait).is_err() {
            tracing::warn!(
                partitions = ?numbers(partitions),
                "what was taken of revoked partitions did not reach the lake in time; their next owner reads it again"
            );
            self.membership.fence.close(partitions);
        }
    }

    fn ours(&self, given: &TopicPartitionList) -> Vec<Partition> {
        let mut partitions: Vec<Partition> = given
            .elements_for_topic(&self.topic)
            .iter()
            .map(|element| Partition(element.partition()))
            .collect();
        partitions.sort_unstable();
        partitions
    }
}

/// Those of the given partitions that the client was told to read: a stopped one was not.
fn held(
    consumer: &BaseConsumer<Context>,
    given: &TopicPartitionList,
) -> KafkaResult<TopicPartitionList> {
    let assigned = consumer.assignment()?;
    let mut held = TopicPartitionList::new();
    for element in given.elements() {
        if assigned
            .find_partition(element.topic(), element.partition())
            .is_some()
        {
            held.add_partition(element.topic(), element.partition());
        }
    }
    Ok(held)
}

fn numbers(partitions: &[Partition]) -> Vec<i32> {
    partitions.iter().map(|partition| partition.0).collect()
}

/// librdkafka refuses an answer only when the consumer is being closed.
fn answer(result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the consumer did not take its assignment");
    }
}
