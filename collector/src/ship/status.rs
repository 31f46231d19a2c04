//! What others may know about shipping.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How shipping goes, for gauges, readiness and heartbeats.
#[derive(Debug, Default)]
pub struct ShipStatus {
    pub(super) delivered: AtomicU64,
    pub(super) in_flight: AtomicUsize,
    pub(super) producers: AtomicU64,
    alive: AtomicBool,
    trouble: Mutex<Option<(Instant, String)>>,
}

/// Held by the sending thread for as long as it runs, however it ends.
pub(super) struct Alive(Arc<ShipStatus>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.store(false, Ordering::Release);
    }
}

impl ShipStatus {
    /// Records delivered since the start, resent ones included.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Records given to the producer without a report.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Producers built since the start: more than one after a fatal error or a resend.
    pub fn producers(&self) -> u64 {
        self.producers.load(Ordering::Relaxed)
    }

    /// Whether the sending thread runs.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    pub(super) fn alive(self: &Arc<Self>) -> Alive {
        self.alive.store(true, Ordering::Release);
        Alive(Arc::clone(self))
    }

    /// What keeps records from being delivered, and for how long, if anything does.
    pub fn degraded(&self) -> Option<(Duration, String)> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble
            .as_ref()
            .map(|(since, why)| (since.elapsed(), why.clone()))
    }

    pub(super) fn begin_trouble(&self, why: String) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_none() {
            tracing::warn!(reason = %why, "records cannot be delivered, the spool keeps them");
            *trouble = Some((Instant::now(), why));
        }
    }

    pub(super) fn end_trouble(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, _)) = trouble.take() {
            tracing::info!(
                after_s = since.elapsed().as_secs(),
                "records are delivered again"
            );
        }
    }
}
