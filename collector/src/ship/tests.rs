use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use siji_schemas::wire;

use super::window::Window;
use super::*;
use crate::spool::{Record, Spool, SpoolLimits, Value};

const PARTITIONS: i32 = 4;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(wire::TOPIC, PARTITIONS, 1).unwrap();
    cluster
}

fn config(cluster: &Cluster) -> KafkaConfig {
    let mut config = KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        ..KafkaConfig::default()
    };
    config
        .properties
        .insert("reconnect.backoff.ms".to_owned(), "50".to_owned());
    config
        .properties
        .insert("reconnect.backoff.max.ms".to_owned(), "200".to_owned());
    config
}

fn spool(directory: &Path) -> Arc<Spool> {
    let greeting = Box::new(|_: &_| record("greeting", "330502"));
    Arc::new(
        Spool::open(
            &directory.join("spool.redb"),
            SpoolLimits::default(),
            greeting,
        )
        .unwrap(),
    )
}

fn record(value: &str, key: &str) -> Record {
    Record {
        key: key.to_owned(),
        headers: vec![(wire::HEADER_CODE, b"V01".to_vec())],
        value: Value::Refused(value.into()),
    }
}

/// Spools `count` records of a few keys, a few at a time.
async fn fill(spool: &Spool, from: usize, count: usize) {
    for chunk in (from..from + count).collect::<Vec<_>>().chunks(37) {
        let records = chunk
            .iter()
            .map(|i| record(&format!("{i:06}"), &format!("33050{}", i % 7)))
            .collect();
        spool.append(records).await.unwrap();
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    partition: i32,
    key: String,
    value: String,
    headers: Vec<(String, String)>,
}

/// Reads the topic until nothing has come for a while.
fn read_topic(cluster: &Cluster) -> Vec<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .set("fetch.wait.max.ms", "50")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions
            .add_partition_offset(wire::TOPIC, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut seen = Vec::new();
    while let Some(message) = consumer.poll(Duration::from_millis(if seen.is_empty() {
        5_000
    } else {
        1_000
    })) {
        let message = message.unwrap();
        let text =
            |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().map(|headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), text(header.value)))
                .collect()
        });
        seen.push(Seen {
            partition: message.partition(),
            key: text(message.key()),
            value: text(message.payload()),
            headers: headers.unwrap_or_default(),
        });
    }
    seen
}

