//! Raw personal data sent in is nowhere afterwards: not in the spool, the topic, the answers or the logs.

mod site;

use serde_json::{Value, json};
use site::*;

/// What is sent, in the forms in which it must not be found.
const PHONE: &str = "13812345678";
const IDENTITY: &str = "33050219800101123X";
const NAME: &str = "Zhang Sanfeng of Unit 4";
const FORMS: &[&str] = &[
    PHONE,
    "138-1234-5678",
    "138 1234 5678",
    IDENTITY,
    "33050219800101123x",
    NAME,
];

fn assert_absent(place: &str, bytes: &[u8]) {
    for form in FORMS {
        let found = bytes
            .windows(form.len())
            .any(|window| window == form.as_bytes());
        assert!(!found, "{form} stands in {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_raw_is_kept_shown_logged_or_shipped() {
    let logs = Logs::capture();
    let site = Site::start().await;
    let mut answers = String::new();

    // Accepted, with pseudonyms.
    let named = [
        json!({"resident": {"kind": "phone", "id": PHONE}, "actor": {"kind": "id", "id": IDENTITY}}),
        json!({"resident": {"kind": "phone", "id": "+86 138-1234-5678"}, "actor": {"kind": "id", "id": "33050219800101123x"}}),
        json!({"resident": {"kind": "name", "id": NAME}}),
    ];
    for people in named {
        let answer = site.post(WRITER, &event_with(people)).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answers.push_str(&answer.text);
    }
    // A sensitive service keeps no pseudonym either, given or made.
    for people in [
        json!({"resident": {"kind": "phone", "id": PHONE}}),
        json!({"resident_ref": "r_6wloyffm5k3v64htf4b3w5ch34"}),
    ] {
        let mut event = event_with(people);
        event["service_code"] = json!("police.violence");
        assert_eq!(site.post(WRITER, &event).await.status, 202);
    }
    // Refused, each in another way.
    let refused: Vec<Value> = vec![
        event_with(json!({"attrs": {"line": PHONE}})),
        event_with(json!({"attrs": {PHONE: "x"}})),
        event_with(json!({"subject_id": IDENTITY})),
        event_with(json!({"resident_ref": PHONE})),
        event_with(json!({"actor_ref": NAME})),
        event_with(json!({"event_id": PHONE})),
        event_with(json!({"event_type": PHONE})),
        event_with(json!({"channel": format!("{NAME} {PHONE}")})),
        event_with(json!({"area_code": PHONE})),
        event_with(json!({"occurred_at": PHONE})),
        event_with(json!({"rating": PHONE})),
        event_with(json!({PHONE: 1})),
        event_with(json!({"note": {"resident": {"id": NAME}}})),
        event_with(json!({"colour": 1, "resident": {"kind": "name", "id": NAME}})),
        event_with(json!({"resident": {"kind": "phone", "id": PHONE, "name": NAME}})),
        event_with(json!({"resident": PHONE})),
        event_with(json!({"resident_ref": NAME, "colour": 1})),
        event_with(json!({"actor_ref": NAME, "rating": "five"})),
        event_with(json!({"Resident_Ref": NAME})),
        event_with(json!({"Actor": {"kind": "name", "id": NAME}})),
        event_with(json!({"note": [{"owner_ref": NAME}]})),
        event_with(json!({"resident_ref": NAME, "subject_id": "x".repeat(300_000)})),
        event_with(json!({"resident": {"kind": "name", "id": NAME}, "area_code": "999999999999"})),
        event_with(
            json!({"resident": {"kind": "name", "id": NAME}, "resident_ref": "r_6wloyffm5k3v64htf4b3w5ch34"}),
        ),
        event_with(
            json!({"resident": {"kind": "phone", "id": PHONE}, "actor": {"kind": "name", "id": NAME.repeat(100)}}),
        ),
        json!(PHONE),
        json!([{"resident": {"id": NAME}}]),
    ];
    let count = refused.len();
    let answer = site.post(WRITER, &Value::Array(refused)).await;
    assert_eq!(
        answer.json()["rejected"].as_array().unwrap().len(),
        count,
        "{}",
        answer.text
    );
    answers.push_str(&answer.text);
    // Unreadable, with people in it, also behind escapes.
    let lines = format!(
        "{{\"resident\": {{\"kind\": \"name\", \"id\": \"{NAME}\"}}\n{{\"Resident\": {{\"kind\": \"name\", \"id\": \"{NAME}\"\n{{\"actor_ref\": \"{NAME}\"\n{{\"a\": \"{PHONE}\"\n{{\"\\u0061ctor\": \"{NAME}\"\n{}",
        event_with(json!({"res\u{0131}dent": 1}))
            .to_string()
            .replace(
                "res\u{0131}dent\":1",
                &format!("\\u0072esident\":{{\"kind\":\"name\",\"id\":\"{NAME}\"}}")
            ),
    );
    let answer = site.post_bytes(Some("application/x-ndjson"), lines).await;
    assert_eq!(
        (answer.status, answer.json()["accepted"].as_u64()),
        (202, Some(1)),
        "{}",
        answer.text
    );
    answers.push_str(&answer.text);
    for body in [
        format!("{{\"x\": \"{PHONE}"),
        PHONE.to_owned(),
        format!("[{{\"resident\": \"{NAME}\""),
    ] {
        let answer = site.post_bytes(Some("application/json"), body).await;
        assert_eq!(answer.status, 400);
        answers.push_str(&answer.text);
    }
    answers.push_str(&site.post(PHONE, &event()).await.text);
    answers.push_str(
        &site
            .send(site.client.get(site.url(&format!("/v1/{PHONE}"))))
            .await
            .text,
    );
    assert_absent("the answers", answers.as_bytes());

    let delivered = site.delivered().await;
    for record in &delivered {
        assert_absent("a key", record.key.as_bytes());
        assert_absent("a value", &record.value);
        for (name, content) in &record.headers {
            assert_absent(&format!("header {name}"), content.as_bytes());
        }
    }
    let people: Vec<_> = delivered
        .iter()
        .filter_map(Delivered::event)
        .filter(|event| event.event_type.as_deref() == Some("case.opened"))
        .map(|event| (event.service_code, event.resident_ref, event.actor_ref))
        .collect();
    let first = people
        .iter()
        .find(|(_, resident, actor)| resident.is_some() && actor.is_some())
        .unwrap();
    let same = people
        .iter()
        .filter(|(_, resident, actor)| (resident, actor) == (&first.1, &first.2))
        .count();
    assert_eq!(same, 2, "however typed, the same people");
    assert!(
        first.1.as_deref().unwrap().starts_with("r_")
            && first.2.as_deref().unwrap().starts_with("w_")
    );
    assert_eq!(
        people
            .iter()
            .filter(|(_, resident, _)| resident.is_none())
            .count(),
        2,
        "the sensitive ones"
    );
    assert!(
        people
            .iter()
            .all(|(service, resident, _)| service.is_none() || resident.is_none())
    );

    let (file, collector) = (site.spool_file(), site.collector);
    collector.shutdown(std::time::Duration::from_secs(10)).await;
    assert_absent("the spool", &std::fs::read(file).unwrap());
    let logs = logs.text();
    assert!(logs.contains("collector started"), "logs were captured");
    assert_absent("the logs", logs.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_named_person_is_refused_with_advice_and_no_bytes() {
    let site = Site::start_with(|config| config.pseudonym_key = None).await;
    let answer = site
        .post(
            WRITER,
            &event_with(json!({"resident": {"kind": "phone", "id": PHONE}})),
        )
        .await;
    let body = answer.json();
    assert_eq!(
        (answer.status, body["rejected"][0]["code"].as_str()),
        (422, Some("V12"))
    );
    assert!(
        body["rejected"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("pseudonym_key_file"),
        "{}",
        answer.text
    );
    let ready_made = event_with(json!({"resident_ref": "r_6wloyffm5k3v64htf4b3w5ch34"}));
    assert_eq!(site.post(WRITER, &ready_made).await.status, 202);
    let delivered = site.delivered().await;
    let refused = delivered
        .iter()
        .find(|record| record.headers.contains_key("siji-code"))
        .unwrap();
    assert!(refused.value.is_empty());
    assert_eq!(refused.headers["siji-sha256"].len(), 64);
}
