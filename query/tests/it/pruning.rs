//! Files that cannot hold an answer are not read.

use serde_json::{Value, json};
use siji_lake::schema::{LEDGER, ROLLUP};
use siji_query::Engine;

use crate::lake::{TestLake, ledger_row, rollup_row, rows, value};

/// Parquet files in the plan of a query.
async fn files(engine: &Engine, sql: &str) -> usize {
    let plan = rows(engine, &format!("EXPLAIN VERBOSE {sql}"))
        .await
        .unwrap();
    let physical = |row: &&Value| row["plan_type"] == "physical_plan";
    let text = plan.iter().rfind(physical).unwrap()["plan"]
        .as_str()
        .unwrap()
        .to_owned();
    text.matches(".zstd.parquet").count()
}

/// Four days of ledger, a file each.
async fn four_days() -> TestLake {
    let mut lake = TestLake::empty().await;
    for day in 1..=4 {
        let row = |i: i64| {
            ledger_row(
                day * 10 + i,
                json!({
                    "occurred_at": format!("2026-10-{day:02}T0{i}:00:00Z"), "local_date": format!("2026-10-{day:02}"),
                    "district_code": if day % 2 == 0 { "330502" } else { "330521" },
                    "disposition": if day == 4 { "quarantined" } else { "accepted" },
                    "value": format!("{day}.999999"),
                }),
            )
        };
        lake.commit(&LEDGER, &[vec![row(0), row(1), row(2)]]).await;
    }
    lake
}

#[tokio::test]
async fn dates_times_codes_and_offsets_prune_files() {
    let lake = four_days().await;
    let engine = lake.engine();
    let cases = [
        ("SELECT * FROM ledger", 4),
        ("SELECT * FROM ledger WHERE local_date = '2026-10-02'", 1),
        ("SELECT * FROM ledger WHERE local_date >= '2026-10-03'", 2),
        (
            "SELECT * FROM ledger WHERE occurred_at >= '2026-10-04T00:00:00Z'",
            1,
        ),
        (
            "SELECT * FROM ledger WHERE occurred_at = '2026-10-03T02:00:00Z'",
            1,
        ),
        ("SELECT * FROM ledger WHERE district_code = '330521'", 2),
        (
            "SELECT * FROM ledger WHERE district_code IN ('330521', '330599')",
            2,
        ),
        ("SELECT * FROM ledger WHERE \"offset\" BETWEEN 11 AND 21", 2),
        ("SELECT * FROM ledger WHERE \"offset\" > 1000", 0),
        ("SELECT * FROM ledger WHERE value > 100", 4),
        ("SELECT * FROM ledger WHERE code IS NOT NULL", 0),
        ("SELECT * FROM events WHERE local_date <= '2026-10-02'", 2),
        ("SELECT count(event_id) FROM events", 3),
        ("SELECT count(event_id) FROM quarantine", 1),
    ];
    for (sql, expected) in cases {
        assert_eq!(files(&engine, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn pruning_changes_no_answer() {
    let lake = four_days().await;
    let engine = lake.engine();
    let conditions = [
        "local_date = '2026-10-02'",
        "occurred_at > '2026-10-02T01:00:00Z' AND occurred_at <= '2026-10-03T01:00:00Z'",
        "\"offset\" IN (11, 32, 99)",
        "district_code <> '330502'",
        "NOT (local_date < '2026-10-03')",
        "value >= 2.999999",
        "code IS NULL AND district_code LIKE '33052%'",
    ];
    for condition in conditions {
        let pruned = rows(
            &engine,
            &format!("SELECT \"offset\" FROM ledger WHERE {condition} ORDER BY 1"),
        )
        .await
        .unwrap();
        // A condition hidden in a CASE over a random number cannot be used to prune.
        let all = format!(
            "SELECT \"offset\" FROM ledger WHERE CASE WHEN random() >= 0 THEN {condition} ELSE NULL END ORDER BY 1"
        );
        assert_eq!(files(&engine, &all).await, 4);
        assert_eq!(pruned, rows(&engine, &all).await.unwrap(), "{condition}");
        assert!(!pruned.is_empty(), "{condition}");
    }
}

#[tokio::test]
async fn a_tier_reads_only_its_own_files_and_counts_from_the_log() {
    let mut lake = TestLake::empty().await;
    for hour in 1..=3 {
        let files: Vec<_> = ["street", "district", "city"]
            .iter()
            .map(|tier| {
                vec![
                    rollup_row(tier, "3305", hour, json!({})),
                    rollup_row(tier, "3306", hour, json!({})),
                ]
            })
            .collect();
        lake.commit(&ROLLUP, &files).await;
    }
    let engine = lake.engine();
    assert_eq!(files(&engine, "SELECT sum(events) FROM rollup").await, 9);
    assert_eq!(
        files(&engine, "SELECT sum(events) FROM rollup_city").await,
        3
    );
    assert_eq!(
        files(
            &engine,
            "SELECT sum(events) FROM rollup WHERE tier IN ('city', 'street')"
        )
        .await,
        6
    );
    assert_eq!(
        files(
            &engine,
            "SELECT * FROM rollup_street WHERE hour >= '2026-10-01T03:00:00Z'"
        )
        .await,
        1
    );
    assert_eq!(
        files(&engine, "SELECT * FROM rollup WHERE tier = 'nowhere'").await,
        0
    );
    // Whole-file facts: no file is opened.
    for (sql, expected) in [
        ("SELECT count(*) FROM rollup", json!(18)),
        ("SELECT count(*) FROM rollup_city", json!(6)),
        ("SELECT count(hour) FROM rollup_city", json!(6)),
        (
            "SELECT max(local_date) FROM rollup_city",
            json!("2026-10-01"),
        ),
    ] {
        assert_eq!(files(&engine, sql).await, 0, "{sql}");
        assert_eq!(value(&engine, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_limit_without_a_filter_opens_no_more_files_than_it_needs() {
    let lake = four_days().await;
    let engine = lake.engine();
    assert_eq!(files(&engine, "SELECT * FROM ledger LIMIT 4").await, 2);
    assert_eq!(
        rows(&engine, "SELECT * FROM ledger LIMIT 4")
            .await
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        rows(&engine, "SELECT * FROM events LIMIT 9")
            .await
            .unwrap()
            .len(),
        9
    );
}
