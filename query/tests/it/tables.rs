//! Tables and views show what they say.

use serde_json::{Value, json};

use crate::lake::{TestLake, rows, rows_with, value};

#[tokio::test]
async fn events_are_the_accepted_rows_with_lineage_and_ancestors() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    assert_eq!(value(&engine, "SELECT count(*) FROM events").await, 6);
    let one = rows(&engine, "SELECT * FROM events WHERE event_id = 'e1'")
        .await
        .unwrap();
    assert_eq!(one[0]["district_code"], "330521");
    assert_eq!(
        (&one[0]["offset"], &one[0]["amount_fen"]),
        (&json!(1), &json!(12345))
    );
    assert_eq!(
        (&one[0]["value"], &one[0]["unit"]),
        (&json!("3.500000"), &json!("m2"))
    );
    assert_eq!(one[0]["attrs"], json!({"line": "12345"}));
    assert_eq!(one[0]["occurred_at"], "2026-10-01T00:00:00Z");
    assert!(one[0].get("payload").is_none());
}

#[tokio::test]
async fn quarantine_holds_the_refused_and_the_parked_with_their_reason() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let found = rows(
        &engine,
        "SELECT disposition, code, field, reason FROM quarantine ORDER BY \"offset\"",
    )
    .await
    .unwrap();
    let expected = [
        json!({"disposition": "quarantined", "code": "V04", "field": "area_code", "reason": "unknown area"}),
        json!({"disposition": "parked", "code": "V11", "field": null, "reason": "target not seen"}),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_ledger_accounts_for_every_offset() {
    let lake = TestLake::with_a_day().await;
    assert_eq!(
        value(
            &lake.engine(),
            "SELECT sum(offset_last - \"offset\" + 1) FROM ledger"
        )
        .await,
        12
    );
}

#[tokio::test]
async fn every_tier_of_the_rollup_tells_the_same_total() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    for tier in ["street", "district", "city"] {
        assert_eq!(
            value(&engine, &format!("SELECT sum(events) FROM rollup_{tier}")).await,
            11,
            "{tier}"
        );
    }
    for tier in ["community", "province"] {
        assert_eq!(
            value(&engine, &format!("SELECT count(*) FROM rollup_{tier}")).await,
            0,
            "{tier}"
        );
    }
    let by_tier = rows(
        &engine,
        "SELECT tier, sum(events) AS n FROM rollup GROUP BY tier ORDER BY tier",
    )
    .await
    .unwrap();
    assert_eq!(by_tier[0], json!({"tier": "city", "n": 11}));
    assert_eq!(
        value(&engine, "SELECT sum(value_sum) FROM rollup_city").await,
        "2.500000"
    );
}

#[tokio::test]
async fn quantiles_come_from_merged_histograms() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    assert_eq!(
        value(
            &engine,
            "SELECT hist_quantile(minutes_hist, 0.5) FROM rollup_city"
        )
        .await,
        6.0
    );
    assert_eq!(
        value(
            &engine,
            "SELECT hist_quantile(minutes_hist, 1) FROM rollup_district"
        )
        .await,
        11.0
    );
    let grouped = "SELECT area_code, hist_quantile(minutes_hist, 0.5) AS m FROM rollup_district GROUP BY area_code ORDER BY 1";
    let expected = [
        json!({"area_code": "330502", "m": 3.0}),
        json!({"area_code": "330521", "m": 9.0}),
    ];
    assert_eq!(rows(&engine, grouped).await.unwrap(), expected);
    let wrong = rows(
        &engine,
        "SELECT hist_quantile(minutes_hist, 1.5) FROM rollup_city",
    )
    .await
    .unwrap_err();
    assert!(wrong.to_string().contains("from 0 to 1"), "{wrong}");
    let wrong = rows(
        &engine,
        "SELECT hist_quantile(events, 0.5) FROM rollup_city",
    )
    .await
    .unwrap_err();
    assert!(wrong.to_string().contains("minutes_hist"), "{wrong}");
}

#[tokio::test]
async fn a_register_shows_its_last_statement_and_its_value_as_of_a_date() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let all = rows(&engine, "SELECT as_of, superseded_on, value, event_id FROM registers WHERE area_code = 'a1' ORDER BY as_of")
        .await
        .unwrap();
    let expected = [
        json!({"as_of": "2007-06-28", "superseded_on": "2008-01-01", "value": "12.000000", "event_id": "r2"}),
        json!({"as_of": "2008-01-01", "superseded_on": null, "value": "20.000000", "event_id": "r3"}),
    ];
    assert_eq!(all, expected);
    let as_of = "SELECT area_code, value FROM registers \
                 WHERE as_of <= $1 AND (superseded_on IS NULL OR superseded_on > $1) ORDER BY area_code";
    let then = |day: &'static str| {
        let engine = engine.clone();
        async move { rows_with(&engine, as_of, &[json!(day)]).await.unwrap() }
    };
    let damaged = json!({"area_code": "a2", "value": null});
    assert_eq!(then("2006-12-31").await, Vec::<Value>::new());
    assert_eq!(
        then("2007-12-31").await,
        [
            json!({"area_code": "a1", "value": "12.000000"}),
            damaged.clone()
        ]
    );
    assert_eq!(
        then("2008-01-01").await,
        [json!({"area_code": "a1", "value": "20.000000"}), damaged]
    );
}

#[tokio::test]
async fn areas_are_those_loaded_last() {
    let lake = TestLake::with_a_day().await;
    let names = rows(&lake.engine(), "SELECT name FROM areas ORDER BY area_code")
        .await
        .unwrap();
    assert_eq!(
        names,
        [json!({"name": "吴兴区"}), json!({"name": "德清县"})]
    );
}

#[tokio::test]
async fn text_and_dates_given_as_parameters_compare_with_columns() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let sql = "SELECT count(*) AS n FROM events WHERE occurred_at >= $1 AND local_date = $2 AND district_code = $3";
    let found = rows_with(
        &engine,
        sql,
        &[
            json!("2026-10-01T00:00:00+08:00"),
            json!("2026-10-01"),
            json!("330521"),
        ],
    )
    .await;
    assert_eq!(found.unwrap(), [json!({"n": 2})]);
    let few = rows_with(&engine, sql, &[json!("2026-10-01")])
        .await
        .unwrap_err();
    assert_eq!(
        (few.code(), few.to_string().contains("has 3, 1 were given")),
        ("parameters", true),
        "{few}"
    );
    let many = rows_with(&engine, "SELECT 1", &[json!(1)])
        .await
        .unwrap_err();
    assert_eq!(many.code(), "parameters");
}

#[tokio::test]
async fn today_is_the_local_day() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let zone = chrono::FixedOffset::east_opt(8 * 3600).unwrap();
    let before = chrono::Utc::now().with_timezone(&zone).date_naive();
    let today = value(&engine, "SELECT current_date").await;
    let after = chrono::Utc::now().with_timezone(&zone).date_naive();
    assert!(
        [before, after]
            .map(|day| json!(day.to_string()))
            .contains(&today),
        "{today}"
    );
    // 2026-10-01T00:00Z is eight in the morning there.
    let day = "SELECT DISTINCT date_trunc('day', occurred_at AT TIME ZONE '+08:00') FROM events";
    assert_eq!(value(&engine, day).await, "2026-10-01T00:00:00+08:00");
}
