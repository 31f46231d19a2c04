//! What others may look at while the consumer runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a partition is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionState {
    /// Its remembered record has still to be read again.
    Verifying,
    /// Consumed.
    Running,
    /// Not consumed; why, and what an operator can do.
    Stopped(String),
}

/// What others may look at while the thread runs.
#[derive(Debug, Default)]
pub struct Watch {
    states: Mutex<BTreeMap<i32, PartitionState>>,
    highs: Mutex<BTreeMap<i32, i64>>,
    last_error: Mutex<Option<(Instant, String)>>,
    queued: AtomicI64,
}

impl Watch {
    /// State of every partition.
    pub fn states(&self) -> BTreeMap<i32, PartitionState> {
        lock(&self.states).clone()
    }

    /// The next offset the broker will give, by partition, as last heard.
    pub fn highs(&self) -> BTreeMap<i32, i64> {
        lock(&self.highs).clone()
    }

    /// Chunks waiting for the pipeline.
    pub fn queued(&self) -> i64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// An error of the client in the last `within`, if any.
    pub fn recent_error(&self, within: Duration) -> Option<String> {
        lock(&self.last_error)
            .as_ref()
            .filter(|(at, _)| at.elapsed() < within)
            .map(|(_, error)| error.clone())
    }

    pub(super) fn set(&self, partition: i32, state: PartitionState) {
        lock(&self.states).insert(partition, state);
    }

    /// Marks a partition as stopped, and says why in the log.
    pub(super) fn stopped(&self, partition: i32, reason: String) {
        tracing::error!(partition, reason, "partition stopped");
        self.set(partition, PartitionState::Stopped(reason));
    }

    /// A partition that is not ours any more.
    pub(super) fn gone(&self, partition: i32) {
        lock(&self.states).remove(&partition);
        lock(&self.highs).remove(&partition);
    }

    /// A partition of ours ends here.
    pub(crate) fn ends(&self, partition: i32, high: i64) {
        lock(&self.highs).insert(partition, high);
    }

    /// News of any partition: the client's statistics go on about those that were given away.
    pub(super) fn heard(&self, partition: i32, high: i64) {
        if let Some(known) = lock(&self.highs).get_mut(&partition) {
            *known = high;
        }
    }

    pub(super) fn erred(&self, error: String) {
        *lock(&self.last_error) = Some((Instant::now(), error));
    }

    pub(super) fn queue_grew(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn queue_shrank(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A poisoned lock only means that another thread panicked while writing a whole value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_a_partition_given_away_are_not_taken_for_one_of_ours() {
        let watch = Watch::default();
        watch.ends(4, 10);
        watch.heard(4, 12);
        watch.heard(5, 7);
        assert_eq!(watch.highs(), BTreeMap::from([(4, 12)]));
        watch.gone(4);
        watch.heard(4, 19_503);
        assert_eq!(watch.highs(), BTreeMap::new());
    }
}
