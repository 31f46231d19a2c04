//! Traces, metrics and logs to an OTLP endpoint, by HTTP with protobuf, where one is set.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

use super::quiet::Quiet;
use crate::failure::Failure;
use crate::settings::TelemetrySettings;

/// The standard variable; it stands over the configuration.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Longest an export may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What sends the three signals.
pub(super) struct Exporters {
    pub traces: SdkTracerProvider,
    pub logs: SdkLoggerProvider,
    pub metrics: PeriodicReader<Quiet<MetricExporter>>,
    pub resource: Resource,
}

impl Exporters {
    /// `None` without an endpoint: then nothing is recorded.
    pub(super) fn new(
        settings: &TelemetrySettings,
        role: &str,
    ) -> Result<Option<Exporters>, Failure> {
        let Some(endpoint) = Endpoint::of(settings)? else {
            return Ok(None);
        };
        let wrong = |error: ExporterBuildError| Failure::usage(format!("telemetry: {error}"));
        let spans = SpanExporter::builder().with_http();
        let spans = endpoint.set(spans, "traces").build().map_err(wrong)?;
        let records = LogExporter::builder().with_http();
        let records = endpoint.set(records, "logs").build().map_err(wrong)?;
        let measures = MetricExporter::builder().with_http();
        let measures = endpoint.set(measures, "metrics").build().map_err(wrong)?;
        let resource = resource(role);
        let mut traces = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(Quiet::new("traces", spans));
        if std::env::var_os("OTEL_TRACES_SAMPLER").is_none() {
            let roots = Sampler::TraceIdRatioBased(settings.sample_ratio);
            traces = traces.with_sampler(Sampler::ParentBased(Box::new(roots)));
        }
        let logs = SdkLoggerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(Quiet::new("logs", records));
        let metrics = PeriodicReader::builder(Quiet::new("metrics", measures))
            .with_interval(Duration::from_secs(settings.metrics_interval_seconds));
        Ok(Some(Exporters {
            traces: traces.build(),
            logs: logs.build(),
            metrics: metrics.build(),
            resource,
        }))
    }
}

/// Where to send.
pub(super) enum Endpoint {
    /// The exporters read the standard variables themselves.
    Environment,
    /// Base of the three addresses.
    Configured(String),
}

impl Endpoint {
    /// `None`: nowhere.
    pub(super) fn of(settings: &TelemetrySettings) -> Result<Option<Endpoint>, Failure> {
        let disabled = std::env::var("OTEL_SDK_DISABLED");
        if disabled.is_ok_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let set = std::env::var(ENDPOINT).ok().filter(|url| !url.is_empty());
        let (name, url) = match (&set, &settings.endpoint) {
            (Some(url), _) => (ENDPOINT, url),
            (None, Some(url)) => ("telemetry.endpoint", url),
            (None, None) => return Ok(None),
        };
        check(url).map_err(|why| Failure::usage(format!("{name}: {why}")))?;
        Ok(Some(match set {
            Some(_) => Endpoint::Environment,
            None => Endpoint::Configured(url.trim_end_matches('/').to_owned()),
        }))
    }

    fn set<B: WithExportConfig>(&self, builder: B, signal: &str) -> B {
        let builder = builder
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIMEOUT);
        match self {
            Endpoint::Environment => builder,
            Endpoint::Configured(base) => builder.with_endpoint(format!("{base}/v1/{signal}")),
        }
    }
}

/// The address is shown in errors, so it must hold no password.
fn check(url: &str) -> Result<(), String> {
    let url = url::Url::parse(url)
        .map_err(|error| format!("{error}; an endpoint looks like http://collector:4318"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("expected http:// or https://: OTLP is sent by HTTP with protobuf".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("put credentials into OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    Ok(())
}

/// Who sends. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are read by the SDK.
fn resource(role: &str) -> Resource {
    let mut resource = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ]);
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(format!("siji-{role}"));
    }
    resource.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_http_address_without_credentials() {
        assert_eq!(check("http://127.0.0.1:4318"), Ok(()));
        assert_eq!(check("https://otel.example/base/"), Ok(()));
        for wrong in [
            "collector:4318",
            "4318",
            "grpc://x:4317",
            "http://me:secret@x",
        ] {
            let why = check(wrong).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
