//! Logs, metrics and traces of the process.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use opentelemetry::global;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Encoder, Registry, TextEncoder};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::broker::LOG_DIRECTIVES;
use crate::failure::Failure;
use crate::settings::{LogSettings, TelemetrySettings};

mod otlp;
mod quiet;
use otlp::{Endpoint, Exporters};

static REGISTRY: OnceLock<Registry> = OnceLock::new();

static EXPORTERS: OnceLock<Running> = OnceLock::new();

/// What has to be flushed at the end.
struct Running {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
    metrics: SdkMeterProvider,
}

/// What this process is: named in what it exports, if it exports.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A role, or a pipeline in one process.
    Role(&'static str),
    /// A command that ends; it exports nothing.
    Job,
}

/// Starts logging to stderr and measuring, and exporting if an endpoint is set. `RUST_LOG`, where set, stands over the
/// configuration.
pub fn start(log: &LogSettings, export: &TelemetrySettings, kind: Kind) -> Result<(), Failure> {
    let exporters = match kind {
        Kind::Role(role) => Exporters::new(export, role)?,
        Kind::Job => None,
    };
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| log.level.clone());
    // Libraries that speak of their own matters at `info`.
    let quiet = [
        "opentelemetry=warn",
        "delta_kernel=warn",
        "buoyant_kernel=off",
        "buoyant_kernel_engine=warn",
        "deltalake_core=warn",
    ]
    .into_iter()
    .chain(LOG_DIRECTIVES);
    let filter = format!("warn,{directives},{}", quiet.collect::<Vec<_>>().join(","));
    let filter = EnvFilter::try_new(&filter)
        .map_err(|error| Failure::usage(format!("log.level: {error}")))?;
    // What the export itself logs is not exported: it would never come to rest.
    let exported = exporters.as_ref().map(|exporters| {
        OpenTelemetryTracingBridge::new(&exporters.logs)
            .with_filter(filter_fn(|event| event.target().starts_with("siji")))
    });
    let registry = tracing_subscriber::registry().with(filter).with(exported);
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let started = if log.json {
        registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .with_writer(std::io::stderr),
            )
            .try_init()
    } else {
        registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(ansi)
                    .with_writer(std::io::stderr),
            )
            .try_init()
    };
    started.map_err(|error| Failure::new(format!("cannot start logging: {error}")))?;
    measure(exporters)
}

/// Whether what is set leads to an exporter, for roles that would export; nothing is sent.
pub fn check(export: &TelemetrySettings) -> Result<(), Failure> {
    Endpoint::of(export).map(|_| ())
}

fn measure(exporters: Option<Exporters>) -> Result<(), Failure> {
    let registry = Registry::new();
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .without_target_info()
        .build()
        .map_err(|error| Failure::new(format!("cannot start metrics: {error}")))?;
    let metrics = SdkMeterProvider::builder().with_reader(reader);
    let metrics = match exporters {
        None => metrics.build(),
        Some(exporters) => {
            let Exporters {
                traces,
                logs,
                metrics: reader,
                resource,
            } = exporters;
            let metrics = metrics.with_reader(reader).with_resource(resource).build();
            global::set_tracer_provider(traces.clone());
            EXPORTERS.get_or_init(|| Running {
                traces,
                logs,
                metrics: metrics.clone(),
            });
            metrics
        }
    };
    global::set_meter_provider(metrics);
    let build = global::meter("siji")
        .u64_gauge("siji_build_info")
        .with_description("1, with the version as label")
        .build();
    build.record(
        1,
        &[opentelemetry::KeyValue::new(
            "version",
            env!("CARGO_PKG_VERSION"),
        )],
    );
    REGISTRY.get_or_init(|| registry);
    Ok(())
}

/// Sends what has not been sent yet, for as long as `patience` lasts. An endpoint that does not answer holds up nobody.
pub fn finish(patience: Duration) {
    let Some(Running {
        traces,
        logs,
        metrics,
    }) = EXPORTERS.get()
    else {
        return;
    };
    let (done, finished) = std::sync::mpsc::channel();
    type Flush = Box<dyn FnOnce() -> OTelSdkResult + Send>;
    let (traces, logs, metrics) = (traces.clone(), logs.clone(), metrics.clone());
    let flushes: [Flush; 3] = [
        Box::new(move || traces.shutdown_with_timeout(patience)),
        Box::new(move || logs.shutdown_with_timeout(patience)),
        Box::new(move || metrics.shutdown_with_timeout(patience)),
    ];
    let until = Instant::now() + patience;
    for flush in flushes {
        let done = done.clone();
        // Not joined: whoever is late ends with the process.
        std::thread::spawn(move || done.send(flush().is_ok()));
    }
    let ended = (0..3).map(|_| {
        let left = until.saturating_duration_since(Instant::now());
        finished.recv_timeout(left).unwrap_or(false)
    });
    // Each is to end, whether or not another did.
    if ended.filter(|ended| !ended).count() > 0 {
        eprintln!("siji: the last telemetry was not exported");
    }
}

/// The metrics in Prometheus' text format.
pub fn render() -> Result<String, prometheus::Error> {
    let mut out = Vec::new();
    if let Some(registry) = REGISTRY.get() {
        TextEncoder::new().encode(&registry.gather(), &mut out)?;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
