//! The publish lock: whoever commits holds it, and a revocation closes it.
//!
//! A member of a consumer group that lost a partition must not commit for it any more, though a batch may be on its way.
//! The tables refuse such a commit once the new owner has committed (its transaction moved). Before that it would land
//! and make the new owner's first commit fail, so it is stopped here.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::AggregatorError;
use crate::position::Partition;

/// Which partitions nothing may be committed for.
#[derive(Debug, Default)]
pub struct Fence {
    closed: Mutex<BTreeSet<Partition>>,
}

/// Held from before a batch is committed until it is.
#[derive(Debug)]
pub struct Publishing<'f> {
    _closed: MutexGuard<'f, BTreeSet<Partition>>,
}

impl Fence {
    /// Leave to commit for these partitions; others wait until it is given back.
    ///
    /// # Errors
    /// One of them was revoked.
    pub fn enter<'p>(
        &self,
        mut partitions: impl Iterator<Item = &'p Partition>,
    ) -> Result<Publishing<'_>, AggregatorError> {
        let closed = self.lock();
        match partitions.find(|partition| closed.contains(partition)) {
            Some(partition) => Err(AggregatorError::Revoked(*partition)),
            None => Ok(Publishing { _closed: closed }),
        }
    }

    /// Waits for a commit that is being made; after that none is made for these partitions.
    pub fn close(&self, partitions: &[Partition]) {
        self.lock().extend(partitions);
    }

    /// Whether one of these partitions was closed. It stays so: what was taken of it before may still be on its way.
    pub fn is_closed(&self, partitions: &[Partition]) -> bool {
        let closed = self.lock();
        partitions
            .iter()
            .any(|partition| closed.contains(partition))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Partition>> {
        // A panic while committing leaves the set as it was.
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    const ONE: [Partition; 1] = [Partition(1)];

    #[test]
    fn nothing_is_committed_for_a_closed_partition() {
        let fence = Fence::default();
        drop(fence.enter(ONE.iter()).unwrap());
        assert!(!fence.is_closed(&ONE));
        fence.close(&ONE);
        assert!(fence.is_closed(&ONE));
        let refused = fence.enter([Partition(0), Partition(1)].iter());
        assert!(matches!(
            refused,
            Err(AggregatorError::Revoked(Partition(1)))
        ));
        drop(fence.enter([Partition(0)].iter()).unwrap());
    }

    #[test]
    fn a_revocation_waits_for_the_commit_that_is_being_made() {
        let fence = Fence::default();
        let (tell, told) = channel();
        std::thread::scope(|scope| {
            let publishing = fence.enter(ONE.iter()).unwrap();
            scope.spawn(|| {
                fence.close(&ONE);
                tell.send(()).unwrap();
            });
            assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
            drop(publishing);
            told.recv_timeout(Duration::from_secs(10)).unwrap();
        });
    }
}
