//! What the aggregator measures, through the global OpenTelemetry meter.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

use crate::commit::{CommitTimes, Tally};
use crate::run::Health;

/// Instruments written to by the pipeline.
#[derive(Debug)]
pub(crate) struct Metrics {
    records: Counter<u64>,
    commit_seconds: Histogram<f64>,
    batch_rows: Histogram<u64>,
    failures: Counter<u64>,
}

/// Bounds of commit times, seconds.
const SECONDS: [f64; 12] = [
    0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
];
/// Bounds of batch sizes, rows.
const ROWS: [f64; 8] = [
    1.0, 10.0, 100.0, 1_000.0, 10_000.0, 50_000.0, 100_000.0, 250_000.0,
];

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("siji");
        Self {
            records: meter
                .u64_counter("siji_ledger_records")
                .with_description("Kafka records in the ledger, by disposition and code")
                .build(),
            commit_seconds: meter
                .f64_histogram("siji_commit_seconds")
                .with_description(
                    "time to encode a batch (encode), and then from its first file until the files were written (files), the \
                     ledger had them (ledger) and all tables had them (all)",
                )
                .with_boundaries(SECONDS.to_vec())
                .build(),
            batch_rows: meter
                .u64_histogram("siji_batch_rows")
                .with_description("ledger rows in a commit")
                .with_boundaries(ROWS.to_vec())
                .build(),
            failures: meter
                .u64_counter("siji_aggregator_restarts")
                .with_description("times the pipeline started over after an error")
                .build(),
        }
    }

    pub(crate) fn committed(&self, tally: &Tally, rows: u64, times: CommitTimes) {
        for ((disposition, code), n) in tally {
            self.records.add(
                *n,
                &[
                    KeyValue::new("disposition", *disposition),
                    KeyValue::new("code", *code),
                ],
            );
        }
        self.batch_rows.record(rows, &[]);
        for (stage, seconds) in [
            ("encode", times.encode_s),
            ("files", times.write_s),
            ("ledger", times.ledger_s),
            ("all", times.all_s),
        ] {
            self.commit_seconds
                .record(seconds, &[KeyValue::new("stage", stage)]);
        }
    }

    pub(crate) fn started_over(&self) {
        self.failures.add(1, &[]);
    }
}

/// Registers the gauges that are read from `health` whenever somebody asks. Only the first aggregator of a process is
/// shown: there is one in every process that is not a test.
pub(crate) fn observe(health: &Arc<Health>) {
    static OBSERVED: OnceLock<()> = OnceLock::new();
    if OBSERVED.set(()).is_err() {
        return;
    }
    let meter = global::meter("siji");
    let partition = |number: i32| [KeyValue::new("partition", i64::from(number))];
    let source = Arc::downgrade(health);
    meter
        .f64_observable_gauge("siji_partition_lag_seconds")
        .with_description(
            "age of the newest record in the lake while newer ones wait; 0 when none waits",
        )
        .with_callback(move |out| {
            for (number, lag) in source
                .upgrade()
                .map(|health| health.lag_seconds())
                .unwrap_or_default()
            {
                out.observe(lag, &partition(number));
            }
        })
        .build();
    let source = Arc::downgrade(health);
    meter
        .f64_observable_gauge("siji_partition_standstill_seconds")
        .with_description(
            "time since the last progress of a partition of this aggregator while records wait",
        )
        .with_callback(move |out| {
            for (number, seconds) in source
                .upgrade()
                .map(|health| health.standstill_seconds())
                .unwrap_or_default()
            {
                out.observe(seconds, &partition(number));
            }
        })
        .build();
    let source = Arc::downgrade(health);
    meter
        .i64_observable_gauge("siji_partition_lag_events")
        .with_description("records that wait in Kafka")
        .with_callback(move |out| {
            for (number, lag) in source
                .upgrade()
                .map(|health| health.lag_events())
                .unwrap_or_default()
            {
                out.observe(lag, &partition(number));
            }
        })
        .build();
    let source = Arc::downgrade(health);
    meter
        .i64_observable_gauge("siji_partition_stopped")
        .with_description("1 while a partition is stopped and waits for an operator")
        .with_callback(move |out| {
            for (number, stopped) in source
                .upgrade()
                .map(|health| health.stopped())
                .unwrap_or_default()
            {
                out.observe(i64::from(stopped.is_some()), &partition(number));
            }
        })
        .build();
    let gauges: [Gauge; 4] = [
        (
            "siji_queue_chunks",
            "chunks of records that wait for the pipeline",
            Health::queued_chunks,
        ),
        (
            "siji_dedup_bytes",
            "memory held to tell duplicates",
            Health::dedup_bytes,
        ),
        (
            "siji_parked_events",
            "corrections and retractions that wait for their target",
            Health::parked,
        ),
        (
            "siji_open_rows",
            "rows that wait for a commit",
            Health::open_rows,
        ),
    ];
    for (name, description, read) in gauges {
        let source = Arc::downgrade(health);
        meter
            .i64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |out| {
                if let Some(health) = source.upgrade() {
                    out.observe(read(&health), &[]);
                }
            })
            .build();
    }
}

/// Name, description and value of a gauge without labels.
type Gauge = (&'static str, &'static str, fn(&Health) -> i64);

/// By partition.
pub(crate) type ByPartition<T> = BTreeMap<i32, T>;
