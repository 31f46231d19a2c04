//! The other end: `siji sql --server`.

use futures::{StreamExt, TryStreamExt};
use siji_query::format::Format;
use siji_query::{HttpOptions, Limits, router, run_sql_remote};
use tokio::net::TcpListener;
use url::Url;

use super::Server;
use crate::lake::TestLake;

#[tokio::test]
async fn the_remote_command_gets_the_same_bytes_and_the_servers_words() {
    let lake = TestLake::with_a_day().await;
    let server = Server::of(&lake).await;
    let read = |sql: &'static str, format: Format| {
        let url = server.url.clone();
        async move {
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
async fn an_answer_that_ends_in_an_error_is_an_error_here() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine_with(Limits {
        threads: 1,
        ..Limits::default()
    });
    let server = Server::start(engine, HttpOptions::default()).await;
    let sql = "SELECT 1 / (500000 - value) AS x FROM generate_series(1, 1000000)";
    for format in [Format::Json, Format::Csv(Default::default()), Format::Arrow] {
        let mut answer = run_sql_remote(&server.url, None, sql, &[], format)
            .await
            .unwrap();
        let mut last = None;
        while let Some(chunk) = answer.next().await {
            last = Some(chunk.map(|_| ()).map_err(|error| error.to_string()));
        }
        let error = last.unwrap().unwrap_err();
        assert!(error.contains(server.url.as_str()), "{error}");
        if format == Format::Json {
            assert!(error.to_lowercase().contains("divide by zero"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_server_below_a_path_is_asked_below_that_path() {
    let lake = TestLake::with_a_day().await;
    let routes =
        axum::Router::new().nest("/siji/sql", router(lake.engine(), HttpOptions::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    for path in ["siji/sql", "siji/sql/"] {
        let url = Url::parse(&format!("http://{address}/{path}")).unwrap();
        let answer = run_sql_remote(&url, None, "SELECT 1 AS a", &[], Format::Ndjson);
        let chunks: Vec<_> = answer.await.unwrap().try_collect().await.unwrap();
        assert_eq!(chunks.concat(), b"{\"a\":1}\n");
    }
    serving.abort();
}
