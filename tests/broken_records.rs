//! Whatever somebody else writes straight to the topic: it is kept with its reason, and the partition goes on.

mod harness;

use std::time::Duration;

use harness::{COMMUNITY, PARTITIONS, Site, new_id};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use siji_schemas::wire::partition_of;
use siji_schemas::{Event, avro};

struct Topic {
    producer: BaseProducer,
    topic: String,
    sent: i64,
}

impl Topic {
    fn of(site: &Site) -> Topic {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &site.kafka.brokers)
            .set("message.max.bytes", "20000000")
            .create()
            .unwrap();
        Topic {
            producer,
            topic: site.kafka.topic.clone(),
            sent: 0,
        }
    }

    /// Writes to the partition where records with the community's key belong.
    fn write(&mut self, value: &[u8]) {
        self.write_with(Some(COMMUNITY), value);
    }

    fn write_with(&mut self, key: Option<&str>, value: &[u8]) {
        let partition = partition_of(COMMUNITY.as_bytes(), PARTITIONS);
        let mut record = BaseRecord::<str, [u8]>::to(&self.topic)
            .partition(partition)
            .payload(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        self.producer
            .send(record)
            .map_err(|(error, _)| error)
            .unwrap();
        self.producer.flush(Duration::from_secs(30)).unwrap();
        self.sent += 1;
    }
}

fn good() -> Value {
    json!({
        "event_id": new_id(), "schema_version": 1, "event_type": "visit.made", "op": "assert",
        "occurred_at": "2026-03-02T09:30:00+08:00", "recorded_at": "2026-03-02T09:31:00+08:00",
        "area_code": COMMUNITY, "subject_kind": "visit", "subject_id": "v-1", "minutes": 10, "qualifier": "exact",
    })
}

fn with(column: &str, value: Value) -> Vec<u8> {
    let mut event = good();
    event[column] = value;
    event.to_string().into_bytes()
}

fn avro_event() -> Vec<u8> {
    let event: Event = serde_json::from_str(&good().to_string()).unwrap();
    let mut out = Vec::new();
    avro::encode(&event.as_ref(), &mut out).unwrap();
    out
}

