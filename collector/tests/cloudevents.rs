//! CloudEvents through the door, in each of their modes, over a real connection.

mod site;

use serde_json::{Value, json};
use site::*;

const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";
const BATCH: &str = "application/cloudevents-batch+json";

/// An envelope around an event, which keeps what the changes do not take from it.
fn envelope(data: &Value, changes: Value) -> Value {
    let mut envelope = json!({
        "specversion": "1.0", "id": uuid::Uuid::new_v4().to_string(), "type": "case.opened",
        "source": "/huzhou/hotline", "subject": "case/17", "comexampleextension": 5, "data": data,
    });
    for (name, value) in changes.as_object().unwrap() {
        envelope[name] = value.clone();
    }
    envelope
}

async fn post(site: &Site, content_type: &str, body: &Value) -> Answer {
    site.post_bytes(Some(content_type), body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_envelope_fills_in_what_the_event_leaves_out() {
    let site = Site::start().await;
    let bare = event_with(json!({"event_id": null, "event_type": null, "occurred_at": null}));
    let time = "2026-03-01T08:00:00+08:00";
    let ids: Vec<String> = (0..4).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    let one = envelope(&bare, json!({"id": ids[0], "time": time}));
    let answer = post(&site, STRUCTURED, &one).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let batch = json!([envelope(&bare, json!({"id": ids[1], "time": time}))]);
    let answer = post(&site, BATCH, &batch).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let binary = site
        .client
        .post(site.url("/v1/events"))
        .bearer_auth(WRITER)
        .header("ce-specversion", "1.0")
        .header("ce-id", &ids[2])
        .header("ce-type", "case%2Eopened")
        .header("ce-source", "/%E6%B9%96%E5%B7%9E")
        .header("ce-time", format!("\"{time}\""))
        .json(&bare);
    let answer = site.send(binary).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let text = bare.to_string();
    let mut base64 = envelope(
        &Value::Null,
        json!({"id": ids[3], "time": time,
        "data_base64": data_encoding::BASE64.encode(text.as_bytes())}),
    );
    base64.as_object_mut().unwrap().remove("data");
    let answer = post(&site, STRUCTURED, &base64).await;
    assert_eq!(answer.status, 202, "{}", answer.text);

    let delivered = site.delivered().await;
    for (n, id) in ids.iter().enumerate() {
        let event = delivered
            .iter()
            .filter_map(Delivered::event)
            .find(|event| event.event_id.as_ref() == Some(id))
            .unwrap();
        assert_eq!(event.event_type.as_deref(), Some("case.opened"));
        assert_eq!(event.occurred_at, Some(1_772_323_200_000));
        let source = if n == 2 { "/湖州" } else { "/huzhou/hotline" };
        assert_eq!(event.attrs["source"], source);
        assert_eq!(
            event.source_id.as_deref(),
            Some("wuxing-01"),
            "who reports is the collector's to say"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_contradicts_its_event_is_refused_at_the_column() {
    let site = Site::start().await;
    let whole = event_with(json!({"occurred_at": "2026-03-01T08:00:00+08:00"}));
    let id = whole["event_id"].as_str().unwrap().to_owned();
    let same = json!({"id": id.to_uppercase(), "time": "2026-03-01T00:00:00Z"});
    let with = |changes: Value| {
        let mut all = same.clone();
        all.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        envelope(&whole, all)
    };
    let cases = [
        (json!({"id": uuid::Uuid::new_v4().to_string()}), "event_id"),
        (json!({"type": "case.closed"}), "event_type"),
        (json!({"time": "2026-03-01T08:00:00Z"}), "occurred_at"),
        (json!({"specversion": "0.3"}), "specversion"),
        (json!({"specversion": null}), "specversion"),
        (json!({"source": ""}), "source"),
        (json!({"id": 17}), "id"),
        (json!({"data": "{}"}), "data"),
        (json!({"datacontenttype": "text/plain"}), "datacontenttype"),
        (json!({"data_base64": "e30="}), "data_base64"),
    ];
    let mut batch = vec![with(json!({})), with(json!({"id": "order-17"}))];
    for (changes, field) in &cases {
        let answer = post(&site, STRUCTURED, &with(changes.clone())).await;
        assert_eq!(answer.status, 422, "{changes}");
        let (_, code, at, reason) = rejection(&answer);
        assert_eq!(
            (code.as_str(), at.as_deref()),
            ("V01", Some(*field)),
            "{reason}"
        );
        batch.push(with(changes.clone()));
    }
    // The good ones of a batch stay: the same said twice, and an id that is none of ours.
    let answer = post(&site, BATCH, &Value::Array(batch)).await;
    let body = answer.json();
    assert_eq!((answer.status, body["accepted"].as_u64()), (202, Some(2)));
    let rejected = body["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), cases.len());
    let refused = site.delivered().await;
    let mut without_area = 0;
    for record in refused
        .iter()
        .filter(|r| r.headers.contains_key("siji-code"))
    {
        // The event's area is seen in the envelope, where the envelope has an event.
        if record.key == DISTRICT {
            assert_eq!(record.headers["siji-field"], "data");
            without_area += 1;
        } else {
            assert_eq!(record.key, community(DISTRICT));
        }
        assert_eq!(record.value.first(), Some(&b'{'));
    }
    assert_eq!(without_area, 2, "alone and in the batch");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_no_uuid_needs_an_event_id_beside_it() {
    let site = Site::start().await;
    let bare = event_with(json!({"event_id": null}));
    let occurred = bare["occurred_at"].as_i64().unwrap();
    assert!(occurred > 0);
    let answer = post(
        &site,
        STRUCTURED,
        &envelope(&bare, json!({"id": "order-17"})),
    )
    .await;
    let (_, code, field, _) = rejection(&answer);
    assert_eq!((code.as_str(), field.as_deref()), ("V01", Some("event_id")));
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_envelopes_in_headers_are_refused_and_other_bodies_are_not_taken() {
    let site = Site::start().await;
    let send = async |headers: &[(&str, &str)], content_type: &str, body: String| {
        let mut request = site
            .client
            .post(site.url("/v1/events"))
            .bearer_auth(WRITER)
            .header("content-type", content_type)
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        site.send(request).await
    };
    let good = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-type", "case.opened"),
        ("ce-source", "/s"),
    ];
    let answer = send(&good, "application/json", event().to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    for (headers, field) in [
        (&[("ce-id", "1")][..], "specversion"),
        (
            &[
                ("ce-specversion", "1.0"),
                ("ce-id", "%ff"),
                ("ce-type", "a"),
                ("ce-source", "/s"),
            ],
            "id",
        ),
        (
            &[
                ("ce-specversion", "1.0"),
                ("ce-id", "1"),
                ("ce-id", "2"),
                ("ce-type", "a"),
                ("ce-source", "/s"),
            ],
            "id",
        ),
    ] {
        let answer = send(headers, "application/json", event().to_string()).await;
        let (_, code, at, _) = rejection(&answer);
        assert_eq!((code.as_str(), at.as_deref()), ("V01", Some(field)));
    }
    let answer = send(&good, "application/json", json!([event()]).to_string()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.detail().contains("one event"), "{}", answer.text);
    for other in [
        "application/x-ndjson",
        "application/cloudevents+xml",
        "text/plain",
    ] {
        let answer = send(&good, other, event().to_string()).await;
        assert_eq!(answer.status, 415, "{other}");
        assert!(
            answer.headers["accept-post"]
                .to_str()
                .unwrap()
                .contains("cloudevents-batch")
        );
    }
    // People are found in envelopes too.
    let named = envelope(
        &event_with(json!({"resident": {"kind": "phone", "id": "13812345678"}})),
        json!({"specversion": "2.0"}),
    );
    assert_eq!(post(&site, STRUCTURED, &named).await.status, 422);
    for record in site.delivered().await {
        assert!(!String::from_utf8_lossy(&record.value).contains("13812345678"));
    }
}
