//! What `sources` tells of each collector.

use serde_json::json;

use crate::lake::{TestLake, ledger_row, rows};

#[tokio::test]
async fn sources_count_dispositions_and_sequence_gaps_per_incarnation() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let found = rows(
        &engine,
        "SELECT source_id, accepted, duplicate, quarantined, parked, incarnations, sequence_received, sequence_missing, \
         last_event_at, lag_p95_1d_seconds FROM sources ORDER BY source_id",
    )
    .await
    .unwrap();
    let c1 = json!({
        "source_id": "c1", "accepted": 4, "duplicate": 1, "quarantined": 1, "parked": 0, "incarnations": 1,
        "sequence_received": 5, "sequence_missing": 2, "last_event_at": "2026-10-01T00:00:01Z", "lag_p95_1d_seconds": null,
    });
    let c2 = json!({
        "source_id": "c2", "accepted": 2, "duplicate": 0, "quarantined": 0, "parked": 1, "incarnations": 2,
        "sequence_received": 3, "sequence_missing": 0, "last_event_at": "2026-10-01T00:00:01Z", "lag_p95_1d_seconds": null,
    });
    assert_eq!(found, [c1, c2]);
}

#[tokio::test]
async fn lag_is_that_of_the_last_day() {
    let mut lake = TestLake::empty().await;
    let now = chrono::Utc::now();
    let at = |seconds: i64| (now - chrono::Duration::seconds(seconds)).to_rfc3339();
    let row = |offset: i64, recorded: i64, ingested: i64| {
        ledger_row(
            offset,
            json!({"recorded_at": at(recorded), "ingested_at": at(ingested)}),
        )
    };
    // Ten days old with a lag of a day; then three within the hour with lags of 1, 2 and 30 seconds.
    let old = row(0, 11 * 86_400, 10 * 86_400);
    lake.commit(
        &siji_lake::schema::LEDGER,
        &[vec![old, row(1, 101, 100), row(2, 92, 90), row(3, 110, 80)]],
    )
    .await;
    let found = rows(&lake.engine(), "SELECT * FROM sources").await.unwrap();
    let seconds = |name: &str| found[0][name].as_f64().unwrap();
    assert!(
        (seconds("lag_max_1h_seconds") - 30.0).abs() < 0.01,
        "{found:?}"
    );
    assert!(
        (seconds("lag_p50_1d_seconds") - 2.0).abs() < 0.5,
        "{found:?}"
    );
    assert!(
        seconds("silent_seconds") >= 80.0 && seconds("silent_seconds") < 120.0,
        "{found:?}"
    );
}
