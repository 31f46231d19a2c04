//! One query, one version of each table.

use futures::StreamExt;
use serde_json::json;
use siji_lake::schema::{LEDGER, ROLLUP};
use siji_lake::snapshot::TableReader;
use siji_query::{Engine, EngineOptions};

use crate::lake::{TestLake, ledger_row, rollup_row, rows, run, value};

#[tokio::test]
async fn the_answer_names_the_version_of_each_table_it_read() {
    let mut lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let first = run(
        &engine,
        "SELECT * FROM events JOIN areas ON district_code = areas.area_code",
    )
    .await
    .unwrap();
    let versions: Vec<(&str, u64)> = first
        .versions
        .iter()
        .map(|(t, v)| (t.as_str(), *v))
        .collect();
    assert_eq!(versions, [("ledger", 1), ("ref_areas", 1)]);
    lake.commit(&LEDGER, &[vec![ledger_row(100, json!({}))]])
        .await;
    let second = run(&engine, "SELECT * FROM quarantine").await.unwrap();
    assert_eq!(second.versions, [("ledger".to_owned(), 2)].into());
    assert!(run(&engine, "SELECT 1").await.unwrap().versions.is_empty());
}

#[tokio::test]
async fn rows_come_from_the_version_at_planning_while_commits_land() {
    let mut lake = TestLake::empty().await;
    let many = |from: i64| {
        (from..from + 2000)
            .map(|i| ledger_row(i, json!({})))
            .collect::<Vec<_>>()
    };
    for i in 0..4 {
        lake.commit(&LEDGER, &[many(i * 2000)]).await;
    }
    let engine = lake.engine();
    let mut result = run(&engine, "SELECT event_id FROM events").await.unwrap();
    let mut seen = result.rows.next().await.unwrap().unwrap().num_rows();
    lake.commit(&LEDGER, &[many(8000)]).await;
    while let Some(batch) = result.rows.next().await {
        seen += batch.unwrap().num_rows();
    }
    assert_eq!(seen, 8000);
    assert_eq!(
        value(&engine, "SELECT count(event_id) FROM events").await,
        10_000
    );
}

#[tokio::test]
async fn a_query_that_names_a_table_twice_reads_it_at_one_version() {
    let mut lake = TestLake::empty().await;
    lake.commit(
        &ROLLUP,
        &[
            vec![rollup_row("city", "3305", 0, json!({}))],
            vec![rollup_row("district", "330502", 0, json!({}))],
        ],
    )
    .await;
    let engine = lake.engine();
    // A writer adds one event to both tiers in each commit; no query may ever see them differ.
    let writing = async {
        for hour in 1..=20 {
            let both = [
                vec![rollup_row("city", "3305", hour, json!({}))],
                vec![rollup_row("district", "330502", hour, json!({}))],
            ];
            lake.commit(&ROLLUP, &both).await;
        }
    };
    let asking = async {
        let mut last = 0;
        while last < 21 {
            let sql = "SELECT (SELECT sum(events) FROM rollup_city) AS city, (SELECT sum(events) FROM rollup_district) AS district";
            let found = rows(&engine, sql).await.unwrap();
            assert_eq!(found[0]["city"], found[0]["district"]);
            last = found[0]["city"].as_i64().unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), async {
        tokio::join!(writing, asking)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn tables_given_as_snapshots_stay_as_they_are() {
    let mut lake = TestLake::with_a_day().await;
    let opened = lake.lake();
    let reader = TableReader::open(
        opened.root_store(),
        opened.table_url("ledger"),
        Default::default(),
    );
    let snapshot = reader.unwrap().current().await.unwrap();
    lake.commit(&LEDGER, &[vec![ledger_row(100, json!({}))]])
        .await;
    let options = EngineOptions {
        snapshots: [("ledger".to_owned(), snapshot), ("rollup".to_owned(), None)].into(),
        ..EngineOptions::default()
    };
    let engine = Engine::open(opened, options).unwrap();
    assert_eq!(value(&engine, "SELECT count(*) FROM events").await, 6);
    assert_eq!(value(&engine, "SELECT count(*) FROM rollup").await, 0);
    assert_eq!(value(&engine, "SELECT count(*) FROM areas").await, 2);
    assert_eq!(
        value(&lake.engine(), "SELECT count(*) FROM events").await,
        7
    );
}
