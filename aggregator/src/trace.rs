//! Where the time of a traced event goes, from Kafka to the commit.
//!
//! Records are worked on by the thousand, so a traced one is only noted by its offset while its neighbours pass: when it
//! came, when it was judged, when its batch was sealed. After the commit the four stages become spans of the event's
//! trace, which link to the span of the commit that they share. A record without a sampled `traceparent` costs a look at
//! its headers, and none if it has none. Like the exporter, the notes belong to the process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::trace::{
    Span, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use siji_schemas::trace::TraceContext;
use siji_schemas::wire;

use crate::position::{Partition, Position};

/// Traced records that may be under way; further ones are counted like others but not traced.
const MAX_NOTES: usize = 1024;

/// What is known of a traced record.
struct Note {
    context: TraceContext,
    /// Kafka's time of it: when it was produced, or appended.
    sent: SystemTime,
    consumed: SystemTime,
    judged: Option<SystemTime>,
    sealed: Option<SystemTime>,
}

static NOTES: Mutex<BTreeMap<(i32, i64), Note>> = Mutex::new(BTreeMap::new());
/// Their number, so that nothing is locked while there are none.
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn notes() -> MutexGuard<'static, BTreeMap<(i32, i64), Note>> {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A record came from Kafka.
pub(crate) fn consumed(message: &BorrowedMessage<'_>) {
    let Some(headers) = message.headers() else {
        return;
    };
    let traced = headers
        .iter()
        .find(|header| header.key == wire::HEADER_TRACEPARENT)
        .and_then(|header| TraceContext::parse(header.value?))
        .filter(|context| context.sampled);
    let Some(context) = traced else { return };
    let now = SystemTime::now();
    let sent = message.timestamp().to_millis();
    let sent = sent.and_then(|ms| u64::try_from(ms).ok());
    let sent = sent.map_or(now, |ms| (UNIX_EPOCH + Duration::from_millis(ms)).min(now));
    let mut notes = notes();
    if notes.len() < MAX_NOTES {
        let note = Note {
            context,
            sent,
            consumed: now,
            judged: None,
            sealed: None,
        };
        notes.insert((message.partition(), message.offset()), note);
        COUNT.store(notes.len(), Ordering::Release);
    }
}

/// The records of a partition before `next` are judged and in the open batch.
pub(crate) fn judged(partition: Partition, next: i64) {
    if COUNT.load(Ordering::Acquire) == 0 {
        return;
    }
    let now = SystemTime::now();
    for (_, note) in notes().range_mut((partition.0, i64::MIN)..(partition.0, next)) {
        note.judged.get_or_insert(now);
    }
}

/// The open batch is closed.
pub(crate) fn sealed() {
    if COUNT.load(Ordering::Acquire) == 0 {
        return;
    }
    let now = SystemTime::now();
    for note in notes().values_mut().filter(|note| note.judged.is_some()) {
        note.sealed.get_or_insert(now);
    }
}

/// A batch is in the lake, up to these positions; its commit began then.
pub(crate) fn committed<'p>(
    positions: impl Iterator<Item = (&'p Partition, &'p Position)>,
    rows: usize,
    began: SystemTime,
) {
    if COUNT.load(Ordering::Acquire) == 0 {
        return;
    }
    let mut done = Vec::new();
    {
        let mut notes = notes();
        for (partition, position) in positions {
            let next = position.next.unwrap_or(0);
            done.extend(
                notes.extract_if((partition.0, i64::MIN)..(partition.0, next), |_, _| true),
            );
        }
        COUNT.store(notes.len(), Ordering::Release);
    }
    if done.is_empty() {
        return;
    }
    let tracer = global::tracer("siji_aggregator");
    let commit = commit_span(&tracer, &done[0].1.context, began, rows);
    for ((partition, offset), note) in done {
        report(&tracer, partition, offset, &note, began, &commit);
    }
}

fn under(parent: &TraceContext) -> Context {
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from_bytes(parent.trace_id.to_be_bytes()),
        SpanId::from_bytes(parent.span_id.to_be_bytes()),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    ))
}

/// The span of the commit, in the trace of the first event it was made for; the others link to it.
fn commit_span(
    tracer: &BoxedTracer,
    first: &TraceContext,
    began: SystemTime,
    rows: usize,
) -> SpanContext {
    let mut span = tracer
        .span_builder("commit batch")
        .with_start_time(began)
        .with_attributes([KeyValue::new(
            "siji.rows",
            i64::try_from(rows).unwrap_or(i64::MAX),
        )])
        .start_with_context(tracer, &under(first));
    span.end();
    span.span_context().clone()
}

fn report(
    tracer: &BoxedTracer,
    partition: i32,
    offset: i64,
    note: &Note,
    began: SystemTime,
    commit: &SpanContext,
) {
    let judged = note.judged.unwrap_or(began);
    let sealed = note.sealed.unwrap_or(began);
    let stages = [
        ("consume", note.sent, note.consumed),
        ("judge", note.consumed, judged),
        ("batch", judged, sealed),
        ("commit", sealed, SystemTime::now()),
    ];
    let parent = under(&note.context);
    for (name, from, to) in stages {
        let mut span = tracer
            .span_builder(name)
            .with_start_time(from)
            .with_attributes([
                KeyValue::new("messaging.destination.partition.id", i64::from(partition)),
                KeyValue::new("messaging.kafka.offset", offset),
            ])
            .start_with_context(tracer, &parent);
        span.add_link(commit.clone(), Vec::new());
        span.end_with_timestamp(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_passes_the_stages_with_its_neighbours_and_is_gone_after_the_commit() {
        // A partition that no other test of this process uses.
        let partition = Partition(77_001);
        let now = SystemTime::now();
        let note = || Note {
            context: TraceContext {
                trace_id: 1,
                span_id: 1,
                sampled: true,
            },
            sent: now,
            consumed: now,
            judged: None,
            sealed: None,
        };
        for offset in [5, 9] {
            notes().insert((partition.0, offset), note());
        }
        COUNT.store(2, Ordering::Release);
        judged(partition, 6);
        sealed();
        {
            let notes = notes();
            let of = |offset| &notes[&(partition.0, offset)];
            assert!(of(5).judged.is_some() && of(5).sealed.is_some());
            assert!(of(9).judged.is_none() && of(9).sealed.is_none());
        }
        let position = Position {
            epoch: 1,
            next: Some(6),
            last: None,
            parked: None,
        };
        committed([(&partition, &position)].into_iter(), 10, now);
        let mut notes = notes();
        assert!(!notes.contains_key(&(partition.0, 5)));
        assert!(notes.remove(&(partition.0, 9)).is_some());
    }
}
