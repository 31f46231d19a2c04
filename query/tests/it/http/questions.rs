//! Questions, the shapes of their answers, and what is no question.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Server, problem};
use crate::lake::TestLake;

#[tokio::test]
async fn a_question_with_parameters_is_answered_with_rows_and_versions() {
    let lake = TestLake::with_a_day().await;
    let server = Server::of(&lake).await;
    let sql = "SELECT district_code, count(*) AS n FROM events WHERE local_date = $1 GROUP BY 1 ORDER BY 1";
    let answer = server
        .ask(json!({"sql": sql, "params": ["2026-10-01"]}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-siji-versions"], "ledger=1");
    assert_eq!(answer.headers()["content-type"], "application/json");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        body["rows"],
        json!([{"district_code": "330502", "n": 4}, {"district_code": "330521", "n": 2}])
    );
}

#[tokio::test]
async fn the_format_follows_the_url_then_the_accept_header() {
    let lake = TestLake::with_a_day().await;
    let server = Server::of(&lake).await;
    let csv = server
        .ask_by_url("SELECT 1 AS a", "csv")
        .send()
        .await
        .unwrap();
    assert!(
        csv.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/csv")
    );
    assert_eq!(csv.text().await.unwrap(), "a\r\n1\r\n");
    let accepted = server
        .ask(json!({"sql": "SELECT 1 AS a"}))
        .header("accept", "application/x-ndjson")
        .send()
        .await
        .unwrap();
    assert_eq!(accepted.text().await.unwrap(), "{\"a\":1}\n");
    let parquet = server
        .ask_by_url("SELECT 1 AS a", "parquet")
        .send()
        .await
        .unwrap();
    assert_eq!(
        parquet.headers()["content-disposition"],
        "attachment; filename=\"siji.parquet\""
    );
    assert_eq!(&parquet.bytes().await.unwrap()[..4], b"PAR1");
    let (status, unknown) =
        problem(server.ask_by_url("SELECT 1", "xlsx").send().await.unwrap()).await;
    assert_eq!(
        (status, &unknown["code"]),
        (StatusCode::BAD_REQUEST, &json!("format"))
    );
    let unacceptable = server
        .ask(json!({"sql": "SELECT 1"}))
        .header("accept", "image/png")
        .send()
        .await
        .unwrap();
    assert_eq!(problem(unacceptable).await.0, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn errors_are_problem_details_with_code_and_hint() {
    let lake = TestLake::with_a_day().await;
    let server = Server::of(&lake).await;
    for (sql, status, code) in [
        ("SELEC", StatusCode::BAD_REQUEST, "syntax"),
        ("SELECT * FROM nowhere", StatusCode::BAD_REQUEST, "plan"),
        ("DROP TABLE ledger", StatusCode::FORBIDDEN, "read_only"),
        ("SELECT $1", StatusCode::BAD_REQUEST, "parameters"),
    ] {
        let (got, body) = problem(server.ask(json!({"sql": sql})).send().await.unwrap()).await;
        assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(body["status"], status.as_u16());
        assert!(
            body["detail"].is_string() && body["title"].is_string(),
            "{body}"
        );
    }
    let refused = server
        .ask(json!({"sql": "DROP TABLE ledger"}))
        .send()
        .await
        .unwrap();
    assert!(
        problem(refused).await.1["hint"]
            .as_str()
            .unwrap()
            .contains("SELECT")
    );
}

#[tokio::test]
async fn requests_that_are_no_questions_are_told_what_one_is() {
    let lake = TestLake::with_a_day().await;
    let server = Server::of(&lake).await;
    let sql = server.url.join("v1/sql").unwrap();
    let text = server
        .client
        .post(sql.clone())
        .body("SELECT 1")
        .send()
        .await
        .unwrap();
    assert_eq!(problem(text).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let broken = server
        .client
        .post(sql.clone())
        .header("content-type", "application/json")
        .body("{\"sql\":")
        .send()
        .await;
    assert_eq!(problem(broken.unwrap()).await.0, StatusCode::BAD_REQUEST);
    let misspelt = server
        .ask(json!({"sql": "SELECT 1", "param": [1]}))
        .send()
        .await
        .unwrap();
    let (status, body) = problem(misspelt).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body["detail"].as_str().unwrap().contains("param"), "{body}");
    let large = server
        .ask(json!({"sql": format!("SELECT '{}'", "x".repeat(2 << 20))}))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, body) = problem(server.get("v1/sql").send().await.unwrap()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["detail"].as_str().unwrap().contains('q'), "{body}");
    assert_eq!(
        problem(server.get("nowhere").send().await.unwrap()).await.0,
        StatusCode::NOT_FOUND
    );
    let put = server.client.put(sql).send().await.unwrap();
    assert_eq!(problem(put).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn tables_are_described_in_two_languages_with_units() {
    let lake = TestLake::with_a_day().await;
    let server = Server::of(&lake).await;
    let all: Value = server
        .get("v1/tables")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let names: Vec<&str> = all["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"rollup_street") && names.contains(&"services"),
        "{names:?}"
    );
    let one: Value = server
        .get("v1/tables/rollup_street")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let columns = one["columns"].as_array().unwrap();
    let amount = columns
        .iter()
        .find(|c| c["name"] == "amount_fen_sum")
        .unwrap();
    assert_eq!(
        (&amount["type"], &amount["unit"], &amount["zh"]),
        (
            &json!("bigint"),
            &json!("fen (0.01 yuan)"),
            &json!("金额之和")
        )
    );
    let (status, body) = problem(server.get("v1/tables/nowhere").send().await.unwrap()).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::NOT_FOUND, &json!("table"))
    );
}
