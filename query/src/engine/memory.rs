//! One query's share of memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// A pool with its own cap that takes from the pool of all queries.
#[derive(Debug)]
pub(super) struct QueryPool {
    parent: Arc<dyn MemoryPool>,
    limit: usize,
    used: AtomicUsize,
}

impl QueryPool {
    pub(super) fn new(parent: Arc<dyn MemoryPool>, limit: usize) -> Self {
        Self {
            parent,
            limit,
            used: AtomicUsize::new(0),
        }
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query pool of {} bytes", self.limit)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.parent.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.parent.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.parent.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
        self.parent.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let within = |used: usize| {
            used.checked_add(additional)
                .filter(|sum| *sum <= self.limit)
        };
        if let Err(used) = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
        {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{} asked for {} MiB more than the {} MiB it holds, {} MiB are allowed for one query",
                reservation.consumer().name(),
                additional.div_ceil(1 << 20),
                used >> 20,
                self.limit >> 20
            )));
        }
        self.parent
            .try_grow(reservation, additional)
            .inspect_err(|_| {
                self.used.fetch_sub(additional, Ordering::Relaxed);
            })
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    #[test]
    fn a_query_stops_at_its_own_cap_and_gives_everything_back() {
        let all: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1000));
        let pool: Arc<dyn MemoryPool> = Arc::new(QueryPool::new(Arc::clone(&all), 100));
        let reservation = MemoryConsumer::new("sort").register(&pool);
        reservation.try_grow(90).unwrap();
        assert!(reservation.try_grow(20).is_err());
        assert_eq!((pool.reserved(), all.reserved()), (90, 90));
        drop(reservation);
        assert_eq!((pool.reserved(), all.reserved()), (0, 0));
    }

    #[test]
    fn what_the_others_use_up_is_refused_and_not_counted_twice() {
        let all: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let first: Arc<dyn MemoryPool> = Arc::new(QueryPool::new(Arc::clone(&all), 80));
        let second: Arc<dyn MemoryPool> = Arc::new(QueryPool::new(Arc::clone(&all), 80));
        let a = MemoryConsumer::new("a").register(&first);
        let b = MemoryConsumer::new("b").register(&second);
        a.try_grow(80).unwrap();
        assert!(b.try_grow(30).is_err());
        assert_eq!(second.reserved(), 0);
        b.try_grow(20).unwrap();
    }
}
