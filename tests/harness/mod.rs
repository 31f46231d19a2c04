//! Real processes on a directory: what the end-to-end tests are made of.
//!
//! With `SIJI_TEST_BROKERS` set the tests run on that Kafka, each on a topic of its own; else each starts `siji broker`.
#![allow(dead_code, reason = "every test uses a part of it")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use siji_schemas::wire::partition_of;

/// How long anything may take that should take a second.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Partitions of the tests' topics.
pub const PARTITIONS: i32 = 3;
/// Right to send for Wuxing district of Huzhou.
pub const TOKEN: &str = "test-token-of-wuxing-0123456789abcdef";
/// SHA-256 of [`TOKEN`].
pub const TOKEN_SHA256: &str = "977cf18f51e84e1cead1ba967a7b41e8c50eb4da80a455f68136e9107f0f1020";

pub fn siji() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siji"));
    command.stdin(Stdio::null());
    command
}

/// A port nobody listens on, most likely still a moment later.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Looks every 50 ms until `look` finds something.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Looks once a second until the count that `look` finds has reached `wanted`. How long that takes depends on how much there
/// is to do; that it rises, at least every so often, does not.
pub fn wait_for_count(what: &str, wanted: i64, mut look: impl FnMut() -> i64) {
    let (mut best, mut rose) = (i64::MIN, Instant::now());
    loop {
        let count = look();
        if count >= wanted {
            return;
        }
        if count > best {
            (best, rose) = (count, Instant::now());
        }
        assert!(
            rose.elapsed() < PATIENCE,
            "{what}: {best} of {wanted}, and no more within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// A running `siji`. Killed when dropped; its log is shown if the test fails.
pub struct Role {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Role {
    pub fn start(name: &str, directory: &Path, mut command: Command) -> Role {
        let log = directory.join(format!("{name}-{}.log", free_port()));
        let child = command
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Role {
            name: name.to_owned(),
            child,
            log,
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for a line of the log.
    pub fn wait_for_log(&mut self, text: &str) {
        let name = self.name.clone();
        wait_for(&format!("{name} says {text:?}"), || {
            if let Ok(Some(code)) = self.child.try_wait() {
                panic!("{name} ended with {code}:\n{}", self.log());
            }
            self.log().contains(text).then_some(())
        });
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns the exit code and how long it took.
    pub fn terminate(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        assert!(
            Command::new("kill")
                .arg(self.child.id().to_string())
                .status()
                .unwrap()
                .success()
        );
        let code = wait_for(&format!("{} ends", self.name), || {
            self.child.try_wait().unwrap()
        });
        if !code.success() {
            eprintln!("--- {} ended with {code}:\n{}", self.name, self.log());
        }
        (code.code(), began.elapsed())
    }

    /// Waits until it ends by itself; returns the exit code and its log.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let code = wait_for(&format!("{} ends by itself", self.name), || {
            self.child.try_wait().unwrap()
        });
        (code.code(), self.log())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.name, self.log());
        }
    }
}

/// Kafka for one test.
pub struct Kafka {
    pub brokers: String,
    pub topic: String,
    broker: Option<Role>,
}

impl Kafka {
    pub fn start(directory: &Path) -> Kafka {
        if let Ok(brokers) = std::env::var("SIJI_TEST_BROKERS") {
            return Kafka {
                brokers,
                topic: format!("siji.events.{}", uuid::Uuid::new_v4()),
                broker: None,
            };
        }
        let mut command = siji();
        command.args([
            "broker",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--data-dir",
        ]);
        command.arg(directory.join("broker"));
        let mut role = Role::start("broker", directory, command);
        let lines = BufReader::new(role.child.stdout.take().unwrap()).lines();
        let line = lines
            .map_while(Result::ok)
            .find(|line| line.contains("kafka at"))
            .expect("the broker's address");
        let brokers = line.rsplit(' ').next().unwrap().to_owned();
        Kafka {
            brokers,
            topic: "siji.events".to_owned(),
            broker: Some(role),
        }
    }
}

/// A directory with a lake, a spool and a topic, on which roles are started.
pub struct Site {
    pub directory: tempfile::TempDir,
    pub kafka: Kafka,
    pub collector_port: u16,
    pub aggregator_port: u16,
}

impl Site {
    pub fn new() -> Site {
        let directory = tempfile::tempdir().unwrap();
        let kafka = Kafka::start(directory.path());
        let site = Site {
            directory,
            kafka,
            collector_port: free_port(),
            aggregator_port: free_port(),
        };
        std::fs::write(site.config(), site.settings()).unwrap();
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("siji.toml")
    }

    fn settings(&self) -> String {
        let Site {
            kafka,
            collector_port,
            aggregator_port,
            ..
        } = self;
        format!(
            "[reference]\ncities = [\"huzhou\"]\n\
             [lake]\nlocation = {lake:?}\n\
             [kafka]\nbrokers = {brokers:?}\ntopic = {topic:?}\npartitions = {PARTITIONS}\n\
             [aggregator]\ncommit_interval_ms = 200\n\
             [admin]\naggregator = \"127.0.0.1:{aggregator_port}\"\n\
             [collector]\nlisten = \"127.0.0.1:{collector_port}\"\nsource_id = \"wuxing\"\narea = \"330502\"\n\
             data_dir = {spool:?}\nheartbeat_seconds = 3600\n\
             pseudonym_key = \"{key}\"\n\
             [[collector.tokens]]\nname = \"test\"\nsha256 = \"{TOKEN_SHA256}\"\nareas = [\"330502\"]\nrights = [\"write\", \"import\"]\n",
            lake = self.path("lake"),
            brokers = kafka.brokers,
            topic = kafka.topic,
            spool = self.path("spool"),
            key = "ab".repeat(32),
        )
    }

    /// `siji COMMAND --config …`
    pub fn command(&self, command: &str) -> Command {
        let mut siji = siji();
        siji.arg(command).arg("--config").arg(self.config());
        siji
    }

    pub fn start_aggregator(&self) -> Role {
        let mut role = Role::start(
            "aggregator",
            self.directory.path(),
            self.command("aggregator"),
        );
        role.wait_for_log("health and metrics");
        role
    }

    pub fn start_collector(&self) -> Role {
        let mut role = Role::start(
            "collector",
            self.directory.path(),
            self.command("collector"),
        );
        role.wait_for_log("collector listening");
        role
    }

    /// Runs a command to its end.
    pub fn run(&self, command: &str, args: &[&str]) -> Output {
        self.command(command).args(args).output().unwrap()
    }

    /// Rows of a query.
    pub fn sql(&self, query: &str) -> Vec<Value> {
        let output = self.run("sql", &[query, "--output", "json"]);
        assert!(
            output.status.success(),
            "{query}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["rows"].as_array().unwrap().clone()
    }

    /// The one number a query returns.
    pub fn number(&self, query: &str) -> i64 {
        let rows = self.sql(query);
        let value = rows[0]
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .clone();
        value
            .as_i64()
            .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
            .unwrap_or_else(|| panic!("{query}: {value}"))
    }

    /// Waits until so many records stand in the ledger.
    pub fn wait_for_records(&self, records: i64) {
        wait_for(&format!("{records} records in the ledger"), || {
            let output = self.run(
                "sql",
                &[
                    "SELECT count(*) AS n FROM ledger WHERE disposition <> 'gap' AND resolves IS NULL",
                    "--output",
                    "json",
                ],
            );
            let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
            (answer["rows"][0]["n"].as_i64()? >= records).then_some(())
        });
    }

    /// `siji verify`: exit code and report.
    pub fn verify(&self) -> (Option<i32>, Value) {
        let output = self.run("verify", &["--output", "json"]);
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| json!({ "stderr": String::from_utf8_lossy(&output.stderr) }));
        (output.status.code(), report)
    }

    /// Writes good events straight to the topic, all with the key of [`COMMUNITY`].
    pub fn write_to_topic(&self, events: usize) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.kafka.brokers)
            .create()
            .unwrap();
        for _ in 0..events {
            let mut event = visit(&new_id(), 10);
            event["schema_version"] = 1.into();
            event["op"] = "assert".into();
            event["recorded_at"] = "2026-03-02T09:31:00+08:00".into();
            let event = event.to_string();
            let record = BaseRecord::to(&self.kafka.topic)
                .partition(partition_of(COMMUNITY.as_bytes(), PARTITIONS))
                .key(COMMUNITY)
                .payload(&event);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    pub fn collector_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.collector_port)
    }

    /// Sends a body to the collector; status and answer.
    pub async fn send(
        &self,
        client: &reqwest::Client,
        body: Vec<u8>,
    ) -> reqwest::Result<(u16, Value)> {
        let answer = client
            .post(self.collector_url("/v1/events"))
            .bearer_auth(TOKEN)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok((
            status,
            serde_json::from_slice(&answer.bytes().await?).unwrap_or(Value::Null),
        ))
    }
}

/// A community of Wuxing district.
pub const COMMUNITY: &str = "330502001005";

/// A good event, as a client sends it.
pub fn visit(id: &str, minutes: i64) -> Value {
    json!({
        "event_id": id,
        "event_type": "visit.made",
        "occurred_at": "2026-03-02T09:30:00+08:00",
        "area_code": COMMUNITY,
        "subject_kind": "visit",
        "subject_id": "v-1",
        "minutes": minutes,
        "qualifier": "exact",
    })
}

/// A new event id.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
