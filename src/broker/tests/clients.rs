//! Producers and consumers configured as siji's are.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

pub async fn create_topic(bootstrap: &str, name: &str, partitions: i32) {
    create_topic_with(bootstrap, name, partitions, &[("cleanup.policy", "delete")]).await;
}

pub async fn create_topic_with(
    bootstrap: &str,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap).create().unwrap();
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    admin
        .create_topics([&topic], &AdminOptions::new())
        .await
        .unwrap()
        .remove(0)
        .unwrap();
}

pub async fn delete_topic(bootstrap: &str, name: &str) {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap).create().unwrap();
    admin
        .delete_topics(&[name], &AdminOptions::new())
        .await
        .unwrap()
        .remove(0)
        .unwrap();
}

/// Collects delivery reports.
#[derive(Default)]
pub struct Reports(Mutex<Vec<Result<(i32, i64), String>>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        let report = match report {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.to_string()),
        };
        self.0.lock().unwrap().push(report);
    }
}

/// Sends `values` as fast as the producer takes them and returns all delivery reports. Blocks.
pub fn produce(
    config: &ClientConfig,
    topic: &str,
    values: impl Iterator<Item = (i32, Vec<u8>)>,
) -> Vec<Result<(i32, i64), String>> {
    let producer: BaseProducer<Reports> = config.create_with_context(Reports::default()).unwrap();
    for (partition, value) in values {
        let mut record = BaseRecord::<(), _>::to(topic)
            .partition(partition)
            .payload(&value);
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(20));
            record = back;
        }
    }
    producer.flush(PATIENCE).unwrap();
    std::mem::take(&mut *producer.context().0.lock().unwrap())
}

/// The producer's settings of the collector: in order, no duplicates, all replicas, zstd.
pub fn careful(bootstrap: &str) -> ClientConfig {
    let mut config = config(bootstrap);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "zstd");
    config.set("linger.ms", "5");
    config
}

pub fn consumer(bootstrap: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(bootstrap);
    config
        .set("group.id", "siji-test")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error");
    config.set("fetch.queue.backoff.ms", "5");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

pub fn assign(consumer: &BaseConsumer, topic: &str, from: &[(i32, Offset)]) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in from {
        list.add_partition_offset(topic, *partition, *offset)
            .unwrap();
    }
    consumer.assign(&list).unwrap();
}

/// Reads `count` messages; panics after [`PATIENCE`] without one. Blocks.
pub fn take<T>(
    consumer: &BaseConsumer,
    count: usize,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> T,
) -> Vec<T> {
    let mut taken = Vec::new();
    let mut last = Instant::now();
    while taken.len() < count {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                taken.push(each(&message));
                last = Instant::now();
            }
            Some(Err(error)) => panic!("after {} of {count} messages: {error}", taken.len()),
            None => assert!(
                last.elapsed() < PATIENCE,
                "{} of {count} messages arrived",
                taken.len()
            ),
        }
    }
    taken
}

/// Reads every message of partitions `0..partitions` from the beginning to the end as it is now. Blocks.
pub fn read_all(bootstrap: &str, topic: &str, partitions: i32) -> Vec<Vec<(i64, Vec<u8>)>> {
    let consumer = consumer(bootstrap, &[]);
    let ends: Vec<i64> = (0..partitions)
        .map(|partition| {
            consumer
                .fetch_watermarks(topic, partition, PATIENCE)
                .unwrap()
                .1
        })
        .collect();
    let from: Vec<_> = (0..partitions)
        .map(|partition| (partition, Offset::Beginning))
        .collect();
    assign(&consumer, topic, &from);
    let mut read = vec![Vec::new(); ends.len()];
    let count = usize::try_from(ends.iter().sum::<i64>()).unwrap();
    let messages = take(&consumer, count, |message| {
        (
            message.partition(),
            message.offset(),
            message.payload().unwrap_or_default().to_vec(),
        )
    });
    for (partition, offset, value) in messages {
        read[usize::try_from(partition).unwrap()].push((offset, value));
    }
    read
}

/// Runs blocking client calls beside the broker.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
