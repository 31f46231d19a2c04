//! The HTTP door: who may send what, and where.

mod site;

use serde_json::json;
use site::*;

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
async fn nobody_corrects_or_retracts_what_another_area_reported() {
    let site = Site::start().await;
    for op in ["correct", "retract"] {
        let amends = |home: &str| {
            event_with(json!({"op": op, "home_area_code": home,
                "target_event_id": "0190b5a2-7c1e-7def-8000-000000000002", "target_occurred_at": event()["occurred_at"]}))
        };
        let answer = site.post(WRITER, &amends(OTHER_DISTRICT)).await;
        let (_, code, field, _) = rejection(&answer);
        assert_eq!(
            (code.as_str(), field.as_deref()),
            ("V14", Some("home_area_code"))
        );
        assert_eq!(site.post(WRITER, &amends(DISTRICT)).await.status, 202);
    }
    // An event may be folded where a case was opened.
    let elsewhere = event_with(json!({"home_area_code": OTHER_DISTRICT}));
    assert_eq!(site.post(WRITER, &elsewhere).await.status, 202);
}
