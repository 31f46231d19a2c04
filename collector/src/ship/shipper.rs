//! The sender as its users see it: start, look at it, stop.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::error::ClientError;
use super::kafka::KafkaConfig;
use super::sender::Sender;
use super::status::ShipStatus;
use crate::spool::Spool;

/// The running sender.
#[derive(Debug)]
pub struct Shipper {
    status: Arc<ShipStatus>,
    stop_by: Arc<Mutex<Option<Instant>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Shipper {
    /// Starts shipping from the spool's delivery mark. Fails on a configuration librdkafka does not take; a broker that
    /// is away is no failure.
    pub fn start(spool: Arc<Spool>, config: KafkaConfig) -> Result<Shipper, ClientError> {
        let status = Arc::new(ShipStatus::default());
        let sender = Sender::new(spool, config, Arc::clone(&status))?;
        let stop_by = Arc::new(Mutex::new(None));
        let stop = Arc::clone(&stop_by);
        let alive = status.alive();
        let thread = std::thread::Builder::new()
            .name("siji-ship".to_owned())
            .spawn(move || {
                sender.run(&stop);
                drop(alive);
            })
            .map_err(ClientError::thread)?;
        Ok(Shipper {
            status,
            stop_by,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// How it goes.
    pub fn status(&self) -> &Arc<ShipStatus> {
        &self.status
    }

    /// Goes on until the spool is empty, but not beyond the deadline and not while the broker is away; then stops.
    /// Blocks the thread. What is not delivered stays in the spool.
    pub fn stop(&self, deadline: Instant) {
        *self.stop_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the shipping thread had panicked");
        }
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        self.stop(Instant::now());
    }
}
