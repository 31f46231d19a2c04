//! Queries that run away are stopped, and the engine goes on.

use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::json;
use siji_query::Limits;

use crate::lake::{TestLake, failure, rows, run, value};

/// Runs for ages without reading anything.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b \
                       WHERE (a.value * b.value) % 7 = 3";

fn short() -> Limits {
    Limits {
        deadline: Duration::from_millis(700),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_query_past_its_deadline_is_stopped_in_time_and_says_so() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(short());
    let started = Instant::now();
    let error = failure(&engine, ENDLESS).await;
    assert_eq!(error.code(), "deadline", "{error}");
    assert!(error.to_string().contains("0.7 s"), "{error}");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(value(&engine, "SELECT count(*) FROM events").await, 6);
}

#[tokio::test]
async fn a_reader_that_stalls_loses_its_query_at_the_deadline() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        concurrent: 1,
        ..short()
    });
    let mut stalled = run(&engine, "SELECT * FROM generate_series(1, 100000000)")
        .await
        .unwrap();
    stalled.rows.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    // Its place is free again although nobody read on.
    assert_eq!(value(&engine, "SELECT 1").await, 1);
    let mut last = None;
    while let Some(next) = stalled.rows.next().await {
        last = Some(next.map(|batch| batch.num_rows()));
    }
    assert_eq!(last.unwrap().unwrap_err().code(), "deadline");
}

#[tokio::test]
async fn a_dropped_query_gives_its_place_back() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        concurrent: 1,
        patience: Duration::from_secs(5),
        ..Limits::default()
    });
    for _ in 0..5 {
        let mut result = run(&engine, "SELECT * FROM generate_series(1, 1000000000)")
            .await
            .unwrap();
        result.rows.next().await.unwrap().unwrap();
        drop(result);
    }
    let endless = run(&engine, ENDLESS).await.unwrap();
    drop(endless);
    let started = Instant::now();
    assert_eq!(value(&engine, "SELECT 1").await, 1);
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn too_many_queries_at_once_are_refused() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        concurrent: 1,
        waiting: 0,
        deadline: Duration::from_secs(20),
        ..Limits::default()
    });
    let running = run(&engine, "SELECT * FROM generate_series(1, 1000000000)")
        .await
        .unwrap();
    let error = failure(&engine, "SELECT 1").await;
    assert_eq!(error.code(), "busy", "{error}");
    drop(running);
}

#[tokio::test]
async fn memory_beyond_the_limit_is_an_error_that_says_so() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        memory_bytes: 20 << 20,
        spill_bytes: 0,
        ..Limits::default()
    });
    for sql in [
        "SELECT value % 4999999 AS v, count(*) AS n FROM generate_series(1, 5000000) GROUP BY v",
        "SELECT * FROM generate_series(1, 5000000) ORDER BY value % 7, value",
        "SELECT count(*) FROM generate_series(1, 5000000) a JOIN generate_series(1, 5000000) b ON a.value = b.value",
        "SELECT array_agg(value) FROM generate_series(1, 5000000)",
    ] {
        let error = failure(&engine, sql).await;
        assert_eq!(error.code(), "memory", "{sql}: {error}");
        assert!(error.hint().contains("LIMIT"));
    }
    assert_eq!(value(&engine, "SELECT count(*) FROM events").await, 6);
}

#[tokio::test]
async fn a_sort_beyond_its_memory_goes_to_disk_when_it_may() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        memory_bytes: 64 << 20,
        threads: 1,
        ..Limits::default()
    });
    let mut sorted = run(
        &engine,
        "SELECT value FROM generate_series(1, 10000000) ORDER BY value % 7, value",
    )
    .await
    .unwrap();
    let mut count = 0;
    while let Some(batch) = sorted.rows.next().await {
        count += batch.unwrap().num_rows();
    }
    assert_eq!(count, 10_000_000);
}

