//! Logs and metrics of the process.

use std::sync::OnceLock;

use opentelemetry::global;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::broker::LOG_DIRECTIVES;
use crate::failure::Failure;
use crate::settings::LogSettings;

static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Starts logging to stderr and measuring. `RUST_LOG`, where set, stands over the configuration.
pub fn start(settings: &LogSettings) -> Result<(), Failure> {
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| settings.level.clone());
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
    let registry = tracing_subscriber::registry().with(filter);
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let started = if settings.json {
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
    measure()
}

fn measure() -> Result<(), Failure> {
    let registry = Registry::new();
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .without_target_info()
        .build()
        .map_err(|error| Failure::new(format!("cannot start metrics: {error}")))?;
    global::set_meter_provider(SdkMeterProvider::builder().with_reader(reader).build());
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

/// The metrics in Prometheus' text format.
pub fn render() -> Result<String, prometheus::Error> {
    let mut out = Vec::new();
    if let Some(registry) = REGISTRY.get() {
        TextEncoder::new().encode(&registry.gather(), &mut out)?;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
