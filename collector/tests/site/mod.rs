//! A collector of its own for a test: real listener, real spool, librdkafka's mock cluster behind it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use siji_collector::{CollectorConfig, RunningCollector, Secret, TokenConfig, hash_token};
use siji_schemas::area::{AreaSource, AreaTree, Zone};
use siji_schemas::avro;
use siji_schemas::catalogue::{Catalogue, CatalogueSource};
use siji_schemas::validate::Reference;
use siji_schemas::wire;
use tempfile::TempDir;

pub const WRITER: &str = "a-token-of-128-random-bits-or-more";
pub const IMPORTER: &str = "another-token-that-may-import";
pub const READER: &str = "a-token-without-the-right-to-write";
pub const ELSEWHERE: &str = "a-token-for-another-district";
pub const SLOW: &str = "a-token-with-a-low-rate";

/// The collector's area and district of most events.
pub const DISTRICT: &str = "330502";
/// A district outside of it.
pub const OTHER_DISTRICT: &str = "330503";

pub static REFERENCE: LazyLock<Arc<Reference>> = LazyLock::new(|| {
    let areas = AreaTree::load(&AreaSource::builtin(["huzhou", "beijing"])).unwrap();
    let catalogue = Catalogue::load(&CatalogueSource::Builtin).unwrap();
    Arc::new(Reference::new(areas, catalogue, Zone::CHINA))
});

/// A community of a district, today.
pub fn community(district: &str) -> String {
    let today = REFERENCE.zone.day_of(now_ms());
    let street = REFERENCE
        .areas
        .children(district, today)
        .next()
        .unwrap()
        .code
        .clone();
    REFERENCE
        .areas
        .children(&street, today)
        .next()
        .unwrap()
        .code
        .clone()
}

pub fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}

/// A good event; every call another one.
pub fn event() -> Value {
    json!({
        "event_id": uuid::Uuid::new_v4().to_string(),
        "event_type": "case.opened",
        "occurred_at": now_ms() - 60_000,
        "area_code": community(DISTRICT),
        "subject_kind": "case",
        "subject_id": format!("case-{}", uuid::Uuid::new_v4()),
        "case_kind": "request",
        "channel": "hotline",
    })
}

/// A good event with some members replaced; null removes one.
pub fn event_with(changes: Value) -> Value {
    let mut event = event();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            event.as_object_mut().unwrap().remove(name);
        } else {
            event[name] = value.clone();
        }
    }
    event
}

pub struct Site {
    pub collector: RunningCollector,
    pub cluster: MockCluster<'static, DefaultProducerContext>,
    pub client: reqwest::Client,
    pub directory: TempDir,
}

pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn detail(&self) -> String {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{}",
            self.text
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{}", self.text);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// The only rejection of an answer, as (index, code, field, reason).
pub fn rejection(answer: &Answer) -> (u64, String, Option<String>, String) {
    let body = answer.json();
    let rejected = body["rejected"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", answer.text));
    assert_eq!(rejected.len(), 1, "{}", answer.text);
    let text = |name: &str| rejected[0][name].as_str().map(str::to_owned);
    (
        rejected[0]["index"].as_u64().unwrap(),
        text("code").unwrap(),
        text("field"),
        text("reason").unwrap(),
    )
}

pub fn token(name: &str, token: &str, areas: &[&str], rights: Value) -> TokenConfig {
    serde_json::from_value(
        json!({"name": name, "sha256": hash_token(token), "areas": areas, "rights": rights}),
    )
    .unwrap()
}

pub fn config(directory: &Path, brokers: &str) -> CollectorConfig {
    let mut slow = token("slow", SLOW, &[DISTRICT], json!(["write"]));
    slow.max_events_per_second = 10;
    let mut config = CollectorConfig {
        listen: "127.0.0.1:0".to_owned(),
        source_id: "wuxing-01".to_owned(),
        area: DISTRICT.to_owned(),
        data_dir: directory.to_owned(),
        pseudonym_key: Some(Secret("0f".repeat(32))),
        tokens: vec![
            token("writer", WRITER, &[DISTRICT], json!(["write"])),
            token("importer", IMPORTER, &["3305"], json!(["write", "import"])),
            token("reader", READER, &[DISTRICT], json!([])),
            token("elsewhere", ELSEWHERE, &[OTHER_DISTRICT], json!(["write"])),
            slow,
        ],
        ..CollectorConfig::default()
    };
    config.kafka.brokers = brokers.to_owned();
    config.kafka.properties = BTreeMap::from([
        ("reconnect.backoff.ms".to_owned(), "50".to_owned()),
        ("linger.ms".to_owned(), "1".to_owned()),
    ]);
    config
}

impl Site {
    pub async fn start() -> Site {
        Site::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut CollectorConfig)) -> Site {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(wire::TOPIC, 4, 1).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path(), &cluster.bootstrap_servers());
        change(&mut config);
        let collector = siji_collector::start(config, Arc::clone(&REFERENCE), axum::Router::new())
            .await
            .unwrap();
        Site {
            collector,
            cluster,
            client: reqwest::Client::new(),
            directory,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.collector.local_addr().unwrap())
    }

    pub fn spool_file(&self) -> PathBuf {
        self.directory.path().join("spool.redb")
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer {
            status,
            headers,
            text: response.text().await.unwrap(),
        }
    }

    /// Posts a JSON body with a token.
    pub async fn post(&self, token: &str, body: &Value) -> Answer {
        self.send(
            self.client
                .post(self.url("/v1/events"))
                .bearer_auth(token)
                .json(body),
        )
        .await
    }

    /// Posts any bytes with the writer's token.
    pub async fn post_bytes(
        &self,
        content_type: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self
            .client
            .post(self.url("/v1/events"))
            .bearer_auth(WRITER)
            .body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        self.send(request).await
    }

    /// Waits until all is delivered, then reads the topic.
    pub async fn delivered(&self) -> Vec<Delivered> {
        assert_eq!(
            self.collector.drained(Duration::from_secs(20)).await,
            0,
            "everything is delivered"
        );
        read_topic(
            &self.cluster.bootstrap_servers(),
            self.collector.shipper().status().delivered() as usize,
        )
    }
}

/// A record as it stands in the topic.
#[derive(Debug, Clone)]
pub struct Delivered {
    pub partition: i32,
    pub key: String,
    pub value: Vec<u8>,
    pub headers: BTreeMap<String, String>,
}

impl Delivered {
    /// The event in it, as JSON, where it is Avro.
    pub fn event(&self) -> Option<siji_schemas::Event> {
        if wire::Framing::of(&self.value) != wire::Framing::AvroSingleObject {
            return None;
        }
        Some(avro::read(&self.value).unwrap().as_ref().to_event())
    }
}

pub fn read_topic(brokers: &str, records: usize) -> Vec<Delivered> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "test")
        .set("fetch.wait.max.ms", "50")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..4 {
        partitions
            .add_partition_offset(wire::TOPIC, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let (mut found, start) = (Vec::new(), Instant::now());
    while found.len() < records {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{} of {records} records",
            found.len()
        );
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let message = message.unwrap();
        let text =
            |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().map(|headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), text(header.value)))
                .collect()
        });
        found.push(Delivered {
            partition: message.partition(),
            key: text(message.key()),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: headers.unwrap_or_default(),
        });
    }
    found
}

/// Everything logged by this process, at every level.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    pub fn capture() -> Logs {
        let logs = Logs::default();
        let writer = logs.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        logs
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