/// A chain of subqueries, each of which makes `step` of the text before.
fn doubled(step: &str, times: usize) -> String {
    let mut sql = "WITH t0 AS (SELECT 'abcdefgh' || CAST(value AS VARCHAR) AS x FROM generate_series(1, 8000))".to_owned();
    for i in 1..=times {
        sql.push_str(&format!(", t{i} AS (SELECT {step} AS x FROM t{})", i - 1));
    }
    format!("{sql} SELECT count(x) FROM t{times} WHERE x <> ''")
}

#[tokio::test]
async fn text_that_doubles_itself_is_stopped_before_it_is_built() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        memory_bytes: 32 << 20,
        ..Limits::default()
    });
    for step in [
        "x || x",
        "concat(x, x)",
        "concat_ws('-', x, x)",
        "replace(x, 'a', x)",
        "regexp_replace(x, '.', x, 'g')",
    ] {
        let error = failure(&engine, &doubled(step, 10)).await;
        assert_eq!(error.code(), "memory", "{step}: {error}");
    }
    let arrays = doubled("make_array(x, x)", 10).replace("x <> ''", "cardinality(x) > 0");
    assert_eq!(failure(&engine, &arrays).await.code(), "memory");
    let constant = format!("SELECT length({})", ["'abcdefgh'"; 3].join(" || "));
    assert_eq!(value(&engine, &constant).await, 24);
}

#[tokio::test]
async fn concatenation_keeps_its_meaning() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let found = rows(
        &engine,
        "SELECT event_id || '/' || event_type AS a, event_id || outcome AS b, 'x' || 1 AS c, concat('a', NULL, 'b') AS d, \
         make_array(1, 2) || 3 AS e, replace('a-b', '-', '+') AS f FROM events WHERE event_id = 'e0'",
    )
    .await
    .unwrap();
    assert_eq!(
        found,
        [
            json!({"a": "e0/case.opened", "b": null, "c": "x1", "d": "ab", "e": [1, 2, 3], "f": "a+b"})
        ]
    );
    assert_eq!(
        value(&engine, "SELECT NULL || 'a'").await,
        serde_json::Value::Null
    );
    // The column keeps the name DataFusion gives it.
    let named = rows(&engine, "SELECT event_id || 'x' FROM events LIMIT 1")
        .await
        .unwrap();
    assert!(
        named[0]
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .contains("||"),
        "{named:?}"
    );
}

#[tokio::test]
async fn more_rows_than_allowed_is_an_error_and_not_a_shorter_answer() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        max_rows: Some(1000),
        ..Limits::default()
    });
    let error = failure(&engine, "SELECT * FROM generate_series(1, 1001)").await;
    assert_eq!(error.code(), "rows");
    assert!(error.to_string().contains("1000"), "{error}");
    assert_eq!(
        rows(&engine, "SELECT * FROM generate_series(1, 1000)")
            .await
            .unwrap()
            .len(),
        1000
    );
}

#[tokio::test]
async fn huge_and_deep_sql_is_refused_without_harm() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let long = format!("SELECT '{}'", "x".repeat(1 << 20));
    assert_eq!(failure(&engine, &long).await.code(), "too_large");
    let parentheses = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(failure(&engine, &parentheses).await.code(), "too_large");
    let nested = format!("SELECT {}1{}", "(".repeat(2_000), ")".repeat(2_000));
    assert_eq!(failure(&engine, &nested).await.code(), "too_large");
    let mut subqueries = "SELECT 1 AS a".to_owned();
    for _ in 0..2_000 {
        subqueries = format!("SELECT a FROM ({subqueries})");
    }
    assert_eq!(failure(&engine, &subqueries).await.code(), "too_large");
    assert_eq!(value(&engine, "SELECT 1").await, 1);
}