#[test]
fn every_kind_of_broken_record_is_quarantined_with_its_code_and_the_partition_goes_on() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let mut topic = Topic::of(&site);
    let avro = avro_event();
    let mut bad_utf8 = avro.clone();
    let at = bad_utf8
        .windows(10)
        .position(|w| w == b"visit.made")
        .unwrap();
    bad_utf8[at] = 0xFF;
    let broken: Vec<(&str, Vec<u8>)> = vec![
        ("V01", b"\x00\x00\x00\x00\x01confluent".to_vec()),
        ("V01", Vec::new()),
        ("V01", vec![0xFF; 300]),
        ("V01", b"{\"event_id\":".to_vec()),
        ("V01", avro[..avro.len() / 2].to_vec()),
        ("V01", bad_utf8),
        ("V01", [avro.as_slice(), b"more"].concat()),
        ("V01", with("colour", json!("red"))),
        ("V01", with("schema_version", json!(99))),
        (
            "V01",
            format!("{{\"attrs\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000)).into_bytes(),
        ),
        ("V02", with("subject_id", json!(null))),
        ("V03", with("event_type", json!("visit.imagined"))),
        ("V04", with("area_code", json!("999999999999"))),
        ("V05", with("occurred_at", json!("2031-01-01T00:00:00Z"))),
        ("V05", with("occurred_at", json!("1999-01-01T00:00:00Z"))),
        ("V06", with("minutes", json!(-1))),
        ("V07", with("rating", json!(6))),
        ("V12", with("subject_id", json!("13800000000"))),
        ("V13", with("attrs", json!({ "hobby": "chess" }))),
    ];
    for (_, value) in &broken {
        topic.write(value);
    }
    // A good one under a key, or in a partition, where it would not meet its like.
    topic.write_with(Some("330502"), good().to_string().as_bytes());
    topic.write_with(None, good().to_string().as_bytes());
    // And good ones behind them all.
    topic.write(&avro);
    topic.write(good().to_string().as_bytes());

    site.wait_for_records(topic.sent);
    let mut expected: Vec<&str> = broken
        .iter()
        .map(|(code, _)| *code)
        .chain(["V01", "V01"])
        .collect();
    let rows = site.sql("SELECT code, field, reason FROM quarantine ORDER BY \"offset\"");
    let codes: Vec<&str> = rows
        .iter()
        .map(|row| row["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, expected, "{rows:#?}");
    expected.dedup();
    assert!(
        rows.iter()
            .all(|row| !row["reason"].as_str().unwrap().is_empty()),
        "{rows:#?}"
    );
    assert_eq!(site.number("SELECT count(*) FROM events"), 2);
    assert_eq!(site.number("SELECT sum(events) FROM rollup_city"), 2);

    // What holds personal data is kept as a digest; all else as it came.
    let kept = site.sql(
        "SELECT code, payload IS NULL AS withheld, payload_bytes AS size, payload_sha256 FROM quarantine ORDER BY \"offset\"",
    );
    for (row, (code, value)) in kept.iter().zip(&broken) {
        assert_eq!(row["withheld"], json!(*code == "V12"), "{row}");
        assert_eq!(row["size"], json!(value.len()), "{row}");
        assert_eq!(row["payload_sha256"].as_str().unwrap().len(), 64);
    }
    let found = site.number("SELECT count(*) FROM ledger WHERE subject_id LIKE '%13800000000%'");
    assert_eq!(found, 0);
    let (code, report) = site.verify();
    assert_eq!(
        (code, &report["offsets"]),
        (Some(0), &json!(topic.sent)),
        "{report}"
    );
}

#[test]
fn a_record_larger_than_any_event_is_kept_as_a_prefix_and_a_digest() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let mut topic = Topic::of(&site);
    // Kafka's own limit is 1 MB a record unless configured otherwise.
    let large = with("grid_code", json!("g".repeat(900_000)));
    topic.write(&large);
    topic.write(good().to_string().as_bytes());
    site.wait_for_records(2);
    let rows = site.sql("SELECT code, payload AS kept, payload_bytes AS size FROM quarantine");
    // Two hexadecimal digits a byte.
    assert_eq!(rows[0]["kept"].as_str().unwrap().len(), 2 * 65_536);
    assert_eq!(rows[0]["size"], json!(large.len()));
    assert_eq!(site.number("SELECT count(*) FROM events"), 1);
}

#[test]
fn an_operator_lists_and_reads_what_was_refused() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let mut topic = Topic::of(&site);
    let nowhere = with("area_code", json!("999999999999"));
    topic.write(&nowhere);
    topic.write(&with("subject_id", json!("13800000000")));
    topic.write(&with("minutes", json!(-1)));
    topic.write(good().to_string().as_bytes());
    site.wait_for_records(topic.sent);
    let json_of = |args: &[&str]| -> Value {
        let output = site.run("quarantine", &[args, &["--output", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let listed = |args: &[&str]| {
        let mut codes: Vec<String> = json_of(&[&["list"], args].concat())["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["code"].as_str().unwrap().to_owned())
            .collect();
        codes.sort();
        codes
    };
    assert_eq!(listed(&[]), ["V04", "V06", "V12"]);
    assert_eq!(listed(&["--summary"]), ["V04", "V06", "V12"]);
    assert_eq!(listed(&["--code", "v06"]), ["V06"]);
    assert_eq!(listed(&["--source", "nobody"]), [""; 0]);
    assert_eq!(listed(&["--until", "2026-01-01T00:00:00+08:00"]), [""; 0]);
    let since = listed(&["--since", "2026-01-01T00:00:00+08:00", "--limit", "2"]);
    assert_eq!(since.len(), 2);

    for (code, payload) in [
        ("V04", serde_json::from_slice(&nowhere).unwrap()),
        ("V12", Value::Null),
    ] {
        let listed = json_of(&["list", "--code", code]);
        let record = listed["rows"][0]["record"].as_str().unwrap();
        let shown = json_of(&["show", record]);
        assert_eq!(
            (&shown["code"], &shown["payload"]),
            (&json!(code), &payload)
        );
    }
    let text = site.run("quarantine", &["list", "--summary"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("V04"));
    for (args, expected) in [
        (&["show", "0/0"][..], 2),
        (&["show", "0/0/999999"], 1),
        (&["list", "--since", "yesterday"], 2),
    ] {
        let output = site.run("quarantine", args);
        assert_eq!(output.status.code(), Some(expected), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    }
}
