//! Where the time of a traced event goes: spans of a request, and of the stages that its events pass.
//!
//! Without an exporter the global tracer does nothing, and what a client sends as `traceparent` travels on as it came.
//! With one, the request is a span of its own, sampled as its parent was or, without one, as configured; its records
//! carry that span, so that whatever happens to them later is found under it. Attributes are counts and statuses.

use std::collections::BTreeMap;
use std::time::SystemTime;

use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use siji_schemas::trace::TraceContext;
use siji_schemas::wire;

use crate::spool::SpooledRecord;

/// Traced records under way to the broker at a time; more are sent like others.
const MAX_UNDER_WAY: usize = 1024;

fn tracer() -> BoxedTracer {
    global::tracer("siji_collector")
}

fn under(parent: TraceContext) -> Context {
    let flags = if parent.sampled {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from_bytes(parent.trace_id.to_be_bytes()),
        SpanId::from_bytes(parent.span_id.to_be_bytes()),
        flags,
        true,
        TraceState::default(),
    ))
}

/// Reports a stage that is over, if its trace is recorded.
pub(crate) fn stage(
    name: &'static str,
    parent: Option<TraceContext>,
    began: SystemTime,
    attributes: Vec<KeyValue>,
) {
    let Some(parent) = parent.filter(|parent| parent.sampled) else {
        return;
    };
    let tracer = tracer();
    let stage = tracer
        .span_builder(name)
        .with_start_time(began)
        .with_attributes(attributes);
    stage.start_with_context(&tracer, &under(parent)).end();
}

/// Makes the spans of requests.
pub(crate) struct Requests(BoxedTracer);

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Requests")
    }
}

impl Requests {
    pub fn new() -> Requests {
        Requests(tracer())
    }

    /// A request begins.
    pub fn begin(&self, parent: Option<TraceContext>) -> RequestSpan {
        let builder = self
            .0
            .span_builder("POST /v1/events")
            .with_kind(SpanKind::Server);
        let context = parent.map_or_else(Context::new, under);
        let span = builder.start_with_context(&self.0, &context);
        let carried = if span.is_recording() {
            let own = span.span_context();
            Some(TraceContext {
                trace_id: u128::from_be_bytes(own.trace_id().to_bytes()),
                span_id: u64::from_be_bytes(own.span_id().to_bytes()),
                sampled: own.is_sampled(),
            })
        } else {
            parent
        };
        RequestSpan { span, carried }
    }
}

/// The span of one request.
pub(crate) struct RequestSpan {
    span: BoxedSpan,
    /// What the records of the request carry.
    pub carried: Option<TraceContext>,
}

impl RequestSpan {
    /// The request was answered.
    pub fn end(mut self, status: u16, events: usize) {
        if self.span.is_recording() {
            self.span.set_attributes([
                KeyValue::new("http.response.status_code", i64::from(status)),
                KeyValue::new("siji.events", i64::try_from(events).unwrap_or(i64::MAX)),
            ]);
        }
        self.span.end();
    }
}

/// Traced records that were given to the producer and have no report yet, by position.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(BTreeMap<u64, (TraceContext, SystemTime)>);

impl UnderWay {
    /// A record was given to the producer.
    pub fn sent(&mut self, record: &SpooledRecord<'_>) {
        let traced = record
            .headers
            .iter()
            .find(|(name, _)| *name == wire::HEADER_TRACEPARENT)
            .and_then(|(_, value)| TraceContext::parse(value))
            .filter(|context| context.sampled);
        if let Some(context) = traced
            && self.0.len() < MAX_UNDER_WAY
        {
            self.0.insert(record.position, (context, SystemTime::now()));
        }
    }

    /// The broker has it.
    pub fn delivered(&mut self, position: u64) {
        if self.0.is_empty() {
            return;
        }
        if let Some((context, sent)) = self.0.remove(&position) {
            stage("ship", Some(context), sent, Vec::new());
        }
    }

    /// What was under way will be sent again.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}
