//! The HTTP door, spoken to over a real connection: what gets in, and what every bad input is told.

mod site;

use std::time::Duration;

use serde_json::{Value, json};
use siji_schemas::Code;
use site::*;

/// The only rejection of an answer, as (index, code, field, reason).
fn rejection(answer: &Answer) -> (u64, String, Option<String>, String) {
    let body = answer.json();
    let rejected = body["rejected"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", answer.text));
    assert_eq!(rejected.len(), 1, "{}", answer.text);
    let text = |name: &str| rejected[0][name].as_str().map(str::to_owned);
    (
        rejected[0]["index"].as_u64().unwrap(),
        text("code").unwrap(),
        text("field"),
        text("reason").unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_an_array_and_lines_are_taken_and_arrive_stamped() {
    let site = Site::start().await;
    let (one, two, three) = (event(), event(), event());
    let answer = site.post(WRITER, &one).await;
    assert_eq!(
        (answer.status, answer.json()),
        (202, json!({"accepted": 1, "rejected": []}))
    );
    let answer = site.post(WRITER, &json!([two, three])).await;
    assert_eq!(
        (answer.status, answer.json()["accepted"].as_u64()),
        (202, Some(2))
    );
    let lines = format!("{}\n\n{}\r\n", event(), event());
    for content_type in [Some("application/x-ndjson; charset=utf-8"), None] {
        let answer = site.post_bytes(content_type, lines.clone()).await;
        assert_eq!(
            (answer.status, answer.json()["accepted"].as_u64()),
            (202, Some(2)),
            "{}",
            answer.text
        );
    }
    let answer = site.post(WRITER, &json!([])).await;
    assert_eq!(
        (answer.status, answer.json()["accepted"].as_u64()),
        (202, Some(0))
    );

    let delivered = site.delivered().await;
    let event = delivered
        .iter()
        .filter_map(Delivered::event)
        .find(|e| e.event_id == one["event_id"].as_str().map(str::to_owned));
    let event = event.unwrap();
    assert_eq!(event.schema_version, Some(1));
    assert_eq!(
        (event.op.as_deref(), event.qualifier.as_deref()),
        (Some("assert"), Some("exact"))
    );
    assert_eq!(event.source_id.as_deref(), Some("wuxing-01"));
    assert_eq!(
        event.source_seq,
        Some(2),
        "1 is the heartbeat of the opening"
    );
    assert_eq!(
        event.incarnation,
        Some(site.collector.spool().gauges().opening.incarnation)
    );
    assert_eq!(event.home_area_code, event.area_code);
    assert!((0..60_000).contains(&(now_ms() - event.recorded_at.unwrap())));
    assert!(delivered.iter().all(
        |record| record.partition == siji_schemas::wire::partition_of(record.key.as_bytes(), 4)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_event_gets_its_code_its_field_and_its_place_and_the_good_ones_stay() {
    let site = Site::start().await;
    let stock = |changes: Value| {
        let mut stock = json!({"event_type": "stock.reported", "subject_kind": "area", "subject_id": "fac.library",
            "value": 12.5, "unit": "n", "case_kind": null, "channel": null});
        stock
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        event_with(stock)
    };
    let service = |changes: Value| {
        let mut service = json!({"event_type": "service.delivered", "count": 3, "case_kind": null, "channel": null});
        service
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        event_with(service)
    };
    let cases: Vec<(Value, Code, &str)> = vec![
        (event_with(json!({"colour": "red"})), Code::V01, "colour"),
        (event_with(json!({"rating": "five"})), Code::V01, "rating"),
        (
            event_with(json!({"occurred_at": "2026-03-01T08:00:00"})),
            Code::V01,
            "occurred_at",
        ),
        (event_with(json!({"event_id": "17"})), Code::V01, "event_id"),
        (
            event_with(json!({"schema_version": 2})),
            Code::V01,
            "schema_version",
        ),
        (
            event_with(json!({"attrs": {"line": {"deep": 1}}})),
            Code::V01,
            "attrs",
        ),
        (event_with(json!({"event_id": null})), Code::V02, "event_id"),
        (event_with(json!({"channel": null})), Code::V02, "channel"),
        (
            event_with(json!({"event_type": "case.exploded"})),
            Code::V03,
            "event_type",
        ),
        (
            event_with(json!({"channel": "telepathy"})),
            Code::V03,
            "channel",
        ),
        (
            event_with(json!({"area_code": "999999999999"})),
            Code::V04,
            "area_code",
        ),
        (
            event_with(json!({"home_area_code": "999999999999"})),
            Code::V04,
            "home_area_code",
        ),
        (
            event_with(json!({"occurred_at": now_ms() + 3_600_000})),
            Code::V05,
            "occurred_at",
        ),
        (
            event_with(json!({"occurred_at": "1999-12-31T23:59:59+08:00"})),
            Code::V05,
            "occurred_at",
        ),
        (service(json!({"count": -1})), Code::V06, "count"),
        (event_with(json!({"rating": 6})), Code::V07, "rating"),
        (
            event_with(json!({"service_code": "no.such"})),
            Code::V08,
            "service_code",
        ),
        (
            stock(json!({"subject_id": "no.such"})),
            Code::V08,
            "subject_id",
        ),
        (
            event_with(json!({"subject_id": null})),
            Code::V09,
            "subject_id",
        ),
        (
            event_with(json!({"op": "retract"})),
            Code::V11,
            "target_event_id",
        ),
        (
            event_with(json!({"attrs": {"line": "13812345678"}})),
            Code::V12,
            "attrs.line",
        ),
        (
            event_with(json!({"resident_ref": "Zhang San"})),
            Code::V12,
            "resident_ref",
        ),
        (
            event_with(json!({"attrs": {"shoe_size": "43"}})),
            Code::V13,
            "attrs.shoe_size",
        ),
        (
            event_with(json!({"area_code": community(OTHER_DISTRICT)})),
            Code::V14,
            "area_code",
        ),
        (stock(json!({"unit": "m2"})), Code::V16, "unit"),
        (
            event_with(json!({"resident": "13812345678"})),
            Code::V01,
            "resident",
        ),
        (
            event_with(
                json!({"resident": {"kind": "phone", "id": "13812345678"}, "resident_ref": "r_6wloyffm5k3v64htf4b3w5ch34"}),
            ),
            Code::V01,
            "resident",
        ),
    ];
    // Each alone: 422, index 0; and all of them between good ones: 202, each at its place.
    let mut batch = Vec::new();
    for (event, code, field) in &cases {
        let answer = site.post(WRITER, event).await;
        assert_eq!(answer.status, 422, "{event}: {}", answer.text);
        let (index, found, at, reason) = rejection(&answer);
        assert_eq!(
            (index, found.as_str(), at.as_deref()),
            (0, code.as_str(), Some(*field)),
            "{event}: {}",
            answer.text
        );
        assert!(reason.len() > 10 && !reason.contains("1381"), "{reason}");
        batch.extend([site::event(), event.clone()]);
    }
    let answer = site.post(WRITER, &Value::Array(batch)).await;
    assert_eq!(answer.status, 202);
    let body = answer.json();
    assert_eq!(body["accepted"].as_u64(), Some(cases.len() as u64));
    let rejected = body["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), cases.len());
    for (i, ((event, code, field), rejection)) in cases.iter().zip(rejected).enumerate() {
        assert_eq!(rejection["index"].as_u64(), Some(2 * i as u64 + 1));
        assert_eq!(
            (rejection["code"].as_str(), rejection["field"].as_str()),
            (Some(code.as_str()), Some(*field))
        );
        let id = event["event_id"].as_str().filter(|id| id.len() == 36);
        assert_eq!(rejection["event_id"].as_str(), id, "{rejection}");
    }

    // All of them, good and bad, reach the topic; a refusal has its place in the headers, so that there is no gap.
    let delivered = site.delivered().await;
    let mut seqs: Vec<i64> = delivered
        .iter()
        .map(|record| match record.event() {
            Some(event) => event.source_seq.unwrap(),
            None => record.headers["siji-seq"].parse().unwrap(),
        })
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=3 * cases.len() as i64 + 1).collect::<Vec<_>>());
    for (code, refused) in cases.iter().map(|(_, code, _)| {
        (
            code,
            delivered.iter().filter(|r| {
                r.headers
                    .get("siji-code")
                    .is_some_and(|c| c == code.as_str())
            }),
        )
    }) {
        for record in refused {
            assert_eq!(record.headers["siji-source"], "wuxing-01");
            assert!(record.headers.contains_key("siji-reason"));
            let withheld = record.value.is_empty();
            assert_eq!(
                withheld,
                record.headers.contains_key("siji-sha256"),
                "{record:?}"
            );
            assert!(withheld || record.value[0] == b'{', "{record:?}");
            assert!(withheld || *code != Code::V12);
        }
    }
    let unknown_area = delivered
        .iter()
        .find(|r| {
            r.headers
                .get("siji-field")
                .is_some_and(|f| f == "area_code")
        })
        .unwrap();
    assert_eq!(
        unknown_area.key, DISTRICT,
        "a record of no known area is keyed by the token's"
    );
    let outside = delivered
        .iter()
        .find(|r| r.headers.get("siji-code").is_some_and(|c| c == "V14"))
        .unwrap();
    assert_eq!(outside.key, community(OTHER_DISTRICT));
}

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
        .header("content-encoding", "gzip")
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
async fn tokens_decide_who_may_send_what() {
    let site = Site::start().await;
    let plain = site.client.post(site.url("/v1/events")).json(&event());
    let answer = site.send(plain).await;
    assert_eq!(
        (
            answer.status,
            answer.headers["www-authenticate"].to_str().unwrap()
        ),
        (401, "Bearer")
    );
    assert!(answer.detail().contains("Authorization: Bearer"));
    let basic = site
        .client
        .post(site.url("/v1/events"))
        .basic_auth("user", Some(WRITER))
        .json(&event());
    assert_eq!(site.send(basic).await.status, 401);
    let answer = site.post("wrong", &event()).await;
    assert_eq!(
        (answer.status, answer.detail().as_str()),
        (401, "the token is not known here")
    );
    let answer = site.post(READER, &event()).await;
    assert_eq!(
        (answer.status, answer.detail().as_str()),
        (403, "token reader has no right to write")
    );
    let answer = site.post(ELSEWHERE, &event()).await;
    let (_, code, field, reason) = rejection(&answer);
    assert_eq!(
        (code.as_str(), field.as_deref()),
        ("V14", Some("area_code"))
    );
    assert!(reason.contains(OTHER_DISTRICT), "{reason}");

    // Only who may import says when an event was recorded.
    let recorded = now_ms() - 86_400_000;
    for token in [WRITER, IMPORTER] {
        let event = event_with(
            json!({"recorded_at": recorded, "occurred_at": recorded - 1, "source_id": "forged", "source_seq": 7, "incarnation": 7}),
        );
        assert_eq!(site.post(token, &event).await.status, 202);
    }
    let delivered = site.delivered().await;
    let mut stamped: Vec<_> = delivered
        .iter()
        .filter_map(Delivered::event)
        .filter(|e| e.occurred_at == Some(recorded - 1))
        .collect();
    stamped.sort_by_key(|e| e.source_seq);
    assert!(now_ms() - stamped[0].recorded_at.unwrap() < 60_000);
    assert_eq!(stamped[1].recorded_at, Some(recorded));
    assert!(
        stamped
            .iter()
            .all(|e| e.source_id.as_deref() == Some("wuxing-01")
                && e.incarnation != Some(7)
                && e.source_seq != Some(7))
    );
    // What was never let in leaves no trace.
    assert_eq!(
        delivered.len(),
        1 + 1 + 2,
        "heartbeat, the V14, the two imports"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_codes_are_stored_in_one_form() {
    let site = Site::start().await;
    let id = "0190A7E0-AAAA-7000-8000-00000000000F";
    let event =
        event_with(json!({"event_id": id, "area_code": "330502000000", "home_area_code": "3305"}));
    assert_eq!(site.post(IMPORTER, &event).await.status, 202);
    let simple = event_with(json!({"event_id": "0190a7e0aaaa70008000000000000010"}));
    assert_eq!(site.post(IMPORTER, &simple).await.status, 202);
    let delivered = site.delivered().await;
    let record = delivered.iter().find(|r| r.key == "3305").unwrap();
    let event = record.event().unwrap();
    assert_eq!(
        event.event_id.as_deref(),
        Some("0190a7e0-aaaa-7000-8000-00000000000f")
    );
    assert_eq!(
        (event.area_code.as_deref(), event.home_area_code.as_deref()),
        (Some("330502"), Some("3305"))
    );
    let ids: Vec<_> = delivered
        .iter()
        .filter_map(Delivered::event)
        .filter_map(|e| e.event_id)
        .collect();
    assert!(ids.contains(&"0190a7e0-aaaa-7000-8000-000000000010".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_into_the_record() {
    let site = Site::start().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for header in [trace, "00-not-a-trace", "13812345678"] {
        let request = site
            .client
            .post(site.url("/v1/events"))
            .bearer_auth(WRITER)
            .header("traceparent", header)
            .json(&event());
        assert_eq!(site.send(request).await.status, 202);
    }
    let traces: Vec<_> = site
        .delivered()
        .await
        .iter()
        .filter_map(|r| r.headers.get("traceparent").cloned())
        .collect();
    assert_eq!(traces, [trace]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_told_where_to_go() {
    let site = Site::start().await;
    let answer = site.send(site.client.get(site.url("/v1/events"))).await;
    assert_eq!(
        (answer.status, answer.detail().contains("POST /v1/events")),
        (405, true)
    );
    let answer = site.send(site.client.get(site.url("/v2"))).await;
    assert_eq!(
        (answer.status, answer.detail().contains("/v1/events")),
        (404, true)
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
