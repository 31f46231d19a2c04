//! From an HTTP request at a collector to the figures of four tiers: the way every event takes.

mod harness;

use harness::{COMMUNITY, Site, new_id, visit};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_accepts_is_counted_once_at_every_tier_and_the_rest_is_explained() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let client = reqwest::Client::new();

    let first = visit(&new_id(), 30);
    let second = visit(&new_id(), 45);
    let nowhere = json!({ "event_id": new_id(), "event_type": "visit.made", "occurred_at": "2026-03-02T09:30:00+08:00",
        "area_code": "999999", "subject_kind": "visit", "subject_id": "v", "qualifier": "exact" });
    let (status, answer) = site
        .send(
            &client,
            json!([first, second, nowhere]).to_string().into_bytes(),
        )
        .await
        .unwrap();
    assert_eq!((status, &answer["accepted"]), (202, &json!(2)), "{answer}");
    assert_eq!(
        (
            &answer["rejected"][0]["index"],
            &answer["rejected"][0]["code"]
        ),
        (&json!(2), &json!("V04")),
        "{answer}"
    );
    // The same event again: taken, and told to be a duplicate later.
    let (status, _) = site
        .send(&client, first.to_string().into_bytes())
        .await
        .unwrap();
    assert_eq!(status, 202);
    // The same id with another body.
    let mut other = visit(first["event_id"].as_str().unwrap(), 31);
    other["subject_id"] = json!("v-2");
    site.send(&client, other.to_string().into_bytes())
        .await
        .unwrap();

    // Those five, and the collector's first sign of life.
    site.wait_for_records(6);
    let dispositions =
        site.sql("SELECT disposition, code, count(*) AS n FROM ledger GROUP BY 1, 2 ORDER BY 1, 2");
    assert_eq!(
        dispositions,
        [
            json!({ "disposition": "accepted", "code": null, "n": 3 }),
            json!({ "disposition": "duplicate", "code": null, "n": 1 }),
            json!({ "disposition": "quarantined", "code": "V04", "n": 1 }),
            json!({ "disposition": "quarantined", "code": "V10", "n": 1 }),
        ]
    );
    for (tier, area) in [
        ("community", COMMUNITY),
        ("street", "330502001"),
        ("district", "330502"),
        ("city", "3305"),
    ] {
        let rows = site.sql(&format!(
            "SELECT area_code, placement, sum(events) AS n, sum(minutes_sum) AS minutes, hist_quantile(minutes_hist, 0.5) AS median \
             FROM rollup_{tier} WHERE event_type = 'visit.made' GROUP BY 1, 2"
        ));
        assert_eq!(rows.len(), 1, "{tier}: {rows:?}");
        assert_eq!(
            (&rows[0]["area_code"], &rows[0]["n"], &rows[0]["minutes"]),
            (&json!(area), &json!(2), &json!(75))
        );
        assert_eq!(rows[0]["placement"], "placed");
    }
    let quarantined =
        site.sql("SELECT code, field, source_id, event_id FROM quarantine WHERE code = 'V04'");
    assert_eq!(
        (&quarantined[0]["field"], &quarantined[0]["source_id"]),
        (&json!("area_code"), &json!("wuxing"))
    );
    assert_eq!(quarantined[0]["event_id"], nowhere["event_id"]);
    let sources = site
        .sql("SELECT source_id, accepted, duplicate, quarantined, sequence_missing FROM sources");
    assert_eq!(
        sources,
        [
            json!({ "source_id": "wuxing", "accepted": 3, "duplicate": 1, "quarantined": 2, "sequence_missing": 0 })
        ]
    );
    let (code, report) = site.verify();
    assert_eq!(
        (code, &report["ok"], &report["offsets"]),
        (Some(0), &json!(true), &json!(6)),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_is_known_as_of_a_day_by_its_latest_statement_and_a_damaged_one_has_no_value() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let client = reqwest::Client::new();
    let stock = |day: &str, value: serde_json::Value, qualifier: &str, recorded: &str| {
        json!({ "event_id": new_id(), "event_type": "stock.reported", "occurred_at": format!("{day}T12:00:00+08:00"),
            "recorded_at": recorded, "area_code": COMMUNITY, "subject_kind": "register", "subject_id": "fac.library",
            "value": value, "unit": "n", "qualifier": qualifier })
    };
    let events = json!([
        stock("2026-01-31", json!(3), "exact", "2026-02-01T08:00:00+08:00"),
        stock("2026-01-31", json!(4), "exact", "2026-02-02T08:00:00+08:00"),
        stock(
            "2026-02-28",
            json!(null),
            "damaged",
            "2026-03-01T08:00:00+08:00"
        ),
    ]);
    let (status, answer) = site
        .send(&client, events.to_string().into_bytes())
        .await
        .unwrap();
    assert_eq!((status, &answer["accepted"]), (202, &json!(3)), "{answer}");
    site.wait_for_records(4);
    let registers = site.sql("SELECT as_of, value, superseded_on FROM registers WHERE register = 'fac.library' ORDER BY as_of");
    assert_eq!(registers.len(), 2, "{registers:?}");
    assert_eq!(
        (&registers[0]["as_of"], &registers[0]["superseded_on"]),
        (&json!("2026-01-31"), &json!("2026-02-28"))
    );
    assert_eq!(
        registers[0]["value"]
            .as_str()
            .unwrap()
            .parse::<f64>()
            .unwrap(),
        4.0,
        "the later statement wins"
    );
    assert_eq!(registers[1]["value"], json!(null));
    // A level is counted as an event and never added up.
    let sums = site.sql("SELECT sum(events) AS n, sum(value_n) AS v FROM rollup_city WHERE event_type = 'stock.reported'");
    assert_eq!((&sums[0]["n"], &sums[0]["v"]), (&json!(3), &json!(0)));
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
}
