//! One trace goes from the HTTP request at a collector to the commit in the lake, and arrives at an OTLP receiver.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::post;
use harness::{Role, Site, TOKEN, new_id, visit, wait_for};
use serde_json::json;

/// Bodies by signal, as they came.
type Received = Arc<Mutex<BTreeMap<String, Vec<Vec<u8>>>>>;

/// An OTLP/HTTP receiver; its address.
async fn receiver(received: Received) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let take = async |State(received): State<Received>, Path(signal): Path<String>, body: Bytes| {
        let mut received = received.lock().unwrap();
        received.entry(signal).or_default().push(body.to_vec());
    };
    let router = Router::new()
        .route("/v1/{signal}", post(take))
        .with_state(received);
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// The fields of a protobuf message that are bytes or messages, by number.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(message: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = message.split_first().unwrap();
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let skip = match key & 7 {
            0 => {
                varint(&mut message);
                0
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (field, rest) = message.split_at(skip);
        if key & 7 == 2 {
            found.push((key >> 3, field));
        }
        message = rest;
    }
    found
}

fn all(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    let fields = fields(message).into_iter();
    fields.filter_map(move |(at, field)| (at == number).then_some(field))
}

/// A span as it was received.
#[derive(Debug, Clone)]
struct Span {
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    links: usize,
}

/// The spans of `ExportTraceServiceRequest`s: resource_spans 1, scope_spans 2, spans 2.
fn spans(requests: &[Vec<u8>]) -> Vec<Span> {
    let mut found = Vec::new();
    for request in requests {
        for resource in all(request, 1) {
            for scope in all(resource, 2) {
                for span in all(scope, 2) {
                    let bytes = |number| all(span, number).next().unwrap_or_default().to_vec();
                    found.push(Span {
                        trace_id: bytes(1),
                        span_id: bytes(2),
                        parent: bytes(4),
                        name: String::from_utf8(bytes(5)).unwrap(),
                        links: all(span, 13).count(),
                    });
                }
            }
        }
    }
    found
}

fn holds(bodies: &[Vec<u8>], text: &str) -> bool {
    let holds = |body: &Vec<u8>| body.windows(text.len()).any(|part| part == text.as_bytes());
    bodies.iter().any(holds)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_shows_every_stage_of_an_event_and_names_nobody() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let received = Received::default();
    let endpoint = receiver(Arc::clone(&received)).await;
    let site = Site::new();
    // By the configuration and by the standard variable.
    let settings = std::fs::read_to_string(site.config()).unwrap();
    let telemetry = format!("[telemetry]\nendpoint = {endpoint:?}\nmetrics_interval_seconds = 1\n");
    std::fs::write(site.config(), settings + &telemetry).unwrap();
    let aggregator = site.start_aggregator();
    let mut command = site.command("collector");
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    let mut collector = Role::start("collector", site.directory.path(), command);
    collector.wait_for_log("collector listening");

    let client = reqwest::Client::new();
    let mut named = visit(&new_id(), 30);
    named["resident"] = json!({"kind": "phone", "id": "13812345678"});
    let answer = client
        .post(site.collector_url("/v1/events"))
        .bearer_auth(TOKEN)
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .json(&json!([named, visit(&new_id(), 10)]))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    // Not sampled by its sender: it travels on, and nothing is recorded.
    let unsampled = TRACE.replace('0', "1");
    let answer = client
        .post(site.collector_url("/v1/events"))
        .bearer_auth(TOKEN)
        .header("traceparent", format!("00-{unsampled}-b7ad6b7169203331-00"))
        .json(&visit(&new_id(), 10))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    site.wait_for_records(4);
    // What waits to be exported is exported at the end.
    for role in [collector, aggregator] {
        let (code, took) = role.terminate();
        assert_eq!(code, Some(0));
        assert!(took.as_secs() < 10);
    }
    wait_for("logs, metrics and traces", || {
        let received = received.lock().unwrap();
        let signals = ["logs", "metrics", "traces"];
        signals
            .iter()
            .all(|s| received.contains_key(*s))
            .then_some(())
    });
    let received = received.lock().unwrap();

    let spans = spans(&received["traces"]);
    let id = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    let of_trace: Vec<&Span> = spans
        .iter()
        .filter(|span| span.trace_id == id(TRACE))
        .collect();
    let request = of_trace
        .iter()
        .find(|span| span.name == "POST /v1/events")
        .unwrap();
    assert_eq!(request.parent, id("b7ad6b7169203331"));
    let below: BTreeSet<&str> = of_trace
        .iter()
        .filter(|span| span.parent == request.span_id)
        .map(|span| span.name.as_str())
        .collect();
    for stage in [
        "validate", "spool", "ship", "consume", "judge", "batch", "commit",
    ] {
        assert!(below.contains(stage), "{stage} in {below:?}");
    }
    let commits = of_trace.iter().filter(|span| span.name == "commit");
    assert!(commits.clone().count() == 2 && commits.clone().all(|span| span.links == 1));
    assert!(spans.iter().all(|span| span.trace_id != id(&unsampled)));

    for (signal, bodies) in received.iter() {
        for role in ["siji-collector", "siji-aggregator"] {
            assert!(holds(bodies, role), "{role} sends {signal}");
        }
        for secret in [TOKEN, "13812345678"] {
            assert!(!holds(bodies, secret), "{secret} in {signal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_away_holds_up_nobody_and_is_told_of_once() {
    let site = Site::new();
    let mut command = site.command("collector");
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("OTEL_BLRP_SCHEDULE_DELAY", "100")
        .env("SIJI_TELEMETRY_SAMPLE_RATIO", "1.0");
    let mut collector = Role::start("collector", site.directory.path(), command);
    collector.wait_for_log("collector listening");
    let client = reqwest::Client::new();
    for _ in 0..20 {
        let event = visit(&new_id(), 10).to_string().into_bytes();
        assert_eq!(site.send(&client, event).await.unwrap().0, 202);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    collector.wait_for_log("telemetry is not exported");
    let log = collector.log();
    for signal in ["traces", "logs"] {
        let told = log
            .lines()
            .filter(|line| line.contains("telemetry is not exported") && line.contains(signal));
        assert!(told.count() <= 1, "{log}");
    }
    assert!(log.lines().count() < 30, "{log}");
    let (code, took) = collector.terminate();
    assert_eq!(code, Some(0));
    assert!(took.as_secs() < 10, "{took:?}");
}
