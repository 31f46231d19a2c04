//! An audit looks at one moment of a lake, whatever is written meanwhile.

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::{COMMUNITY, Site, new_id, visit};
use serde_json::{Value, json};

/// Statements of stocks are derived last.
fn statement() -> Value {
    json!({
        "event_id": new_id(), "event_type": "stock.reported", "occurred_at": "2026-01-31T12:00:00+08:00",
        "area_code": COMMUNITY, "subject_kind": "register", "subject_id": "fac.library", "value": 3, "unit": "n",
        "qualifier": "exact",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_under_load_finds_nothing_again_and_again() {
    let site = Arc::new(Site::new());
    let _aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (site, stop) = (Arc::clone(&site), Arc::clone(&stop));
        async move {
            let client = reqwest::Client::new();
            while !stop.load(Ordering::Relaxed) {
                let mut events: Vec<_> = (0..30).map(|minutes| visit(&new_id(), minutes)).collect();
                events.extend((0..3).map(|_| statement()));
                let body = json!(events).to_string().into_bytes();
                let (status, answer) = site.send(&client, body).await.unwrap();
                assert_eq!(status, 202, "{answer}");
            }
        }
    });
    tokio::task::block_in_place(|| {
        site.wait_for_records(100);
        let mut last = 0;
        for look in 1..=8 {
            let (code, report) = site.verify();
            assert_eq!(code, Some(0), "look {look}: {report}");
            let offsets = report["offsets"].as_i64().unwrap();
            assert!(offsets > last, "look {look}: nothing was written meanwhile");
            last = offsets;
        }
    });
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
}

#[test]
fn a_lake_without_events_is_in_order() {
    let site = Site::new();
    assert_eq!(site.start_aggregator().terminate().0, Some(0));
    let (code, report) = site.verify();
    assert_eq!((code, &report["offsets"]), (Some(0), &json!(0)), "{report}");
}

#[test]
fn partitions_that_begin_at_the_end_of_their_topic_need_no_rows() {
    let site = Site::new();
    let mut command = site.command("aggregator");
    command.env("SIJI_AGGREGATOR_START", "latest");
    let mut aggregator = harness::Role::start("aggregator", site.directory.path(), command);
    aggregator.wait_for_log("health and metrics");
    assert_eq!(aggregator.terminate().0, Some(0));
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
}
