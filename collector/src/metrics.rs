//! What the collector measures, through the global OpenTelemetry meter.
//!
//! Names carry their unit; a Prometheus exporter adds `_total` to counters. Nothing is labelled by source, token or
//! area. Several collectors in one process (the demo) are summed, ages take the greatest.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{KeyValue, global};
use siji_schemas::Code;

use crate::ship::ShipStatus;
use crate::spool::{Gauges, Spool};

struct Instruments {
    received: Counter<u64>,
    rejected: Counter<u64>,
    requests: Histogram<f64>,
    commits: Histogram<f64>,
    spool_failures: Counter<u64>,
    shipped: Counter<u64>,
    stuck: Counter<u64>,
    rebuilt: Counter<u64>,
}

/// Seconds, from a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

fn instruments() -> &'static Instruments {
    static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
    INSTRUMENTS.get_or_init(|| {
        let meter = global::meter("siji");
        let counter = |name: &'static str, what: &'static str| {
            meter.u64_counter(name).with_description(what).build()
        };
        let seconds = |name: &'static str, what: &'static str| {
            meter
                .f64_histogram(name)
                .with_boundaries(SECONDS.to_vec())
                .with_description(what)
                .build()
        };
        observe_spools(&meter);
        Instruments {
            received: counter("siji_events_received", "events that reached validation"),
            rejected: counter(
                "siji_events_rejected",
                "events refused by the collector, by code",
            ),
            requests: seconds(
                "siji_request_seconds",
                "time from a request's first byte to its answer",
            ),
            commits: seconds(
                "siji_spool_commit_seconds",
                "time of a spool transaction with its fsync",
            ),
            spool_failures: counter(
                "siji_spool_failures",
                "failed spool transactions; intake stopped each time",
            ),
            shipped: counter(
                "siji_ship_delivered_events",
                "records the broker has confirmed, resent ones included",
            ),
            stuck: counter(
                "siji_ship_stuck_events",
                "records set aside as undeliverable",
            ),
            rebuilt: counter(
                "siji_ship_producer_rebuilds",
                "producers replaced after a fatal error",
            ),
        }
    })
}

/// A running collector's spool and sender, as far as they still exist.
struct Observed {
    spool: Weak<Spool>,
    ship: Weak<ShipStatus>,
}

fn observed() -> &'static Mutex<Vec<Observed>> {
    static OBSERVED: OnceLock<Mutex<Vec<Observed>>> = OnceLock::new();
    OBSERVED.get_or_init(Mutex::default)
}

/// Includes a collector in the gauges, for as long as it lives.
pub(crate) fn observe(spool: &Arc<Spool>, ship: &Arc<ShipStatus>) {
    instruments();
    let mut all = observed().lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|one| one.spool.strong_count() > 0);
    all.push(Observed {
        spool: Arc::downgrade(spool),
        ship: Arc::downgrade(ship),
    });
}

fn fold(
    start: f64,
    fold: impl Fn(f64, f64) -> f64,
    of: impl Fn(&Gauges, &ShipStatus) -> f64,
) -> f64 {
    let all = observed().lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().fold(start, |sum, one| {
        match (one.spool.upgrade(), one.ship.upgrade()) {
            (Some(spool), Some(ship)) => fold(sum, of(&spool.gauges(), &ship)),
            _ => sum,
        }
    })
}

fn observe_spools(meter: &Meter) {
    type Of = fn(&Gauges, &ShipStatus) -> f64;
    let sums: [(&'static str, &'static str, Of); 6] = [
        (
            "siji_spool_bytes",
            "bytes of disk of records that wait for delivery",
            |g, _| g.waiting_bytes as f64,
        ),
        (
            "siji_spool_kept_bytes",
            "bytes of disk of all records kept, delivered ones included",
            |g, _| g.kept_bytes as f64,
        ),
        (
            "siji_spool_limit_bytes",
            "bytes at which intake stops",
            |g, _| g.limit_bytes as f64,
        ),
        (
            "siji_spool_depth_events",
            "records that wait for delivery",
            |g, _| g.depth as f64,
        ),
        (
            "siji_spool_stuck_events",
            "blocks and records set aside as undeliverable",
            |g, _| g.stuck as f64,
        ),
        (
            "siji_ship_in_flight_events",
            "records given to the producer without a report",
            |_, s| s.in_flight() as f64,
        ),
    ];
    for (name, what, of) in sums {
        let gauge = meter.f64_observable_gauge(name).with_description(what);
        gauge
            .with_callback(move |observer| observer.observe(fold(0.0, |a, b| a + b, of), &[]))
            .build();
    }
    let greatest: [(&'static str, &'static str, Of); 4] = [
        (
            "siji_spool_oldest_age_seconds",
            "age of the oldest record that waits",
            |g, _| g.oldest_age_s,
        ),
        (
            "siji_spool_queue_fill_ratio",
            "requests that wait for the disk, of those allowed",
            |g, _| g.queued_requests as f64 / g.queue_requests.max(1) as f64,
        ),
        (
            "siji_spool_failing",
            "1 while the spool's disk is not trusted",
            |g, _| f64::from(u8::from(g.failing.is_some())),
        ),
        (
            "siji_ship_degraded_seconds",
            "how long nothing could be delivered; 0 when all is well",
            |_, s| s.degraded().map_or(0.0, |(since, _)| since.as_secs_f64()),
        ),
    ];
    for (name, what, of) in greatest {
        let gauge = meter.f64_observable_gauge(name).with_description(what);
        gauge
            .with_callback(move |observer| observer.observe(fold(0.0, f64::max, of), &[]))
            .build();
    }
}

/// Events that reached validation; `kind` is the way in.
pub(crate) fn received(kind: &'static str, events: u64) {
    instruments()
        .received
        .add(events, &[KeyValue::new("kind", kind)]);
}

pub(crate) fn rejected(code: Code, events: u64) {
    instruments()
        .rejected
        .add(events, &[KeyValue::new("code", code.as_str())]);
}

pub(crate) fn request(status: u16, took: Duration) {
    instruments().requests.record(
        took.as_secs_f64(),
        &[KeyValue::new("status", i64::from(status))],
    );
}

pub(crate) fn spool_commit(took: Duration) {
    instruments().commits.record(took.as_secs_f64(), &[]);
}

pub(crate) fn spool_failure() {
    instruments().spool_failures.add(1, &[]);
}

pub(crate) fn shipped(records: u64) {
    instruments().shipped.add(records, &[]);
}

pub(crate) fn stuck() {
    instruments().stuck.add(1, &[]);
}

pub(crate) fn producer_rebuilt() {
    instruments().rebuilt.add(1, &[]);
}
