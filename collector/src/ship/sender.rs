//! The thread that ships: reads the spool, feeds the producer, believes its reports.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::ClientError;
use super::kafka::KafkaConfig;
use super::producer::{NotTaken, Outcome, Producer};
use super::status::ShipStatus;
use super::window::Window;
use crate::metrics;
use crate::spool::{Block, Damage, Mark, Spool, Stretch};
use crate::trace::UnderWay;

/// Bytes read from the spool at a time.
const PAGE_BYTES: usize = 512 << 10;
/// What a record takes in the spool, roughly.
const RECORD_BYTES: usize = 400;
/// Longest time that delivery reports wait to be looked at.
const POLL: Duration = Duration::from_millis(5);
/// The same while the producer has all it may have, and each report lets another record through.
const FULL: Duration = Duration::from_millis(1);
/// Longest wait for new records.
const IDLE: Duration = Duration::from_millis(50);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// What the thread knows.
pub(super) struct Sender {
    pub(super) spool: Arc<Spool>,
    config: KafkaConfig,
    /// None until a new one could be built after a fatal error.
    producer: Option<Producer>,
    pub(super) window: Window,
    pub(super) epoch: u64,
    /// Records before this position are sent one by one: one of them was refused, or shared a batch with one.
    pub(super) careful_until: u64,
    /// Some record has to be sent again; nothing else is, until the producer has reported on all it has.
    pub(super) failed: bool,
    traced: UnderWay,
    resume_at: Instant,
    backoff: Duration,
    status: Arc<ShipStatus>,
}

impl Sender {
    /// A sender that begins at the spool's delivery mark.
    pub(super) fn new(
        spool: Arc<Spool>,
        config: KafkaConfig,
        status: Arc<ShipStatus>,
    ) -> Result<Sender, ClientError> {
        let producer = Producer::new(&config)?;
        status.producers.store(1, Ordering::Relaxed);
        let mark = spool.mark();
        Ok(Sender {
            spool,
            config,
            producer: Some(producer),
            window: Window::new(mark.position),
            epoch: mark.epoch,
            careful_until: 0,
            failed: false,
            traced: UnderWay::default(),
            resume_at: Instant::now(),
            backoff: FIRST_BACKOFF,
            status,
        })
    }

    pub(super) fn run(mut self, stop_by: &Mutex<Option<Instant>>) {
        loop {
            let stop_by = *stop_by.lock().unwrap_or_else(PoisonError::into_inner);
            if stop_by
                .is_some_and(|deadline| Instant::now() >= deadline || self.nothing_to_wait_for())
            {
                break;
            }
            self.follow_resend();
            let fed = self.feed();
            let reported = self.serve();
            if !fed && !reported {
                self.pause();
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

    /// Waits for whatever comes first: a new record, reports, or the time to try again. Not in the producer's own poll,
    /// which keeps a core busy for the last millisecond of every wait and does not hear of new records.
    fn pause(&self) {
        let due = self.window.next_due();
        let busy = self.window.in_flight() > 0;
        // Something is due and yet nothing was sent: whatever the reason, it must not keep a core busy.
        if self.held() || self.spool.wait_for(due, Duration::ZERO) {
            std::thread::sleep(if busy { FULL } else { POLL });
        } else {
            self.spool.wait_for(due, if busy { POLL } else { IDLE });
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
            self.traced.forget();
            // The reports of the old window would be about positions of the new one.
            self.producer = None;
        }
    }

    /// Whether sending pauses although there may be something to send.
    fn held(&self) -> bool {
        self.failed || self.producer.is_none() || Instant::now() < self.resume_at
    }

    /// Hands a page of records to the producer. Returns whether it took any.
    pub(super) fn feed(&mut self) -> bool {
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
        if room == 0 || !self.may_send(from) {
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

    /// Whether a record may be sent at all. A new one makes the window longer, which is limited: when the edge is stuck
    /// at a partition without a leader, the others cannot run away from it. One inside is only sent again.
    fn may_send(&self, position: u64) -> bool {
        self.window.is_due(position)
            && (self.window.holds(position)
                || self.window.len() < self.config.max_in_flight.saturating_mul(2))
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
                        // Nothing is left of them to be set aside.
                        self.give_up(&damage, block.position, Vec::new());
                    }
                    next = block.end();
                    if !self.send_block(from, room, &block, &mut sent) {
                        break;
                    }
                }
                Stretch::Lost { damage, end, bytes } => {
                    next = end;
                    if !self.give_up(&damage, end, bytes) {
                        break;
                    }
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
                    return self.give_up_rest(&damage, block);
                }
            };
            if record.position < from || !self.window.is_due(record.position) {
                continue;
            }
            if *sent >= room || !self.may_send(record.position) {
                return false;
            }
            let Some(producer) = &self.producer else {
                return false;
            };
            match producer.send(&record) {
                Ok(()) => {
                    self.window.sent(record.position);
                    if !record.headers.is_empty() {
                        self.traced.sent(&record);
                    }
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

    /// Serves delivery reports. Returns whether there were any.
    fn serve(&mut self) -> bool {
        let Some(producer) = &self.producer else {
            return false;
        };
        let reports = producer.poll(Duration::ZERO);
        if reports.outcomes.is_empty() && reports.error.is_none() && !reports.fatal {
            return false;
        }
        let alone = self.window.in_flight() == 1;
        let mut delivered = 0;
        for (position, outcome) in reports.outcomes {
            match outcome {
                Outcome::Delivered => {
                    self.window.done(position);
                    self.traced.delivered(position);
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
        true
    }

    fn trouble(&mut self, why: String) {
        self.status
            .begin_trouble(format!("topic {}: {why}", self.config.topic));
        self.back_off();
    }

    pub(super) fn back_off(&mut self) {
        if Instant::now() >= self.resume_at {
            self.resume_at = Instant::now() + self.backoff;
            self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
        }
    }

    pub(super) fn discard_producer(&mut self, why: &str) {
        tracing::error!(
            reason = why,
            undelivered_from = self.window.edge(),
            "the producer failed for good, a new one starts at the first undelivered record"
        );
        metrics::producer_rebuilt();
        self.producer = None;
        self.window.forget_sent();
        self.traced.forget();
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
}
