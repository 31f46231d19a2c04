//! Exporters that say once that they fail, and once that they work again.
//!
//! The SDK logs every batch that could not be exported; an endpoint that is away would fill the log, and the log's own
//! export with it. What is not exported is dropped by the SDK, whose queues are bounded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// An exporter of one signal.
#[derive(Debug)]
pub(super) struct Quiet<E> {
    inner: E,
    signal: &'static str,
    failing: AtomicBool,
}

impl<E> Quiet<E> {
    pub(super) fn new(signal: &'static str, inner: E) -> Quiet<E> {
        Quiet {
            inner,
            signal,
            failing: AtomicBool::new(false),
        }
    }

    fn tell(&self, exported: OTelSdkResult) -> OTelSdkResult {
        let signal = self.signal;
        match exported {
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(signal, %error, "telemetry is not exported and is dropped until the endpoint takes it");
                }
            }
            Ok(()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(signal, "telemetry is exported again");
                }
            }
        }
        Ok(())
    }
}

impl<E: SpanExporter> SpanExporter for Quiet<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.tell(self.inner.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Quiet<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.tell(self.inner.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Quiet<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.tell(self.inner.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}
