//! Queries that fail before their first row, after it, or not at all.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use siji_query::{HttpOptions, Limits};

use super::{Server, problem};
use crate::lake::TestLake;

#[tokio::test]
async fn a_json_answer_that_is_too_long_ends_in_an_error_member() {
    let lake = TestLake::with_a_day().await;
    let server = Server::start(
        lake.engine(),
        HttpOptions {
            json_rows: 20_000,
            ..HttpOptions::default()
        },
    )
    .await;
    let sql = "SELECT * FROM generate_series(1, 100000)";
    let answer = server.ask(json!({"sql": sql})).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "rows", "{}", body["error"]);
    assert!(body["error"]["hint"].as_str().unwrap().contains("parquet"));
    let csv = server
        .ask_by_url(sql, "csv")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(
        csv.lines().count(),
        100_001,
        "other formats have no such limit"
    );
}

#[tokio::test]
async fn a_csv_that_breaks_off_breaks_the_connection() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        max_rows: Some(50_000),
        ..Limits::default()
    });
    let server = Server::start(engine, HttpOptions::default()).await;
    let answer = server
        .ask_by_url("SELECT * FROM generate_series(1, 1000000)", "csv")
        .send()
        .await;
    // Where nothing was sent before it broke off, the connection ends without an answer.
    if let Ok(answer) = answer {
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(
            answer.text().await.is_err(),
            "a reader must not take the part for the whole"
        );
    }
}

#[tokio::test]
async fn shutdown_lets_a_running_answer_end() {
    let lake = TestLake::with_a_day().await;
    let mut server = Server::of(&lake).await;
    let asking = tokio::spawn(
        server
            .ask_by_url("SELECT * FROM generate_series(1, 2000000)", "csv")
            .send(),
    );
    let answer = asking.await.unwrap().unwrap();
    server.stop.take().unwrap().send(()).unwrap();
    assert_eq!(answer.text().await.unwrap().lines().count(), 2_000_001);
    // Idle kept-alive connections are closed by their owner.
    drop(server.client);
    tokio::time::timeout(Duration::from_secs(5), server.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn rows_arrive_while_the_query_runs_and_it_ends_when_the_reader_hangs_up() {
    use futures::StreamExt;
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        concurrent: 1,
        ..Limits::default()
    });
    let server = Server::start(engine, HttpOptions::default()).await;
    let endless = "SELECT * FROM generate_series(1, 100000000000)";
    for format in ["json", "ndjson", "csv", "arrow", "parquet"] {
        let answer = server.ask_by_url(endless, format).send().await.unwrap();
        let mut bytes = answer.bytes_stream();
        bytes.next().await.unwrap().unwrap();
        drop(bytes);
    }
    let started = std::time::Instant::now();
    let next = server
        .ask(json!({"sql": "SELECT 1 AS a"}))
        .send()
        .await
        .unwrap();
    assert_eq!(next.status(), StatusCode::OK);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_query_that_fails_before_its_first_row_has_the_status_of_its_error() {
    let lake = TestLake::with_a_day().await;
    let small = lake.engine_with(Limits {
        memory_bytes: 20 << 20,
        spill_bytes: 0,
        max_rows: Some(1000),
        ..Limits::default()
    });
    let small = Server::start(small, HttpOptions::default()).await;
    let short = lake.engine_with(Limits {
        deadline: Duration::from_millis(700),
        ..Limits::default()
    });
    let short = Server::start(short, HttpOptions::default()).await;
    let endless = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b \
                   WHERE (a.value * b.value) % 7 = 3";
    let refused = StatusCode::UNPROCESSABLE_ENTITY;
    for (sql, status, code) in [
        (endless, StatusCode::GATEWAY_TIMEOUT, "deadline"),
        (
            "SELECT array_agg(value) FROM generate_series(1, 5000000)",
            refused,
            "memory",
        ),
        (
            "SELECT value FROM generate_series(1, 5000)",
            refused,
            "rows",
        ),
        (
            "SELECT 1 / (value - 1) FROM generate_series(1, 10)",
            refused,
            "execution",
        ),
        (
            "SELECT CAST(event_id AS INT) FROM events",
            refused,
            "execution",
        ),
    ] {
        let server = if code == "deadline" { &short } else { &small };
        for format in ["json", "csv", "parquet"] {
            let answer = server.ask_by_url(sql, format).send().await.unwrap();
            let (got, body) = problem(answer).await;
            assert_eq!(
                (got, &body["code"]),
                (status, &json!(code)),
                "{sql} as {format}: {body}"
            );
            assert!(!body["detail"].as_str().unwrap().is_empty(), "{body}");
        }
    }
}

#[tokio::test]
async fn what_fails_after_the_first_rows_ends_in_a_way_a_client_notices() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        threads: 1,
        ..Limits::default()
    });
    let server = Server::start(engine, HttpOptions::default()).await;
    let sql = "SELECT 1 / (500000 - value) AS x FROM generate_series(1, 1000000)";
    let ask = |format: &'static str| server.ask_by_url(sql, format).send();
    let body: Value = ask("json").await.unwrap().json().await.unwrap();
    assert_eq!(body["error"]["code"], "execution", "{}", body["error"]);
    assert!(!body["rows"].as_array().unwrap().is_empty());
    for format in ["ndjson", "csv", "arrow", "parquet"] {
        let answer = ask(format).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{format}");
        assert!(answer.bytes().await.is_err(), "{format}");
    }
}
