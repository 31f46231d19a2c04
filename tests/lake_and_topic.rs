//! What a lake holds rests on its topic and on being there: neither may change unnoticed.

mod harness;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use harness::{PARTITIONS, Site};
use rdkafka::ClientConfig;

fn site_with_records(records: usize) -> Site {
    let site = Site::new();
    let aggregator = site.start_aggregator();
    site.write_to_topic(records);
    site.wait_for_records(records as i64);
    assert_eq!(aggregator.terminate().0, Some(0));
    site
}

/// Ends by itself, or is killed after a while.
fn ended(mut command: Command) -> Output {
    command.env("SIJI_AGGREGATOR_PATIENCE_MS", "5000");
    let output = command.output().unwrap();
    assert!(!output.status.success());
    output
}

#[test]
fn a_lake_that_another_topic_fed_is_refused() {
    let site = site_with_records(3);
    let mut command = site.command("aggregator");
    command.args(["--topic", &format!("{}.other", site.kafka.topic)]);
    let output = ended(command);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains(&format!("the lake was fed by topic `{}`", site.kafka.topic)),
        "{told}"
    );
}

#[test]
fn a_registry_that_comes_back_is_in_force_once() {
    let site = Site::new();
    for cities in ["huzhou", "fuzhou", "huzhou"] {
        let mut command = site.command("aggregator");
        command.args(["--cities", cities]);
        let mut aggregator = harness::Role::start("aggregator", site.directory.path(), command);
        aggregator.wait_for_log("health and metrics");
        assert_eq!(aggregator.terminate().0, Some(0));
    }
    let areas = site.number("SELECT count(*) AS n FROM areas");
    assert!(areas > 1000);
    assert_eq!(
        areas,
        site.number("SELECT count(DISTINCT area_code) AS n FROM areas")
    );
}

#[test]
fn a_lake_is_not_touched_by_an_aggregator_whose_port_is_taken() {
    let site = Site::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = site.command("aggregator");
    command.args(["--admin", &address]);
    let output = ended(command);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address));
    assert!(!site.path("lake").exists());
}

#[test]
fn two_aggregators_that_start_on_an_empty_lake_both_come_up() {
    let site = Site::new();
    let start = |name: &str| {
        let mut command = site.command("aggregator");
        command.args(["--admin", "127.0.0.1:0"]);
        harness::Role::start(name, site.directory.path(), command)
    };
    let mut both = [start("first"), start("second")];
    for aggregator in &mut both {
        aggregator.wait_for_log("health and metrics");
    }
    site.write_to_topic(20);
    site.wait_for_records(20);
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
}

#[tokio::test]
async fn a_topic_that_grew_is_refused_because_events_sent_again_would_count_twice() {
    use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
    use rdkafka::client::DefaultClientContext;

    let site = site_with_records(3);
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &site.kafka.brokers)
        .create()
        .unwrap();
    let more = NewPartitions::new(&site.kafka.topic, PARTITIONS as usize + 1);
    let grown = admin.create_partitions([&more], &AdminOptions::new()).await;
    if std::env::var_os("SIJI_TEST_BROKERS").is_some() {
        grown.unwrap().remove(0).unwrap();
    }
    let mut command = site.command("aggregator");
    command.args(["--partitions", &(PARTITIONS + 1).to_string()]);
    let output = ended(command);
    let told = String::from_utf8_lossy(&output.stderr);
    // The embedded broker's topics cannot grow: there the topic is not as configured.
    let expected = match std::env::var_os("SIJI_TEST_BROKERS") {
        Some(_) => "events sent again would count twice",
        None => "has 3 partitions, siji is configured for 4",
    };
    assert!(told.contains(expected), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_goes_away_is_not_made_anew_and_is_filled_on_when_it_is_back() {
    let site = Site::new();
    let aggregator = site.start_aggregator();
    tokio::task::block_in_place(|| {
        site.write_to_topic(5);
        site.wait_for_records(5);
        std::fs::rename(site.path("lake"), site.path("unmounted")).unwrap();
        std::fs::create_dir(site.path("lake")).unwrap();
        site.write_to_topic(5);
    });
    let url = format!("http://127.0.0.1:{}/readyz", site.aggregator_port);
    let until = Instant::now() + harness::PATIENCE;
    loop {
        let answer = reqwest::get(&url).await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        if status == 503 && text.contains("no siji lake") {
            break;
        }
        assert!(Instant::now() < until, "{status} {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(std::fs::read_dir(site.path("lake")).unwrap().count(), 0);
    tokio::task::block_in_place(|| {
        std::fs::remove_dir(site.path("lake")).unwrap();
        std::fs::rename(site.path("unmounted"), site.path("lake")).unwrap();
        site.wait_for_records(10);
        assert_eq!(aggregator.terminate().0, Some(0));
        let (code, report) = site.verify();
        assert_eq!(code, Some(0), "{report}");
    });
}
