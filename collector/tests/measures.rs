//! The metrics by the names dashboards and alerts know them by.

mod site;

use std::collections::BTreeMap;

use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::json;
use site::*;

/// Name with labels, to value.
fn scrape(registry: &Registry) -> BTreeMap<String, f64> {
    let mut out = Vec::new();
    TextEncoder::new()
        .encode(&registry.gather(), &mut out)
        .unwrap();
    let text = String::from_utf8(out).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_can_be_read_from_the_metrics() {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_target_info()
        .scope_info_enabled(false)
        .build()
        .unwrap();
    let provider = SdkMeterProvider::builder().with_reader(exporter).build();
    opentelemetry::global::set_meter_provider(provider);

    let site = Site::start().await;
    let bad = event_with(json!({"channel": "telepathy"}));
    assert_eq!(
        site.post(WRITER, &json!([event(), bad, event()]))
            .await
            .status,
        202
    );
    assert_eq!(site.post("wrong", &event()).await.status, 401);
    site.delivered().await;
    site.cluster.broker_down(1).unwrap();
    assert_eq!(site.post(WRITER, &event()).await.status, 202);

    let found = scrape(&registry);
    let value = |name: &str| {
        *found
            .get(name)
            .unwrap_or_else(|| panic!("{name} of {found:#?}"))
    };
    assert_eq!(value(r#"siji_events_received_total{kind="http"}"#), 4.0);
    assert_eq!(value(r#"siji_events_rejected_total{code="V03"}"#), 1.0);
    assert_eq!(value(r#"siji_request_seconds_count{status="202"}"#), 2.0);
    assert_eq!(value(r#"siji_request_seconds_count{status="401"}"#), 1.0);
    assert_eq!(value("siji_spool_commit_seconds_count"), 2.0);
    assert_eq!(value("siji_spool_depth_events"), 1.0);
    assert!(value("siji_spool_bytes") > 100.0);
    assert!(value("siji_spool_kept_bytes") > value("siji_spool_bytes"));
    assert!(value("siji_spool_limit_bytes") > 1e9);
    assert!(value("siji_spool_oldest_age_seconds") >= 0.0);
    assert_eq!(value("siji_spool_queue_fill_ratio"), 0.0);
    assert_eq!(value("siji_spool_failing"), 0.0);
    assert_eq!(value("siji_ship_delivered_events_total"), 4.0);
    assert!(found.contains_key("siji_ship_degraded_seconds"));
    assert!(found.contains_key("siji_ship_in_flight_events"));

    let labels = |name: &str| {
        ["source", "area", "token", "user"]
            .iter()
            .any(|label| name.contains(&format!("{label}=")))
    };
    assert!(!found.keys().any(|name| labels(name)), "{found:#?}");
}
