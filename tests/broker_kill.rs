//! `siji broker`, killed at random moments while a producer writes: what it acknowledged is there afterwards, once and
//! in order. `SIJI_KILL_ROUNDS` sets how often it is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

const TOPIC: &str = "siji.events";
const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker in a process of its own.
struct Broker {
    process: Child,
    address: String,
}

impl Broker {
    fn start(data: &Path, listen: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_siji"))
            .args([
                "broker",
                "--listen",
                listen,
                "--admin",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines
            .find(|line| line.as_ref().is_ok_and(|line| line.contains("kafka at")))
            .expect("the broker ended without saying where it listens")
            .unwrap();
        let address = line.rsplit(' ').next().unwrap().to_owned();
        Self { process, address }
    }

    /// As `kill -9` does.
    fn kill(self) {
        drop(self);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// How many messages were acknowledged. Where, the reports cannot say: after an acknowledgement that was lost, the
/// broker answers "had it", without the offset.
#[derive(Default)]
struct Acknowledged(AtomicU64);

impl ClientContext for Acknowledged {
    // Lost connections are what this test is about.
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}
    fn error(&self, _error: rdkafka::error::KafkaError, _reason: &str) {}
}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = report {
            panic!("a message was given up: {error}");
        }
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Every message holds its number in front of some ballast.
fn value(number: u64) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(300, b'.');
    value
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value[..8].try_into().unwrap())
}

#[test]
fn what_was_acknowledged_survives_a_kill_of_the_broker_once_and_in_order() {
    let rounds: u32 = std::env::var("SIJI_KILL_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(directory.path(), "127.0.0.1:0");
    let address = broker.address.clone();
    create_topic(&address);

    let producer: Arc<BaseProducer<Acknowledged>> = Arc::new(
        client(&address)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "zstd")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "5")
            .set("reconnect.backoff.max.ms", "200")
            .set("queue.buffering.max.messages", "2000")
            .create_with_context(Acknowledged::default())
            .unwrap(),
    );
    let acknowledged = || producer.context().0.load(Ordering::Acquire);
    let stop = Arc::new(AtomicBool::new(false));
    let sending = {
        let (producer, stop) = (Arc::clone(&producer), Arc::clone(&stop));
        std::thread::spawn(move || send_until(&producer, &stop))
    };

    for round in 0..rounds {
        let before = acknowledged();
        std::thread::sleep(Duration::from_millis(200 + rand::random_range(0..800)));
        wait_for("an acknowledgement", || acknowledged() > before);
        broker.kill();
        if round % 2 == 1 {
            std::thread::sleep(Duration::from_millis(300));
        }
        broker = Broker::start(directory.path(), &address);
    }
    stop.store(true, Ordering::Release);
    let sent = sending.join().unwrap();
    producer.flush(PATIENCE).unwrap();

    assert_eq!(
        acknowledged(),
        sent,
        "every message is acknowledged in the end"
    );
    let stored = read_all(&address);
    for partition in 0..PARTITIONS {
        let found: Vec<u64> = stored
            .iter()
            .filter(|(p, _)| *p == partition)
            .map(|(_, number)| *number)
            .collect();
        let expected: Vec<u64> = (0..sent)
            .filter(|n| i32::try_from(n % 3).unwrap() == partition)
            .collect();
        assert!(
            found == expected,
            "partition {partition} holds {} messages, {} were sent",
            found.len(),
            expected.len()
        );
    }
    broker.kill();
}

fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config
}

fn create_topic(address: &str) {
    let admin: AdminClient<DefaultClientContext> = client(address).create().unwrap();
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1))
        .set("cleanup.policy", "delete");
    let created = futures::executor::block_on(admin.create_topics([&topic], &AdminOptions::new()));
    created.unwrap().remove(0).unwrap();
}

/// Sends numbered messages round the partitions and returns how many.
fn send_until(producer: &BaseProducer<Acknowledged>, stop: &AtomicBool) -> u64 {
    for next in 0.. {
        if stop.load(Ordering::Acquire) {
            return next;
        }
        let value = value(next);
        let partition = i32::try_from(next % 3).unwrap();
        let mut record = BaseRecord::<(), _>::to(TOPIC)
            .partition(partition)
            .payload(&value);
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = back;
        }
        producer.poll(Duration::ZERO);
    }
    unreachable!("the numbers do not end")
}

fn read_all(address: &str) -> Vec<(i32, u64)> {
    let consumer: BaseConsumer = client(address)
        .set("group.id", "kill-test")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    let mut count = 0;
    for partition in 0..PARTITIONS {
        count += consumer
            .fetch_watermarks(TOPIC, partition, PATIENCE)
            .unwrap()
            .1;
        list.add_partition_offset(TOPIC, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut stored = Vec::new();
    let mut last = Instant::now();
    while (stored.len() as i64) < count {
        match consumer.poll(Duration::from_millis(100)) {
            Some(message) => {
                let message = message.unwrap();
                stored.push((message.partition(), number(message.payload().unwrap())));
                last = Instant::now();
            }
            None => assert!(
                last.elapsed() < PATIENCE,
                "{} of {count} messages arrived",
                stored.len()
            ),
        }
    }
    stored
}

fn wait_for(what: &str, reached: impl Fn() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
