//! The HTTP door over a real socket.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use siji_query::format::Format;
use siji_query::{Engine, HttpOptions, Limits, TokenHash, run_sql_remote, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

use crate::lake::TestLake;

struct Server {
    url: Url,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(engine: Engine, options: HttpOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async {
                stopped.await.ok();
            };
            serve(listener, engine, options, shutdown).await.unwrap();
        });
        Self {
            url,
            client: Client::new(),
            stop: Some(stop),
            task,
        }
    }

    async fn of(lake: &TestLake) -> Self {
        Self::start(lake.engine(), HttpOptions::default()).await
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url.join(path).unwrap())
    }

    fn ask(&self, body: Value) -> RequestBuilder {
        self.client
            .post(self.url.join("v1/sql").unwrap())
            .json(&body)
    }

    fn ask_by_url(&self, sql: &str, format: &str) -> RequestBuilder {
        let mut url = self.url.join("v1/sql").unwrap();
        url.query_pairs_mut()
            .append_pair("q", sql)
            .append_pair("format", format);
        self.client.get(url)
    }
}

async fn problem(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    (status, response.json().await.unwrap())
}

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
        started.elapsed() < Duration::from_millis(500),
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
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(
        answer.text().await.is_err(),
        "a reader must not take the part for the whole"
    );
}

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

#[tokio::test]
async fn the_remote_command_gets_the_same_bytes_and_the_servers_words() {
    let lake = TestLake::with_a_day().await;
    let server = Server::of(&lake).await;
    let read = |sql: &'static str, format: Format| {
        let url = server.url.clone();
        async move {
            use futures::TryStreamExt;
            let chunks: Vec<_> = run_sql_remote(&url, None, sql, &[], format)
                .await?
                .try_collect()
                .await?;
            Ok::<_, siji_query::QueryError>(String::from_utf8(chunks.concat()).unwrap())
        }
    };
    assert_eq!(
        read("SELECT 1 AS a", Format::Table).await.unwrap(),
        " a\n---\n 1\n(1 row)\n"
    );
    let refused = read("DROP TABLE ledger", Format::Json)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("only reads") && refused.contains(server.url.as_str()),
        "{refused}"
    );
    let nobody = Url::parse("http://127.0.0.1:9/").unwrap();
    let error = run_sql_remote(&nobody, None, "SELECT 1", &[], Format::Json)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("127.0.0.1:9"), "{error}");
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
