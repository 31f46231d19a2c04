//! What is counted of queries: never by user, table or text.

use std::sync::LazyLock;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};

use crate::QueryError;

struct Instruments {
    seconds: Histogram<f64>,
    rejected: Counter<u64>,
    rows: Counter<u64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = opentelemetry::global::meter("siji");
    Instruments {
        seconds: meter
            .f64_histogram("siji_query_seconds")
            .with_description("time from a query's arrival to its last row, by door and outcome")
            .with_boundaries(vec![
                0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
            ])
            .build(),
        rejected: meter
            .u64_counter("siji_queries_rejected")
            .with_description("queries refused before they ran, by reason")
            .build(),
        rows: meter
            .u64_counter("siji_query_rows")
            .with_description("rows handed out by queries")
            .build(),
    }
});

/// One query's clock, from its arrival.
#[derive(Debug)]
pub(super) struct Measure {
    door: &'static str,
    arrived: Instant,
}

impl Measure {
    pub(super) fn start(door: &'static str) -> Self {
        Self {
            door,
            arrived: Instant::now(),
        }
    }

    /// The query was refused before it ran.
    pub(super) fn rejected(self, error: &QueryError) {
        INSTRUMENTS
            .rejected
            .add(1, &[KeyValue::new("reason", error.code())]);
        self.over(error.code());
    }

    pub(super) fn rows(&self, count: usize) {
        INSTRUMENTS.rows.add(count as u64, &[]);
    }

    /// The query is over: `ok`, an error's code, or `cancelled`.
    pub(super) fn over(self, outcome: &'static str) {
        let labels = [
            KeyValue::new("door", self.door),
            KeyValue::new("outcome", outcome),
        ];
        INSTRUMENTS
            .seconds
            .record(self.arrived.elapsed().as_secs_f64(), &labels);
    }
}
