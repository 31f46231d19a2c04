//! Who may ask.

use reqwest::StatusCode;
use serde_json::json;
use siji_query::{HttpOptions, TokenHash, serve};
use tokio::net::TcpListener;

use super::{Server, problem};
use crate::lake::TestLake;

#[tokio::test]
async fn with_tokens_every_question_needs_one_and_health_does_not() {
    let lake = TestLake::with_a_day().await;
    let options = HttpOptions {
        tokens: vec![TokenHash::of("board", "right")],
        ..HttpOptions::default()
    };
    let server = Server::start(lake.engine(), options).await;
    let ask = || server.ask(json!({"sql": "SELECT 1 AS a"}));
    let (status, body) = problem(ask().send().await.unwrap()).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::UNAUTHORIZED, &json!("token"))
    );
    assert_eq!(
        problem(ask().bearer_auth("wrong").send().await.unwrap())
            .await
            .0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        problem(server.get("v1/tables").send().await.unwrap())
            .await
            .0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        ask().bearer_auth("right").send().await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(
        server.get("readyz").send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn without_tokens_only_loopback_is_served() {
    let lake = TestLake::with_a_day().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = serve(
        listener,
        lake.engine(),
        HttpOptions::default(),
        std::future::pending(),
    )
    .await
    .unwrap_err();
    assert!(
        refused.to_string().contains("no token is configured"),
        "{refused}"
    );
    let server = Server::of(&lake).await;
    let rebound = server
        .ask(json!({"sql": "SELECT 1"}))
        .header("host", "evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(problem(rebound).await.0, StatusCode::FORBIDDEN);
}
