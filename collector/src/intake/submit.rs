//! The one way in: judge, spool, report.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use opentelemetry::KeyValue;
use siji_schemas::Event;
use siji_schemas::trace::TraceContext;
use siji_schemas::validate::Reference;

use super::cloudevents::CloudEvent;
use super::limits::IntakeLimits;
use super::report::{Rejection, SubmitReport};
use super::token::Principal;
use crate::clock::now_ms;
use crate::metrics;
use crate::pseudonymise::CityKey;
use crate::spool::{AppendError, Record, Spool};
use crate::trace;
use crate::validate::{Judge, Verdict};

/// What an event takes from its judgement until it is on disk, beside the bytes it came as: as a record, or as a
/// refusal once for the ledger and once for the sender. About twice the reckoning; `tests/memory.rs` watches the sum.
pub(super) const EVENT_BYTES: usize = 2048;
/// Events judged before other requests get their turn on the thread.
const TURN: usize = 256;

/// An event as it is submitted.
#[derive(Debug, Clone)]
pub enum Submission {
    /// A JSON object, as through the HTTP door: may name people by `resident` and `actor`.
    Json(Bytes),
    /// The same in an envelope.
    Cloud(Box<CloudEvent>),
    /// A record; people only as pseudonyms.
    Event(Box<Event>),
}

/// Events judged since the opening of the spool.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    pub fn read(&self) -> (u64, u64) {
        (
            self.accepted.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
        )
    }

    /// A new opening counts from nought.
    pub fn reset(&self) {
        self.accepted.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
    }
}

/// Takes events in, whoever brings them.
#[derive(Debug)]
pub struct Intake {
    pub(crate) spool: Arc<Spool>,
    pub(crate) reference: Arc<Reference>,
    pub(crate) limits: IntakeLimits,
    pub(crate) key: Option<CityKey>,
    pub(crate) source_id: String,
    pub(crate) counters: Arc<Counters>,
}

impl Intake {
    /// Judges the events and spools them all, accepted or refused, in their order and by one append. When this returns
    /// `Ok`, they are on disk.
    ///
    /// # Errors
    /// The spool took nothing; trying again may help.
    pub async fn submit(
        &self,
        events: Vec<Submission>,
        principal: &Principal,
    ) -> Result<SubmitReport, AppendError> {
        self.take(events, principal, "inprocess", None).await
    }

    pub(super) async fn take(
        &self,
        events: Vec<Submission>,
        principal: &Principal,
        way: &'static str,
        traced: Option<TraceContext>,
    ) -> Result<SubmitReport, AppendError> {
        self.spool.admits()?;
        let count = events.len() as u64;
        metrics::received(way, count);
        if events.is_empty() {
            return Ok(SubmitReport {
                accepted: 0,
                rejected: Vec::new(),
            });
        }
        let began = SystemTime::now();
        let judge = Judge {
            reference: &self.reference,
            limits: &self.limits,
            key: self.key.as_ref(),
            source_id: &self.source_id,
            principal,
            now_ms: now_ms(),
            traceparent: traced.map(|trace| trace.to_string()),
        };
        let mut records: Vec<Record> = Vec::with_capacity(events.len());
        let mut rejected = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            if index % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            let Verdict { record, refused } = match event {
                Submission::Json(bytes) => judge.json(&bytes),
                Submission::Cloud(event) => judge.cloud_event(&event),
                Submission::Event(event) => judge.event(*event),
            };
            records.push(record);
            rejected.extend(refused.map(|refused| Rejection {
                index,
                event_id: refused.event_id,
                code: refused.refusal.code,
                field: refused.refusal.field,
                reason: refused.refusal.reason,
            }));
        }
        let attributes = || vec![KeyValue::new("siji.events", count as i64)];
        if traced.is_some() {
            trace::stage("validate", traced, began, attributes());
        }
        let judged = SystemTime::now();
        self.spool.append(records).await?;
        if traced.is_some() {
            trace::stage("spool", traced, judged, attributes());
        }
        let report = SubmitReport {
            accepted: count - rejected.len() as u64,
            rejected,
        };
        self.count(&report);
        Ok(report)
    }

    fn count(&self, report: &SubmitReport) {
        self.counters
            .accepted
            .fetch_add(report.accepted, Ordering::Relaxed);
        self.counters
            .refused
            .fetch_add(report.rejected.len() as u64, Ordering::Relaxed);
        for rejection in &report.rejected {
            metrics::rejected(rejection.code, 1);
        }
    }
}