#[tokio::test]
async fn short_text_that_means_a_huge_plan_is_refused_at_once() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let mut joined = "WITH t0 AS (SELECT 1 AS x)".to_owned();
    for i in 1..=40 {
        joined.push_str(&format!(
            ", t{i} AS (SELECT a.x FROM t{0} a, t{0} b)",
            i - 1
        ));
    }
    let mut united = "WITH t0 AS (SELECT 1 AS x)".to_owned();
    for i in 1..=40 {
        united.push_str(&format!(
            ", t{i} AS (SELECT x FROM t{0} UNION ALL SELECT x FROM t{0})",
            i - 1
        ));
    }
    let mut within = "SELECT 1 AS x".to_owned();
    for _ in 1..=12 {
        within = format!("SELECT ({within}) + ({within}) AS x");
    }
    let cases = [
        format!("{joined} SELECT count(*) FROM t40"),
        format!("{united} SELECT count(*) FROM t40"),
        doubled("x || x", 40),
        doubled("CASE WHEN x > 'm' THEN x ELSE 'y' END", 40),
        within,
        "SELECT count(*) FROM events GROUP BY CUBE (event_id, event_type, op, source_id, area_code, unit, qualifier, \
         fee_mode, outcome, rating, minutes, count, amount_fen, value, due_at, channel, service_code, case_kind)"
            .to_owned(),
    ];
    for sql in cases {
        let started = Instant::now();
        let error = failure(&engine, &sql).await;
        assert_eq!(error.code(), "too_large", "{:.60}: {error}", sql);
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:.60}: {:?}",
            sql,
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn long_flat_sql_neither_overflows_the_stack_nor_takes_for_ever() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let chain = |part: &str, between: &str, count: usize| vec![part; count].join(between);
    let cases = [
        format!("SELECT {}", chain("1", "+", 19_000)),
        format!("SELECT {} FROM events", chain("rating", "+", 600)),
        format!("SELECT {}", chain("'a'", "||", 19_000)),
        format!(
            "SELECT * FROM events WHERE {}",
            chain("rating = 1", " OR ", 9_000)
        ),
        chain("SELECT 1", " UNION ALL ", 9_000),
        format!("SELECT * FROM {}", chain("(SELECT 1)", ",", 7_000)),
        format!(
            "SELECT 1 FROM {}",
            (0..130)
                .map(|i| format!("(SELECT 1) t{i}"))
                .collect::<Vec<_>>()
                .join(",")
        ),
        format!("SELECT 1{}", "::BIGINT".repeat(13_000)),
        format!("SELECT 1{}", " IS NULL".repeat(13_000)),
        format!("SELECT {} true", "NOT ".repeat(30_000)),
        format!("SELECT - {} 1", "- ".repeat(30_000)),
        format!("SELECT CASE {} END", "WHEN 1 = 2 THEN 3 ".repeat(5_000)),
        format!("VALUES {}", chain("(1)", ",", 9_000)),
    ];
    for sql in cases {
        let started = Instant::now();
        let ended = rows(&engine, &sql)
            .await
            .map(|rows| rows.len())
            .map_err(|error| error.code());
        let took = started.elapsed();
        println!("{:.40}… ({} bytes): {ended:?} in {took:?}", sql, sql.len());
        assert!(
            !matches!(ended, Err("deadline" | "busy" | "internal")),
            "{:.40}: {ended:?}",
            sql
        );
        assert!(took < Duration::from_secs(20), "{:.40}: {took:?}", sql);
    }
    assert_eq!(value(&engine, "SELECT count(*) FROM events").await, 6);
}

#[tokio::test]
async fn a_list_of_thousands_of_codes_is_fine() {
    let lake = TestLake::with_a_day().await;
    let codes: Vec<String> = (0..10_000).map(|i| format!("'{i:012}'")).collect();
    let sql = format!(
        "SELECT count(*) FROM events WHERE area_code IN ({}, '330502001001')",
        codes.join(",")
    );
    assert_eq!(value(&lake.engine(), &sql).await, 6);
}
