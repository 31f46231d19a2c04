//! The HTTP door: what is too large, too much, too fast or unreadable.

mod site;

use std::time::Duration;

use serde_json::{Value, json};
use site::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_line_by_line_or_as_a_whole() {
    let site = Site::start().await;
    // Lines: the broken ones alone.
    let lines = format!("{}\n{{\"event_id\": \n\"just text\"\n{}", event(), event());
    let answer = site.post_bytes(Some("application/x-ndjson"), lines).await;
    let body = answer.json();
    assert_eq!(
        (answer.status, body["accepted"].as_u64()),
        (202, Some(2)),
        "{}",
        answer.text
    );
    let places: Vec<_> = body["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["index"].as_u64(), r["code"].as_str()))
        .collect();
    assert_eq!(places, [(Some(1), Some("V01")), (Some(2), Some("V01"))]);

    // Bad UTF-8: in a line it is that line; in an array nothing can be told apart.
    let mut bad = event().to_string().into_bytes();
    let at = bad.windows(7).position(|w| w == b"hotline").unwrap();
    bad[at] = 0xff;
    let answer = site
        .post_bytes(Some("application/x-ndjson"), bad.clone())
        .await;
    assert_eq!(
        (answer.status, rejection(&answer).1.as_str()),
        (422, "V01"),
        "{}",
        answer.text
    );
    let answer = site
        .post_bytes(
            Some("application/json"),
            [b"[", bad.as_slice(), b"]"].concat(),
        )
        .await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.detail().contains("line 1, column"),
        "{}",
        answer.text
    );

    // Deep JSON, as one column and as the whole event.
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let mut text = event().to_string();
    text.truncate(text.len() - 1);
    let answer = site
        .post_bytes(
            Some("application/json"),
            format!("[{}, {text}, \"attrs\": {}}}]", event(), deep(100_000)),
        )
        .await;
    let (index, code, _, reason) = rejection(&answer);
    assert_eq!((answer.status, index, code.as_str()), (202, 1, "V01"));
    assert_eq!(reason, "the event is nested deeper than 32 levels");
    let answer = site
        .post_bytes(Some("application/json"), format!("[{}]", deep(1_000_000)))
        .await;
    assert_eq!((answer.status, rejection(&answer).1.as_str()), (422, "V01"));

    // A large event in a body that is allowed.
    let answer = site
        .post(
            WRITER,
            &json!([
                event(),
                event_with(json!({"subject_id": "x".repeat(300_000)}))
            ]),
        )
        .await;
    let (index, code, _, reason) = rejection(&answer);
    assert_eq!((answer.status, index, code.as_str()), (202, 1, "V01"));
    assert!(reason.contains("at most 262144 are allowed"), "{reason}");
    let delivered = site.delivered().await;
    let large = delivered
        .iter()
        .find(|r| {
            r.headers
                .get("siji-reason")
                .is_some_and(|reason| reason.contains("262144"))
        })
        .unwrap();
    assert_eq!(
        large.value.len(),
        64 << 10,
        "its beginning is kept, and the digest of the whole"
    );
    assert_eq!(large.headers["siji-sha256"].len(), 64);

    for (body, says) in [
        ("", "the body is empty"),
        ("{\"a\":", "ends too early"),
        ("17", "expected an event"),
        ("[1] x", "no valid JSON"),
    ] {
        let answer = site.post_bytes(Some("application/json"), body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.detail().contains(says), "{body}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_size_number_rate_and_form_are_named() {
    let site = Site::start().await;
    let answer = site
        .post(
            WRITER,
            &event_with(json!({"subject_id": "x".repeat(10 << 20)})),
        )
        .await;
    assert_eq!(answer.status, 413);
    assert_eq!(
        answer.detail(),
        "the body is larger than 8388608 bytes: send smaller batches"
    );
    // The same without an announced length.
    let chunks =
        futures::stream::iter((0..200).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 16])));
    let answer = site
        .post_bytes(None, reqwest::Body::wrap_stream(chunks))
        .await;
    assert_eq!(
        (answer.status, answer.detail().contains("8388608")),
        (413, true)
    );
    for body in [
        format!("[{}0]", "0,".repeat(99_999)),
        "{}\n".repeat(100_000),
    ] {
        let answer = site.post_bytes(None, body).await;
        assert_eq!(answer.status, 413);
        assert_eq!(
            answer.detail(),
            "the request holds more than 10000 events: send smaller batches"
        );
    }
    let answer = site.post_bytes(Some("text/csv"), "a,b").await;
    assert_eq!(
        (
            answer.status,
            answer.detail().contains("application/x-ndjson")
        ),
        (415, true)
    );
    let request = site
        .client
        .post(site.url("/v1/events"))
        .bearer_auth(WRITER)
        .header("content-encoding", "br")
        .body("x");
    assert_eq!(site.send(request).await.status, 415);

    // Ten a second, twenty at once: the batch overdraws, the next request waits.
    let batch = Value::Array((0..60).map(|_| event()).collect());
    assert_eq!(site.post(SLOW, &batch).await.status, 202);
    let answer = site.post(SLOW, &event()).await;
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((3..=5).contains(&wait), "{wait}");
    assert!(answer.detail().contains("token slow"));
    assert_eq!(
        site.post(WRITER, &event()).await.status,
        202,
        "others are not held up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_share_commits_and_none_waits_for_long() {
    let site = Site::start().await;
    let before = site.collector.spool().gauges().commits;
    let clients = (0..64).map(|_| async {
        for _ in 0..20 {
            assert_eq!(site.post(WRITER, &event()).await.status, 202);
        }
    });
    let started = std::time::Instant::now();
    futures::future::join_all(clients).await;
    let commits = site.collector.spool().gauges().commits - before;
    assert!(commits < 640, "{commits} commits for 1280 requests");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(site.delivered().await.len(), 1281);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_too_many_requests_are_sent_away() {
    let site = Site::start_with(|config| {
        config.limits.max_requests = 1;
        config.limits.body_timeout_seconds = 2;
    })
    .await;
    let never_ends = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let slow = site.post_bytes(None, reqwest::Body::wrap_stream(never_ends));
    let other = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        site.post(WRITER, &event()).await
    };
    let (slow, other) = futures::join!(slow, other);
    assert_eq!(
        (slow.status, slow.detail().as_str()),
        (408, "the body took longer than 2 s")
    );
    assert_eq!(
        (other.status, other.detail().as_str()),
        (503, "too many requests at a time")
    );
    assert_eq!(other.headers["retry-after"], "1");
    assert_eq!(
        site.post(WRITER, &event()).await.status,
        202,
        "the place is free again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_together_do_not_get_past_the_rate_together() {
    let site = Site::start().await;
    // All are let in before the size of any is known.
    let clients = (0..20).map(|_| {
        let batch = serde_json::to_vec(&(0..30).map(|_| event()).collect::<Vec<_>>()).unwrap();
        let slowly = futures::stream::once(async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            Ok::<_, std::io::Error>(batch)
        });
        let request = site.client.post(site.url("/v1/events")).bearer_auth(SLOW);
        site.send(request.body(reqwest::Body::wrap_stream(slowly)))
    });
    let statuses: Vec<u16> = futures::future::join_all(clients)
        .await
        .iter()
        .map(|answer| answer.status)
        .collect();
    let taken = statuses.iter().filter(|status| **status == 202).count();
    let sent_away = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!((taken, sent_away), (1, 19), "{statuses:?}");
}
