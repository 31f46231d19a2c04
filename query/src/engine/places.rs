//! Places for running queries, and a short queue before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Limits, QueryError};

/// Admission to the engine.
#[derive(Debug)]
pub(super) struct Places {
    running: Arc<Semaphore>,
    count: usize,
    waiting: AtomicUsize,
    queue: usize,
    patience: Duration,
}

/// A running query's place; dropping it frees it.
#[derive(Debug)]
pub(super) struct Place(#[allow(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        let count = limits.concurrent.max(1);
        Self {
            running: Arc::new(Semaphore::new(count)),
            count,
            waiting: AtomicUsize::new(0),
            queue: limits.waiting,
            patience: limits.patience,
        }
    }

    /// A place, at once or within the patience; [`QueryError::Busy`] when the queue is full or patience runs out.
    pub(super) async fn take(&self) -> Result<Place, QueryError> {
        if let Ok(place) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(Place(place));
        }
        let waiting = Waiting::join(&self.waiting);
        let busy = || QueryError::Busy {
            running: self.count,
            waiting: self.waiting.load(Ordering::Relaxed),
        };
        if waiting.position > self.queue {
            return Err(busy());
        }
        match tokio::time::timeout(self.patience, Arc::clone(&self.running).acquire_owned()).await {
            Ok(Ok(place)) => Ok(Place(place)),
            _ => Err(busy()),
        }
    }
}

struct Waiting<'a> {
    count: &'a AtomicUsize,
    position: usize,
}

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Self {
        Self {
            count,
            position: count.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_is_refused_at_once_and_a_freed_place_is_taken() {
        let limits = Limits {
            concurrent: 1,
            waiting: 1,
            patience: Duration::from_secs(30),
            ..Limits::default()
        };
        let places = Arc::new(Places::new(&limits));
        let first = places.take().await.unwrap();
        let second = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await }
        });
        while places.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(
            places.take().await,
            Err(QueryError::Busy { running: 1, .. })
        ));
        drop(first);
        assert!(second.await.unwrap().is_ok());
    }
}
