//! Corrections and retractions, before and after what they name, through a restart: what counts is the last word.

mod harness;

use std::time::Instant;

use harness::{COMMUNITY, PATIENCE, Site, new_id, visit};
use serde_json::{Value, json};

const AT: &str = "2026-03-02T09:30:00+08:00";

/// `op` on `target`, with its own figures.
fn about(op: &str, target: &Value, minutes: i64) -> Value {
    let mut event = visit(&new_id(), minutes);
    event["op"] = json!(op);
    event["target_event_id"] = target["event_id"].clone();
    event["target_occurred_at"] = target["occurred_at"].clone();
    event
}

async fn send(site: &Site, client: &reqwest::Client, events: &[&Value]) {
    let (status, answer) = site
        .send(client, json!(events).to_string().into_bytes())
        .await
        .unwrap();
    assert_eq!((status, &answer["rejected"]), (202, &json!([])), "{answer}");
}

/// Waits until a query has this answer: derived tables follow the ledger within a moment.
fn becomes(site: &Site, query: &str, expected: &[Value]) {
    let mut last = Vec::new();
    let until = Instant::now() + PATIENCE;
    while last != expected && Instant::now() < until {
        last = site.sql(query);
    }
    assert_eq!(last, expected, "{query}");
}

const MINUTES: &str = "SELECT sum(events) AS n, sum(minutes_sum) AS minutes FROM rollup_street WHERE event_type = 'visit.made'";

#[tokio::test(flavor = "multi_thread")]
async fn the_last_word_counts_whenever_it_came() {
    let site = Site::new();
    let aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let client = reqwest::Client::new();
    let heartbeat = 1;

    let (kept, corrected, retracted, early) = (
        visit(&new_id(), 1),
        visit(&new_id(), 10),
        visit(&new_id(), 100),
        visit(&new_id(), 1000),
    );
    send(&site, &client, &[&kept, &corrected, &retracted]).await;
    site.wait_for_records(heartbeat + 3);
    becomes(&site, MINUTES, &[json!({ "n": 3, "minutes": 111 })]);

    let correction = about("correct", &corrected, 20);
    let retraction = about("retract", &retracted, 100);
    // Its target comes later.
    let hasty = about("correct", &early, 2000);
    send(&site, &client, &[&correction, &retraction, &hasty]).await;
    site.wait_for_records(heartbeat + 6);
    becomes(&site, MINUTES, &[json!({ "n": 2, "minutes": 21 })]);
    let parked =
        site.sql("SELECT event_id, code, field FROM quarantine WHERE disposition = 'parked'");
    assert_eq!(
        parked,
        [json!({ "event_id": hasty["event_id"], "code": "V11", "field": "target_event_id" })]
    );

    // Who takes over knows who waits.
    assert_eq!(aggregator.terminate().0, Some(0));
    let _aggregator = site.start_aggregator();
    // Sent again, all of it changes nothing.
    send(
        &site,
        &client,
        &[&early, &correction, &retraction, &corrected],
    )
    .await;
    site.wait_for_records(heartbeat + 10);
    becomes(&site, MINUTES, &[json!({ "n": 3, "minutes": 2021 })]);

    let events =
        site.sql("SELECT op, minutes FROM events WHERE event_type = 'visit.made' ORDER BY minutes");
    assert_eq!(
        events,
        [
            json!({ "op": "assert", "minutes": 1 }),
            json!({ "op": "correct", "minutes": 20 }),
            json!({ "op": "correct", "minutes": 2000 }),
        ]
    );
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
    // Four visits, two corrections, a retraction and the heartbeat; three came twice; nobody waits any more.
    assert_eq!(
        [&report["accepted"], &report["duplicate"], &report["parked"]],
        [&json!(heartbeat + 7), &json!(3), &json!(0)],
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_was_retracted_leaves_the_one_before_in_force() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let client = reqwest::Client::new();
    let stated = |value: i64, at: &str| {
        json!({ "event_id": new_id(), "event_type": "stock.reported", "occurred_at": at, "area_code": COMMUNITY,
            "subject_kind": "register", "subject_id": "fac.all", "value": value, "unit": "n", "qualifier": "exact" })
    };
    let (first, second) = (stated(7, AT), stated(9, "2026-03-03T09:30:00+08:00"));
    send(&site, &client, &[&first, &second]).await;
    site.wait_for_records(3);
    let stock = "SELECT value FROM registers WHERE superseded_on IS NULL";
    becomes(&site, stock, &[json!({ "value": "9.000000" })]);

    let mut retraction = stated(9, "2026-03-03T09:30:00+08:00");
    retraction["op"] = json!("retract");
    retraction["target_event_id"] = second["event_id"].clone();
    retraction["target_occurred_at"] = second["occurred_at"].clone();
    send(&site, &client, &[&retraction]).await;
    site.wait_for_records(4);
    becomes(&site, stock, &[json!({ "value": "7.000000" })]);
}
