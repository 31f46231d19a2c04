//! A collector's life: start, heartbeats, trouble, stop, start again.

mod site;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use siji_collector::{CollectorConfig, Principal, Right, StartError, Submission};
use siji_schemas::Code;
use siji_schemas::validate::validate;
use site::*;

async fn start(config: CollectorConfig) -> Result<siji_collector::RunningCollector, StartError> {
    siji_collector::start(config, Arc::clone(&REFERENCE), axum::Router::new()).await
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "not within 20 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_good_events_with_counters_and_name_the_opening_before() {
    let site = Site::start_with(|config| config.heartbeat_seconds = 1).await;
    let bad = event_with(json!({"channel": "telepathy"}));
    assert_eq!(
        site.post(WRITER, &json!([event(), event(), bad]))
            .await
            .status,
        202
    );
    let first = site.collector.spool().gauges().opening.incarnation;
    // A heartbeat after everything before it was delivered.
    assert_eq!(site.collector.drained(Duration::from_secs(10)).await, 0);
    let next = site.collector.spool().gauges().next;
    eventually("a heartbeat", async || {
        site.collector.spool().gauges().next > next
    })
    .await;
    let beats: Vec<_> = site
        .delivered()
        .await
        .iter()
        .filter_map(Delivered::event)
        .filter(|event| event.event_type.as_deref() == Some("source.heartbeat"))
        .collect();
    for beat in &beats {
        let judged = validate(&siji_schemas::Event::as_ref(beat), &REFERENCE, now_ms());
        assert!(judged.is_ok(), "{judged:?} {beat:?}");
        assert_eq!(
            (beat.area_code.as_deref(), beat.subject_id.as_deref()),
            (Some(DISTRICT), Some("wuxing-01"))
        );
    }
    assert_eq!(beats[0].source_seq, Some(1));
    assert_eq!(
        beats[0].attrs.get("previous_incarnation"),
        None,
        "nothing was before"
    );
    let last = beats.iter().max_by_key(|beat| beat.source_seq).unwrap();
    let later = &last.attrs;
    assert_eq!(
        (later["accepted"].as_str(), later["refused"].as_str()),
        ("2", "1"),
        "{later:?}"
    );
    assert_eq!(
        later["sent"],
        (last.source_seq.unwrap() - 1).to_string(),
        "{later:?}"
    );
    assert_eq!(later["spooled"], "0");

    let (mut config, last_seq) = (
        config(site.directory.path(), &site.cluster.bootstrap_servers()),
        site.collector.spool().gauges().next - 1,
    );
    site.collector.shutdown(Duration::from_secs(10)).await;
    config.listen = String::new();
    let again = start(config).await.unwrap();
    assert_eq!(again.local_addr(), None, "no door is wanted");
    assert_eq!(again.drained(Duration::from_secs(10)).await, 0);
    let all = read_topic(&site.cluster.bootstrap_servers(), last_seq as usize + 1);
    let first_of_second = all
        .iter()
        .filter_map(Delivered::event)
        .find(|event| event.incarnation.is_some_and(|i| i != first))
        .unwrap();
    assert_eq!(first_of_second.source_seq, Some(1));
    assert_eq!(
        first_of_second.attrs["previous_incarnation"],
        first.to_string()
    );
    assert_eq!(first_of_second.attrs["previous_seq"], last_seq.to_string());
    assert_eq!(first_of_second.attrs["accepted"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_shows_but_does_not_stop_intake_and_a_full_spool_does() {
    let site = Site::start_with(|config| {
        config.spool.max_bytes = 3 << 20;
    })
    .await;
    let ready = async || site.send(site.client.get(site.url("/readyz"))).await;
    let answer = ready().await;
    assert_eq!(
        (answer.status, answer.json()["degraded"].clone()),
        (200, json!(null)),
        "{}",
        answer.text
    );
    site.cluster.broker_down(1).unwrap();
    eventually("the trouble shows", async || {
        ready().await.json()["degraded"].is_string()
    })
    .await;
    assert_eq!(ready().await.status, 200, "there is room");

    let batch = json!((0..200).map(|_| event()).collect::<Vec<_>>());
    let mut accepted = 0;
    let answer = loop {
        let answer = site.post(WRITER, &batch).await;
        if answer.status != 202 {
            break answer;
        }
        accepted += 200;
    };
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.headers["connection"], "close",
        "its body was not read"
    );
    assert!(
        answer.detail().starts_with("the spool is full"),
        "{}",
        answer.text
    );
    assert!(
        answer.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    let answer = ready().await;
    assert_eq!(
        (answer.status, answer.json()["ready"].clone()),
        (503, json!(false))
    );
    assert!(
        answer.json()["reason"]
            .as_str()
            .unwrap()
            .starts_with("the spool is full")
    );
    assert_eq!(
        site.send(site.client.get(site.url("/healthz")))
            .await
            .status,
        200,
        "full is not broken"
    );

    site.cluster.broker_up(1).unwrap();
    eventually("room again", async || ready().await.status == 200).await;
    assert_eq!(site.post(WRITER, &event()).await.status, 202);
    let events = site
        .delivered()
        .await
        .iter()
        .filter(|record| {
            record
                .event()
                .is_some_and(|e| e.event_type.as_deref() == Some("case.opened"))
        })
        .count();
    assert_eq!(events, accepted + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_under_load_keeps_every_acknowledged_event() {
    let site = Site::start().await;
    let url = site.url("/v1/events");
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (client, url) = (site.client.clone(), url.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                loop {
                    let event = event();
                    match client
                        .post(&url)
                        .bearer_auth(WRITER)
                        .json(&event)
                        .send()
                        .await
                    {
                        Ok(answer) if answer.status() == 202 => {
                            acknowledged.push(event["event_id"].as_str().unwrap().to_owned())
                        }
                        Ok(answer) => {
                            assert_eq!(answer.status(), 503, "a stopping collector says so");
                            assert!(answer.headers().contains_key("retry-after"));
                            return acknowledged;
                        }
                        Err(_) => return acknowledged,
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let started = Instant::now();
    let report = site.collector.shutdown(Duration::from_secs(10)).await;
    assert!(
        started.elapsed() < Duration::from_secs(9),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        (report.undelivered, report.late.len()),
        (0, 0),
        "{report:?}"
    );
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let topic: std::collections::HashSet<_> =
        read_topic(&site.cluster.bootstrap_servers(), acknowledged.len() + 1)
            .iter()
            .filter_map(Delivered::event)
            .filter_map(|event| event.event_id)
            .collect();
    assert!(acknowledged.iter().all(|id| topic.contains(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_without_a_broker_ends_in_time_and_says_what_stays() {
    let site = Site::start().await;
    site.cluster.broker_down(1).unwrap();
    assert_eq!(
        site.post(WRITER, &json!([event(), event()])).await.status,
        202
    );
    let started = Instant::now();
    let report = site.collector.shutdown(Duration::from_secs(3)).await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert!(report.undelivered >= 2, "{report:?}");
    assert_eq!(report.late, ["kafka delivery"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_process_submits_the_same_way() {
    let site = Site::start().await;
    let principal = Principal::new(
        "importer",
        &["3305"],
        &[Right::Write, Right::Import],
        &REFERENCE.areas,
    )
    .unwrap();
    let recorded = now_ms() - 1_000_000;
    let good = event_with(
        json!({"recorded_at": recorded, "occurred_at": recorded, "event_type": "case.opened"}),
    );
    let record =
        siji_schemas::json::parse(good.to_string().as_bytes(), &mut |_, _| Ok(false)).unwrap();
    let submissions = vec![
        Submission::Event(Box::new(record.clone())),
        Submission::Json(Bytes::from(
            event_with(json!({"resident": {"kind": "phone", "id": "13812345678"}})).to_string(),
        )),
        Submission::Event(Box::new(siji_schemas::Event {
            channel: Some("telepathy".to_owned()),
            ..record.clone()
        })),
        Submission::Event(Box::new(siji_schemas::Event {
            subject_id: Some("x".repeat(300_000)),
            ..record.clone()
        })),
    ];
    let report = site
        .collector
        .intake()
        .submit(submissions, &principal)
        .await
        .unwrap();
    assert_eq!(report.accepted, 2);
    let rejected: Vec<_> = report
        .rejected
        .iter()
        .map(|r| (r.index, r.code, r.field.as_deref()))
        .collect();
    assert_eq!(
        rejected,
        [(2, Code::V03, Some("channel")), (3, Code::V01, None)]
    );
    let events: Vec<_> = site
        .delivered()
        .await
        .iter()
        .filter_map(Delivered::event)
        .collect();
    assert!(
        events
            .iter()
            .any(|event| event.event_id == record.event_id && event.recorded_at == Some(recorded))
    );

    let problems =
        Principal::new("nobody", &["999999"], &[Right::Write], &REFERENCE.areas).unwrap_err();
    assert_eq!(
        problems,
        ["tokens nobody: areas: \"999999\" is in no registry"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_is_a_collector_whose_threads_run_wherever_kafka_is() {
    let healthz = async |site: &Site| {
        let answer = site.send(site.client.get(site.url("/healthz"))).await;
        (answer.status, answer.text)
    };
    let site = Site::start().await;
    site.cluster.broker_down(1).unwrap();
    assert_eq!(healthz(&site).await.0, 200);
    site.collector.shipper().stop(Instant::now());
    let (status, text) = healthz(&site).await;
    assert!(status == 500 && text.contains("sender"), "{status} {text}");

    let site = Site::start().await;
    let spool = Arc::clone(site.collector.spool());
    tokio::task::spawn_blocking(move || spool.close())
        .await
        .unwrap();
    let (status, text) = healthz(&site).await;
    assert!(status == 500 && text.contains("spool"), "{status} {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_before_is_delivered_again_after_a_resend() {
    let site = Site::start().await;
    let sent = event();
    assert_eq!(site.post(WRITER, &sent).await.status, 202);
    assert_eq!(site.collector.drained(Duration::from_secs(10)).await, 0);
    let config = config(site.directory.path(), &site.cluster.bootstrap_servers());
    let running = siji_collector::resend(config.clone(), Arc::clone(&REFERENCE), 0).await;
    assert!(
        running.unwrap_err().to_string().contains("in use"),
        "a running collector holds its spool"
    );
    site.collector.shutdown(Duration::from_secs(10)).await;

    let resent = siji_collector::resend(config.clone(), Arc::clone(&REFERENCE), 0)
        .await
        .unwrap();
    assert_eq!(resent.records, 2, "the heartbeat of the opening, the event");
    let later = siji_collector::resend(config.clone(), Arc::clone(&REFERENCE), i64::MAX).await;
    assert_eq!(later.unwrap().records, 0);
    let again = start(config).await.unwrap();
    assert_eq!(again.drained(Duration::from_secs(10)).await, 0);
    // Four openings, and the event twice, its heartbeat too.
    let copies = read_topic(&site.cluster.bootstrap_servers(), 7)
        .iter()
        .filter_map(Delivered::event)
        .filter(|event| event.event_id.as_deref() == sent["event_id"].as_str())
        .count();
    assert_eq!(copies, 2);
}
