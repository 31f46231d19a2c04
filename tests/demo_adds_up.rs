//! `siji demo` on real cities: what was sent, what became of it and what every tier says are the same.

mod harness;

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
