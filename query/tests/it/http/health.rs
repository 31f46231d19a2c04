//! Whether the server can do its work.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use siji_query::{HttpOptions, Limits};

use super::{Server, problem};
use crate::lake::TestLake;

#[tokio::test]
async fn readiness_means_that_the_lake_can_be_read() {
    let lake = TestLake::with_a_day().await;
    let server = Server::of(&lake).await;
    assert_eq!(
        server.get("healthz").send().await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(
        server.get("readyz").send().await.unwrap().status(),
        StatusCode::OK
    );
    std::fs::remove_dir_all(lake.path()).unwrap();
    assert_eq!(
        server.get("healthz").send().await.unwrap().status(),
        StatusCode::OK
    );
    let (status, body) = problem(server.get("readyz").send().await.unwrap()).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("lake"))
    );
}

#[tokio::test]
async fn health_answers_while_queries_keep_every_thread_busy() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        threads: 1,
        deadline: Duration::from_secs(3),
        ..Limits::default()
    });
    let server = Server::start(engine, HttpOptions::default()).await;
    let endless = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b \
                   WHERE (a.value * b.value) % 7 = 3";
    let busy: Vec<_> = (0..4)
        .map(|_| tokio::spawn(server.ask(json!({"sql": endless})).send()))
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = std::time::Instant::now();
    assert_eq!(
        server.get("healthz").send().await.unwrap().status(),
        StatusCode::OK
    );
    assert!(
        started.elapsed() < Duration::from_millis(1200),
        "{:?}",
        started.elapsed()
    );
    for task in busy {
        let answer = task.await.unwrap().unwrap();
        let late = answer.status() == StatusCode::GATEWAY_TIMEOUT
            || answer.text().await.unwrap().contains("\"deadline\"");
        assert!(late);
    }
}
