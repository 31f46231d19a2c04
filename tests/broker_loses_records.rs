//! Records that Kafka lost or deleted: the partition stops and says so, and goes on when an operator accepts it; a
//! collector sends again what it still keeps.

mod harness;

use std::process::Output;
use std::time::Duration;

use harness::{COMMUNITY, PARTITIONS, Role, Site, new_id, visit, wait_for};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use siji_schemas::wire::partition_of;

/// Where all records of these tests go.
fn partition() -> i32 {
    partition_of(COMMUNITY.as_bytes(), PARTITIONS)
}

fn admin(site: &Site) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", &site.kafka.brokers)
        .create()
        .unwrap()
}

async fn recreate_topic(site: &Site) {
    let admin = admin(site);
    let topic = site.kafka.topic.as_str();
    let deleted = admin
        .delete_topics(&[topic], &AdminOptions::new())
        .await
        .unwrap();
    deleted.into_iter().next().unwrap().unwrap();
    for _ in 0..100 {
        let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
        let created = admin
            .create_topics([&new], &AdminOptions::new())
            .await
            .unwrap();
        if created.into_iter().next().unwrap().is_ok() {
            return;
        }
        // Kafka deletes in the background.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the topic cannot be made again");
}

fn accept(site: &Site) -> Output {
    let partition = partition().to_string();
    let mut command = harness::siji();
    command.args(["offsets", "accept", "--partition", &partition]);
    command.args(["--output", "json", "--config"]);
    command.arg(site.config()).output().unwrap()
}

/// What was accepted.
fn accepted(site: &Site) -> Value {
    let output = accept(site);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn accept_is_refused(site: &Site, because: &str) {
    let output = accept(site);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(because), "{told}");
}

/// Not ready, and the reason names the partition and what an operator can do.
async fn wait_until_stopped(site: &Site, because: &str) {
    let url = format!("http://127.0.0.1:{}/readyz", site.aggregator_port);
    let until = std::time::Instant::now() + harness::PATIENCE;
    loop {
        let answer = reqwest::get(&url).await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        let command = format!("siji offsets accept --partition {}", partition());
        if status == 503 && text.contains(because) && text.contains(&command) {
            return;
        }
        assert!(
            std::time::Instant::now() < until,
            "{status} {text}, not {because:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn end(aggregator: Role) {
    assert_eq!(aggregator.terminate().0, Some(0));
}

/// 20 records are in the ledger and the aggregator has ended.
fn site_with_twenty_records() -> Site {
    let site = Site::new();
    let aggregator = site.start_aggregator();
    site.write_to_topic(20);
    site.wait_for_records(20);
    end(aggregator);
    site
}

async fn a_recreated_topic_with(events: i64, because: &str) {
    let site = site_with_twenty_records();
    recreate_topic(&site).await;
    site.write_to_topic(events as usize);

    let aggregator = site.start_aggregator();
    wait_until_stopped(&site, because).await;
    end(aggregator);
    assert_eq!(site.number("SELECT count(*) AS n FROM ledger"), 20);

    let answer = accepted(&site);
    assert_eq!(
        (&answer["epoch"], &answer["next"], &answer["gap"]),
        (&1.into(), &0.into(), &Value::Null)
    );
    let aggregator = site.start_aggregator();
    site.wait_for_records(20 + events);
    accept_is_refused(&site, "nothing to accept");
    end(aggregator);
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["accepted"], 20 + events);
    assert_eq!(
        site.number("SELECT sum(events) AS n FROM rollup_city"),
        20 + events
    );
}

#[tokio::test]
async fn a_recreated_topic_that_is_shorter_than_the_ledger_stops_its_partition_until_accepted() {
    a_recreated_topic_with(5, "the log ends at 5").await;
}

#[tokio::test]
async fn a_recreated_topic_that_is_longer_than_the_ledger_stops_its_partition_until_accepted() {
    a_recreated_topic_with(30, "the record at offset 19 is not the one in the ledger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_that_runs_goes_on_when_its_stopped_partition_is_accepted() {
    let site = site_with_twenty_records();
    recreate_topic(&site).await;
    site.write_to_topic(5);
    let aggregator = site.start_aggregator();
    wait_until_stopped(&site, "the log ends at 5").await;
    tokio::task::block_in_place(|| {
        assert_eq!(accepted(&site)["epoch"], 1);
        site.wait_for_records(25);
        end(aggregator);
        let (code, report) = site.verify();
        assert_eq!(code, Some(0), "{report}");
    });
}

#[tokio::test]
async fn nothing_can_be_accepted_of_a_partition_that_is_in_order() {
    let site = site_with_twenty_records();
    accept_is_refused(&site, "the record at offset 19 is the one in the ledger");
    let mut command = harness::siji();
    let other = (partition() + 1) % PARTITIONS;
    command.args(["offsets", "accept", "--partition", &other.to_string()]);
    let output = command.arg("--config").arg(site.config()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing in the ledger yet"));
}

fn resend(site: &Site, since: &str) -> Output {
    let mut command = harness::siji();
    command.args(["collector", "resend", "--since", since, "--output", "json"]);
    command.arg("--config").arg(site.config());
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_lost_before_it_was_read_comes_again_from_the_collector() {
    let site = Site::new();
    // Makes the topic.
    end(site.start_aggregator());
    let collector = site.start_collector();
    let client = reqwest::Client::new();
    for minutes in 1..=30 {
        let body = visit(&new_id(), minutes).to_string().into_bytes();
        assert_eq!(site.send(&client, body).await.unwrap().0, 202);
    }
    tokio::task::block_in_place(|| {
        let refused = resend(&site, "2026-01-01T00:00:00+08:00");
        assert_eq!(
            refused.status.code(),
            Some(1),
            "the collector holds its spool"
        );
        wait_for("delivery", || {
            let highs = highs(&site);
            (highs >= 31).then_some(())
        });
    });
    end(collector);
    recreate_topic(&site).await;

    tokio::task::block_in_place(|| {
        assert_eq!(resend(&site, "yesterday").status.code(), Some(2));
        let resent = resend(&site, "2026-01-01T00:00:00+08:00");
        let told = String::from_utf8_lossy(&resent.stderr).into_owned();
        assert_eq!(resent.status.code(), Some(0), "{told}");
        let answer: Value = serde_json::from_slice(&resent.stdout).unwrap();
        // The events and the heartbeat of the collector's first start.
        assert_eq!(answer["records"], 30 + 1);
        let collector = site.start_collector();
        let aggregator = site.start_aggregator();
        // Those of `resend` and of the second start too.
        site.wait_for_records(30 + 3);
        end(collector);
        end(aggregator);
        assert_eq!(
            site.number("SELECT sum(minutes) AS n FROM events WHERE event_type = 'visit.made'"),
            (1..=30).sum::<i64>()
        );
        let (code, report) = site.verify();
        assert_eq!(code, Some(0), "{report}");
    });
}

/// Records in the topic.
fn highs(site: &Site) -> i64 {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &site.kafka.brokers)
        .create()
        .unwrap();
    (0..PARTITIONS)
        .map(|partition| {
            let marks =
                consumer.fetch_watermarks(&site.kafka.topic, partition, Duration::from_secs(10));
            marks.unwrap().1
        })
        .sum()
}

/// The embedded broker deletes nothing, so this says something on Kafka only.
#[tokio::test]
async fn records_deleted_before_they_were_read_become_a_gap_when_accepted() {
    let site = site_with_twenty_records();
    site.write_to_topic(10);
    let mut until = TopicPartitionList::new();
    until
        .add_partition_offset(&site.kafka.topic, partition(), Offset::Offset(25))
        .unwrap();
    let deleted = admin(&site)
        .delete_records(&until, &AdminOptions::new())
        .await;
    if std::env::var_os("SIJI_TEST_BROKERS").is_none() {
        assert!(deleted.is_err() || deleted.unwrap().elements()[0].error().is_err());
        return;
    }
    deleted.unwrap();

    let aggregator = site.start_aggregator();
    wait_until_stopped(&site, "the log begins at 25").await;
    end(aggregator);
    assert_eq!(accepted(&site)["gap"], serde_json::json!([20, 24]));
    accept_is_refused(&site, "nothing to accept");
    let _aggregator = site.start_aggregator();
    site.wait_for_records(25);
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["accepted"], 25);
    let gaps = site.sql("SELECT \"offset\", offset_last FROM ledger WHERE disposition = 'gap'");
    assert_eq!(
        gaps,
        [serde_json::json!({ "offset": 20, "offset_last": 24 })]
    );
}
