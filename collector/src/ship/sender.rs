//! The thread that ships: reads the spool, feeds the producer, believes its reports.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;

use super::kafka::KafkaConfig;
use super::producer::{NotTaken, Outcome, Producer};
use super::status::ShipStatus;
use super::window::Window;
use crate::metrics;
use crate::spool::{Block, Damage, Mark, Spool, Stretch};

/// Bytes read from the spool at a time.
const PAGE_BYTES: usize = 512 << 10;
/// What a record takes in the spool, roughly.
const RECORD_BYTES: usize = 400;
/// Longest wait for delivery reports while records could be sent.
const POLL: Duration = Duration::from_millis(5);
/// Longest wait for new records.
const IDLE: Duration = Duration::from_millis(50);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

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
    pub fn start(spool: Arc<Spool>, config: KafkaConfig) -> Result<Shipper, KafkaError> {
        let producer = Producer::new(&config)?;
        let status = Arc::new(ShipStatus::default());
        status.producers.store(1, Ordering::Relaxed);
        let stop_by = Arc::new(Mutex::new(None));
        let mark = spool.mark();
        let sender = Sender {
            spool,
            config,
            producer: Some(producer),
            window: Window::new(mark.position),
            epoch: mark.epoch,
            careful_until: 0,
            failed: false,
            resume_at: Instant::now(),
            backoff: FIRST_BACKOFF,
            status: Arc::clone(&status),
        };
        let stop = Arc::clone(&stop_by);
        let thread = std::thread::Builder::new()
            .name("siji-ship".to_owned())
            .spawn(move || sender.run(&stop))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
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

struct Sender {
    spool: Arc<Spool>,
    config: KafkaConfig,
    /// None until a new one could be built after a fatal error.
    producer: Option<Producer>,
    window: Window,
    epoch: u64,
    /// Records before this position are sent one by one: one of them was refused, or shared a batch with one.
    careful_until: u64,
    /// Some record has to be sent again; nothing else is, until the producer has reported on all it has.
    failed: bool,
    resume_at: Instant,
    backoff: Duration,
    status: Arc<ShipStatus>,
}

impl Sender {
    fn run(mut self, stop_by: &Mutex<Option<Instant>>) {
        loop {
            let stop_by = *stop_by.lock().unwrap_or_else(PoisonError::into_inner);
            if stop_by
                .is_some_and(|deadline| Instant::now() >= deadline || self.nothing_to_wait_for())
            {
                break;
            }
            self.follow_resend();
            let fed = self.feed();
            let busy = self.window.in_flight() > 0;
            self.serve(if busy && !fed { POLL } else { Duration::ZERO });
            if !fed && !busy {
                if self.held() {
                    std::thread::sleep(POLL);
                } else {
                    self.spool.wait_for(self.window.next_due(), IDLE);
                }
            }
        }
        let late = self.spool.gauges().depth;
        if late > 0 {
            tracing::info!(
                records = late,
                in_flight = self.window.in_flight(),
                "stopped with undelivered records, they stay in the spool"
            );
        }
    }

    fn nothing_to_wait_for(&self) -> bool {
        let empty = self.window.in_flight() == 0
            && !self.spool.wait_for(self.window.next_due(), Duration::ZERO);
        empty || self.status.degraded().is_some()
    }

    /// A resend moved the mark back: begin again there.
    fn follow_resend(&mut self) {
        let mark = self.spool.mark();
        if mark.epoch != self.epoch {
            tracing::info!(
                from = mark.position,
                "sending again what was delivered before"
            );
            self.epoch = mark.epoch;
            self.window = Window::new(mark.position);
            // The reports of the old window would be about positions of the new one.
            self.producer = None;
        }
    }

    /// Whether sending pauses although there may be something to send.
    fn held(&self) -> bool {
        self.failed || self.producer.is_none() || Instant::now() < self.resume_at
    }

    /// Hands a page of records to the producer. Returns whether it took any.
    fn feed(&mut self) -> bool {
        if Instant::now() < self.resume_at || (self.failed && self.window.in_flight() > 0) {
            return false;
        }
        self.failed = false;
        if self.producer.is_none() {
            self.rebuild();
        }
        let from = self.window.next_due();
        let careful = from < self.careful_until;
        let room = self
            .config
            .max_in_flight
            .saturating_sub(self.window.in_flight());
        let room = if careful {
            1usize.saturating_sub(self.window.in_flight())
        } else {
            room
        };
        if room == 0 || self.window.len() >= 2 * self.config.max_in_flight {
            return false;
        }
        if !self.spool.wait_for(from, Duration::ZERO) {
            return false;
        }
        // About what there is room for, so that little is read twice.
        let bytes = PAGE_BYTES.min(room.saturating_mul(RECORD_BYTES));
        match self.spool.read(from, bytes) {
            Ok(page) => self.send(from, room, page),
            Err(error) => {
                tracing::warn!(error = %error, "the spool cannot be read, shipping waits");
                self.back_off();
                false
            }
        }
    }

    fn send(&mut self, from: u64, room: usize, page: Vec<Stretch>) -> bool {
        let mut sent = 0;
        let mut next = from;
        for stretch in page {
            match stretch {
                Stretch::Block(block) => {
                    if block.position > next {
                        let damage = Damage {
                            position: next,
                            what: "records are missing",
                        };
                        self.give_up(&damage, block.position, Vec::new());
                    }
                    next = block.end();
                    if !self.send_block(from, room, &block, &mut sent) {
                        break;
                    }
                }
                Stretch::Lost { damage, end, bytes } => {
                    next = end;
                    self.give_up(&damage, end, bytes);
                }
            }
        }
        self.status
            .in_flight
            .store(self.window.in_flight(), Ordering::Relaxed);
        sent > 0
    }

    /// Sends the due records of a block from `from` on. Returns whether more may follow.
    fn send_block(&mut self, from: u64, room: usize, block: &Block, sent: &mut usize) -> bool {
        for record in block.records() {
            let record = match record {
                Ok(record) => record,
                Err(damage) => {
                    self.give_up(&damage, block.end(), Vec::new());
                    return true;
                }
            };
            if record.position < from || !self.window.is_due(record.position) {
                continue;
            }
            if *sent >= room {
                return false;
            }
            let Some(producer) = &self.producer else {
                return false;
            };
            match producer.send(&record) {
                Ok(()) => {
                    self.window.sent(record.position);
                    *sent += 1;
                }
                Err(NotTaken::QueueFull) => return false,
                Err(NotTaken::Refused(code)) => {
                    // Refused before it was sent, so it is this record and no neighbour.
                    self.window.sent(record.position);
                    self.set_aside(record.position, &code.to_string());
                }
                Err(NotTaken::Fatal) => {
                    self.discard_producer("the producer takes no more records");
                    return false;
                }
                Err(NotTaken::Again(code)) => {
                    self.trouble(code.to_string());
                    return false;
                }
            }
        }
        true
    }

    /// Serves delivery reports.
    fn serve(&mut self, timeout: Duration) {
        let Some(producer) = &self.producer else {
            return;
        };
        let reports = producer.poll(timeout);
        if reports.outcomes.is_empty() && reports.error.is_none() && !reports.fatal {
            return;
        }
        let alone = self.window.in_flight() == 1;
        let mut delivered = 0;
        for (position, outcome) in reports.outcomes {
            match outcome {
                Outcome::Delivered => {
                    self.window.done(position);
                    delivered += 1;
                }
                Outcome::Refused(code) if alone => self.set_aside(position, &code.to_string()),
                Outcome::Refused(_) => {
                    self.window.failed(position);
                    self.careful_until = self.careful_until.max(position + 1);
                    self.failed = true;
                }
                Outcome::Again(code) => {
                    self.window.failed(position);
                    self.failed = true;
                    self.trouble(code.to_string());
                }
            }
        }
        if delivered > 0 {
            self.status
                .delivered
                .fetch_add(delivered, Ordering::Relaxed);
            self.status.end_trouble();
            self.backoff = FIRST_BACKOFF;
            metrics::shipped(delivered);
        }
        if let Some(error) = &reports.error {
            self.status.begin_trouble(error.clone());
        }
        if reports.fatal {
            self.discard_producer(reports.error.as_deref().unwrap_or("fatal error"));
        }
        self.status
            .in_flight
            .store(self.window.in_flight(), Ordering::Relaxed);
        self.spool.delivered(Mark {
            epoch: self.epoch,
            position: self.window.edge(),
        });
    }

    fn trouble(&mut self, why: String) {
        self.status
            .begin_trouble(format!("topic {}: {why}", self.config.topic));
        self.back_off();
    }

    fn back_off(&mut self) {
        if Instant::now() >= self.resume_at {
            self.resume_at = Instant::now() + self.backoff;
            self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
        }
    }

    fn discard_producer(&mut self, why: &str) {
        tracing::error!(
            reason = why,
            undelivered_from = self.window.edge(),
            "the producer failed for good, a new one starts at the first undelivered record"
        );
        metrics::producer_rebuilt();
        self.producer = None;
        self.window.forget_sent();
        self.back_off();
    }

    fn rebuild(&mut self) {
        self.window.forget_sent();
        match Producer::new(&self.config) {
            Ok(producer) => {
                self.status.producers.fetch_add(1, Ordering::Relaxed);
                self.producer = Some(producer);
            }
            Err(error) => self.trouble(error.to_string()),
        }
    }

    /// The broker will never take this record: keep it apart and go on.
    fn set_aside(&mut self, position: u64, why: &str) {
        let block = self
            .spool
            .read(position, 1)
            .map(|page| match page.into_iter().next() {
                Some(Stretch::Block(block)) => block
                    .only(position)
                    .map(|only| (only, block.header, block.position)),
                _ => None,
            });
        let kept = match block {
            Ok(Some((bytes, header, first))) => {
                let seq = header.first_seq + (position - first) as i64;
                tracing::error!(
                    incarnation = header.incarnation,
                    seq,
                    position,
                    reason = why,
                    "the broker refuses a record for good, it is set aside"
                );
                self.spool.set_aside(position, bytes)
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match kept {
            Ok(()) => {
                metrics::stuck();
                self.window.done(position);
            }
            Err(error) => {
                tracing::warn!(error = %error, position, "a refused record cannot be set aside yet");
                self.window.failed(position);
                self.careful_until = self.careful_until.max(position + 1);
                self.failed = true;
                self.back_off();
            }
        }
    }

    /// Records that cannot be read any more must not stop those that can.
    fn give_up(&mut self, damage: &Damage, end: u64, bytes: Vec<u8>) {
        let from = self.window.next_due().max(damage.position);
        tracing::error!(damage = %damage, records = end.saturating_sub(from), "spooled records are lost, shipping goes on behind them");
        if !bytes.is_empty()
            && let Err(error) = self.spool.set_aside(damage.position, bytes)
        {
            tracing::warn!(error = %error, "the damaged block cannot be set aside");
        }
        for position in from..end {
            if self.window.is_due(position) {
                self.window.sent(position);
                self.window.done(position);
                metrics::stuck();
            }
        }
        self.spool.delivered(Mark {
            epoch: self.epoch,
            position: self.window.edge(),
        });
    }
}
