//! `siji demo` on real cities: what was sent, what became of it and what every tier says are the same.

mod harness;

use std::collections::BTreeMap;

use harness::siji;
use serde_json::Value;

fn demo(city: &str, events: u64, directory: &std::path::Path, topic: &str) -> (Option<i32>, Value) {
    let mut command = siji();
    command.args([
        "demo",
        "--city",
        city,
        "--events",
        &events.to_string(),
        "--exit",
        "--output",
        "json",
        "--data-dir",
    ]);
    command.arg(directory);
    if let Ok(brokers) = std::env::var("SIJI_TEST_BROKERS") {
        command.args(["--brokers", &brokers, "--topic", topic]);
    }
    let output = command.output().unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{city}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

/// Accepted events as `siji sql` tells them.
fn by_district(lake: &std::path::Path) -> BTreeMap<String, u64> {
    let query = "SELECT area_code, sum(events) AS n FROM rollup_district GROUP BY 1";
    let mut command = siji();
    command
        .args(["sql", query, "--output", "json", "--lake"])
        .arg(lake);
    let answer: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let rows = answer["rows"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            (
                row["area_code"].as_str().unwrap().to_owned(),
                row["n"].as_u64().unwrap(),
            )
        })
        .collect()
}

fn adds_up(city: &str, events: u64) {
    let directory = tempfile::tempdir().unwrap();
    let topic = format!("siji.events.{}", harness::new_id());
    let (code, report) = demo(city, events, directory.path(), &topic);
    assert_eq!(code, Some(0), "{report}");
    let count = |name: &str| report["events"][name].as_u64().unwrap();
    assert_eq!(count("generated"), events, "{report}");
    assert_eq!(
        count("generated"),
        count("accepted") + count("duplicate") + count("quarantined"),
        "{report}"
    );
    assert!(
        count("duplicate") > 0 && count("quarantined") > 0,
        "{report}"
    );
    for tier in ["community", "street", "district", "city"] {
        assert_eq!(
            report["rollup"][tier].as_u64().unwrap(),
            count("accepted"),
            "{tier}: {report}"
        );
    }
    assert_eq!(report["verify"], "ok", "{report}");

    // The account of districts is the lake's own, and together they are everything.
    let found = by_district(&directory.path().join("lake"));
    let told: BTreeMap<String, u64> = report["districts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["area_code"].as_str().unwrap().to_owned(),
                row["accepted"].as_u64().unwrap(),
            )
        })
        .filter(|(_, accepted)| *accepted > 0)
        .collect();
    assert_eq!(told, found);
    assert_eq!(found.values().sum::<u64>(), count("accepted"));

    // The same seed on the same directory sends the same events: nothing new but signs of life.
    let (code, again) = demo(city, events, directory.path(), &topic);
    assert_eq!(code, Some(0), "{again}");
    assert_eq!(
        again["events"]["accepted"], again["events"]["heartbeats"],
        "{again}"
    );
}

#[test]
fn huzhou_adds_up() {
    adds_up("huzhou", 20_000);
}

#[test]
fn beijing_with_its_two_digit_city_code_adds_up() {
    adds_up("beijing", 10_000);
}

#[test]
fn guangdong_with_cities_that_have_no_districts_adds_up() {
    adds_up("guangdong", 10_000);
}
