//! The HTTP door, spoken to over a real connection: what gets in, and what every bad event is told.

mod site;

use serde_json::{Value, json};
use siji_schemas::Code;
use site::*;

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
            let header = |name: &str| r.headers.get(name).map(String::as_str);
            (header("siji-code"), header("siji-field")) == (Some("V04"), Some("area_code"))
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
