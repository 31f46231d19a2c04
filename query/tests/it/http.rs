//! The HTTP door over a real socket.

mod access;
mod breaking_off;
mod health;
mod questions;
mod remote;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use siji_query::{Engine, HttpOptions, serve};
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
