//! A demo ends in order within ten seconds, whenever it is asked to, and at once when a part of it dies.

mod harness;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Role, siji, wait_for};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(10);

fn demo(directory: &Path, events: u64) -> Command {
    let mut command = siji();
    command
        .args(["demo", "--listen", "127.0.0.1:0", "--events"])
        .arg(events.to_string())
        .arg("--data-dir")
        .arg(directory.join("data"))
        .env("SIJI_COLLECTOR_LISTEN", "127.0.0.1:0");
    if let Ok(brokers) = std::env::var("SIJI_TEST_BROKERS") {
        let topic = format!("siji.events.{}", harness::new_id());
        command.args(["--brokers", &brokers, "--topic", &topic]);
    }
    command
}

/// Versions of the ledger so far.
fn commits(directory: &Path) -> usize {
    let log = directory.join("data/lake/ledger/_delta_log");
    std::fs::read_dir(log).map_or(0, |entries| {
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().ends_with(".json"))
            .count()
    })
}

fn feeding(directory: &Path) {
    wait_for("events in the lake", || {
        (commits(directory) > 5).then_some(())
    });
}

#[test]
fn a_demo_that_is_asked_to_stop_while_it_feeds_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let role = Role::start("demo", directory.path(), demo(directory.path(), 5_000_000));
    feeding(directory.path());
    let (code, took) = role.terminate();
    assert!(code == Some(1) && took < PATIENCE, "{code:?} in {took:?}");
    let lake = directory.path().join("data/lake");
    let output = siji()
        .args(["verify", "--lake"])
        .arg(&lake)
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{report}");
}

#[test]
fn a_demo_that_stays_ends_well_when_it_is_asked_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = demo(directory.path(), 2000);
    command.env("SIJI_LOG_LEVEL", "debug");
    let mut role = Role::start("demo", directory.path(), command);
    role.wait_for_log("query server listening");
    let (code, took) = role.terminate();
    assert!(code == Some(0) && took < PATIENCE, "{code:?} in {took:?}");
}

#[test]
fn a_part_that_dies_ends_the_demo_at_once_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut child = demo(directory.path(), 5_000_000)
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    feeding(directory.path());
    // The aggregator gives up on a ledger that somebody else makes another table of.
    let change = json!({ "metaData": { "id": "another", "format": { "provider": "parquet" } } });
    let entries = directory.path().join("data/lake/ledger/_delta_log");
    let ours = directory.path().join("change.json");
    std::fs::write(&ours, change.to_string()).unwrap();
    let put = || {
        let next = entries.join(format!("{:020}.json", commits(directory.path())));
        std::fs::hard_link(&ours, next).ok()
    };
    wait_for("a version of our own", put);
    let began = Instant::now();
    let status = wait_for("the demo ends", || child.try_wait().unwrap());
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    // The next commit finds out, which takes a moment under this load; then all parts stop in order.
    assert!(began.elapsed() < 3 * PATIENCE, "{:?}", began.elapsed());
    assert!(text.contains("siji: ") && text.contains("ledger"), "{text}");
}