/// Values per partition, greeting left out.
fn values(seen: &[Seen], partition: i32) -> Vec<&str> {
    seen.iter()
        .filter(|s| s.partition == partition && s.value != "greeting")
        .map(|s| s.value.as_str())
        .collect()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "not within 30 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn assert_complete_and_in_order(seen: &[Seen], count: usize) {
    let mut all: Vec<&str> = (0..PARTITIONS).flat_map(|p| values(seen, p)).collect();
    for partition in 0..PARTITIONS {
        let values = values(seen, partition);
        assert!(
            values.is_sorted(),
            "partition {partition} is out of spool order"
        );
    }
    all.sort_unstable();
    let expected: Vec<String> = (0..count).map(|i| format!("{i:06}")).collect();
    assert_eq!(all, expected, "each record once");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_in_spool_order_where_java_would_put_them_with_their_headers() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    let shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    fill(&spool, 0, 3000).await;
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    let seen = read_topic(&cluster);
    assert_complete_and_in_order(&seen, 3000);
    for record in &seen {
        assert_eq!(
            record.partition,
            wire::partition_of(record.key.as_bytes(), PARTITIONS),
            "{record:?}"
        );
    }
    let opening = spool.gauges().opening;
    let first = seen.iter().find(|record| record.value == "000000").unwrap();
    let expected = [
        (wire::HEADER_CODE, "V01".to_owned()),
        (wire::HEADER_INCARNATION, opening.incarnation.to_string()),
        (wire::HEADER_SEQ, "2".to_owned()),
    ];
    assert_eq!(
        first.headers,
        expected.map(|(name, value)| (name.to_owned(), value))
    );
    assert_eq!(shipper.status().delivered(), 3001);
    assert_eq!(shipper.status().degraded(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_makes_the_spool_grow_and_nothing_is_lost() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    let shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    fill(&spool, 0, 500).await;
    eventually("the first part is delivered", || spool.gauges().depth == 0).await;
    cluster.broker_down(1).unwrap();
    fill(&spool, 500, 1500).await;
    eventually("the trouble shows", || {
        shipper.status().degraded().is_some()
    })
    .await;
    assert_eq!(spool.gauges().depth, 1500);
    assert!(spool.admits().is_ok(), "intake goes on");
    assert!(spool.gauges().oldest_age_s > 0.0);
    cluster.broker_up(1).unwrap();
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_eq!(shipper.status().degraded(), None);
    assert_complete_and_in_order(&read_topic(&cluster), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_errors_of_the_broker_neither_lose_nor_reorder() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    use RDKafkaRespErr::*;
    let errors = [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR__TRANSPORT,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR__TRANSPORT,
    ];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    let _shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    fill(&spool, 0, 3000).await;
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_complete_and_in_order(&read_topic(&cluster), 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_the_broker_refuses_is_sent_record_by_record_and_only_the_guilty_one_is_set_aside()
{
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    // One key, so one partition and one batch; the refusal of the batch is followed by that of one record alone.
    spool
        .append(
            (0..50)
                .map(|i| record(&format!("{i:06}"), "330502"))
                .collect(),
        )
        .await
        .unwrap();
    use RDKafkaRespErr::*;
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            RD_KAFKA_RESP_ERR_NO_ERROR,
            RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        ],
    );
    let _shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    eventually("the spool is empty", || spool.gauges().depth == 0).await;
    assert_eq!(spool.gauges().stuck, 1);
    let seen = read_topic(&cluster);
    let delivered: Vec<&str> = (0..PARTITIONS).flat_map(|p| values(&seen, p)).collect();
    let expected: Vec<String> = (1..50).map(|i| format!("{i:06}")).collect();
    assert_eq!(
        delivered, expected,
        "the greeting came through alone, then record 0 was refused alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fatal_error_a_new_producer_goes_on_at_the_first_undelivered_record() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    cluster.request_errors(
        RDKafkaApiKey::InitProducerId,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
    );
    let shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    fill(&spool, 0, 500).await;
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_complete_and_in_order(&read_topic(&cluster), 500);
    assert_eq!(shipper.status().producers(), 2);
    assert_eq!(shipper.status().degraded(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_yet_is_waited_for_and_not_made_up() {
    let (cluster, directory) = (MockCluster::new(1).unwrap(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    let mut config = config(&cluster);
    config.properties.insert(
        "topic.metadata.propagation.max.ms".to_owned(),
        "300".to_owned(),
    );
    let shipper = Shipper::start(Arc::clone(&spool), config).unwrap();
    fill(&spool, 0, 500).await;
    eventually("the trouble shows", || {
        shipper.status().degraded().is_some()
    })
    .await;
    let (_, why) = shipper.status().degraded().unwrap();
    assert!(why.starts_with("topic siji.events: "), "{why}");
    assert_eq!(spool.gauges().depth, 501);
    cluster.create_topic(wire::TOPIC, PARTITIONS, 1).unwrap();
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_complete_and_in_order(&read_topic(&cluster), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_sends_again_what_was_delivered() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    let _shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    fill(&spool, 0, 100).await;
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_eq!(spool.resend(0).await.unwrap().records, 101);
    eventually("all is delivered again", || spool.gauges().depth == 0).await;
    let seen = read_topic(&cluster);
    assert_eq!(seen.len(), 202);
    for i in 0..100 {
        let copies = seen
            .iter()
            .filter(|record| record.value == format!("{i:06}"))
            .count();
        assert_eq!(copies, 2, "record {i}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_delivers_what_it_can_and_leaves_the_rest_to_the_next_start() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let first = spool(directory.path());
    let shipper = Shipper::start(Arc::clone(&first), config(&cluster)).unwrap();
    fill(&first, 0, 2000).await;
    shipper.stop(Instant::now() + Duration::from_secs(20));
    assert_eq!(first.gauges().depth, 0, "there was time");
    cluster.broker_down(1).unwrap();
    let shipper = Shipper::start(Arc::clone(&first), config(&cluster)).unwrap();
    fill(&first, 2000, 500).await;
    let started = Instant::now();
    shipper.stop(Instant::now() + Duration::from_secs(2));
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    first.close();
    cluster.broker_up(1).unwrap();

    let second = spool(directory.path());
    let _shipper = Shipper::start(Arc::clone(&second), config(&cluster)).unwrap();
    eventually("the next start delivers", || second.gauges().depth == 0).await;
    assert_complete_and_in_order(&read_topic(&cluster), 2500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_set_aside_and_the_others_are_shipped() {
    use redb::ReadableTable;
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let before = spool(directory.path());
    for i in 0..3 {
        before
            .append(vec![record(&format!("{i:06}"), "330502")])
            .await
            .unwrap();
    }
    before.close();
    let db = redb::Database::create(directory.path().join("spool.redb")).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut blocks = txn
            .open_table(redb::TableDefinition::<u64, &[u8]>::new("blocks"))
            .unwrap();
        let mut bytes = blocks.get(3).unwrap().unwrap().value().to_vec();
        bytes[45] ^= 0x10;
        blocks.insert(3, bytes.as_slice()).unwrap();
    }
    txn.commit().unwrap();
    drop(db);
    let spool = spool(directory.path());
    let _shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    eventually("the spool is empty", || spool.gauges().depth == 0).await;
    assert_eq!(spool.gauges().stuck, 1);
    let seen = read_topic(&cluster);
    let delivered: Vec<&str> = (0..PARTITIONS).flat_map(|p| values(&seen, p)).collect();
    assert_eq!(delivered, ["000000", "000002"]);
}

#[test]
fn properties_the_guarantees_stand_on_cannot_be_set() {
    let mut config = KafkaConfig::default();
    for (name, value) in [
        ("acks", "1"),
        ("delivery.timeout.ms", "1000"),
        ("partitioner", "random"),
        ("linger.ms", "1"),
    ] {
        config.properties.insert(name.to_owned(), value.to_owned());
    }
    let refused: Vec<String> = config
        .check()
        .into_iter()
        .map(|problem| problem.name)
        .collect();
    assert_eq!(refused, ["acks", "partitioner", "delivery.timeout.ms"]);
    assert!(config.check()[0].to_string().contains("must not be set"));
    config
        .properties
        .insert("sasl.password".to_owned(), "open sesame".to_owned());
    let shown = format!("{config:?}");
    assert!(
        shown.contains("sasl.password") && !shown.contains("sesame"),
        "{shown}"
    );
}

/// The simplest thing a window could be: a state per position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Due,
    Sent,
    Done,
}

proptest! {
    #[test]
    fn a_window_is_a_state_per_position_and_its_edge_the_first_that_is_not_done(
        steps in prop::collection::vec((0u8..5, 0usize..40), 0..200)
    ) {
        const START: u64 = 7;
        let mut window = Window::new(START);
        let mut fates: Vec<Fate> = Vec::new();
        for (step, index) in steps {
            let position = START + index as u64;
            match step {
                0 | 1 => {
                    let due = window.next_due();
                    prop_assert!(window.is_due(due));
                    window.sent(due);
                    let index = (due - START) as usize;
                    if index == fates.len() {
                        fates.push(Fate::Sent);
                    } else {
                        fates[index] = Fate::Sent;
                    }
                }
                2 => {
                    window.done(position);
                    if let Some(fate) = fates.get_mut(index) {
                        *fate = Fate::Done;
                    }
                }
                3 => {
                    window.failed(position);
                    if let Some(fate) = fates.get_mut(index).filter(|fate| **fate != Fate::Done) {
                        *fate = Fate::Due;
                    }
                }
                _ if index == 0 => {
                    window.forget_sent();
                    fates.iter_mut().filter(|fate| **fate == Fate::Sent).for_each(|fate| *fate = Fate::Due);
                }
                _ => {}
            }
            let place = |wanted: fn(Fate) -> bool| fates.iter().position(|f| wanted(*f)).unwrap_or(fates.len());
            prop_assert_eq!(window.edge(), START + place(|fate| fate != Fate::Done) as u64);
            prop_assert_eq!(window.next_due(), START + place(|fate| fate == Fate::Due) as u64);
            prop_assert_eq!(window.in_flight(), fates.iter().filter(|fate| **fate == Fate::Sent).count());
        }
    }
}
