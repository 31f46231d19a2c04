//! `openapi.json` says what the door does: every route, status, header and media type that it really gives stands there.

mod site;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use site::*;

/// Statuses that take a defect or a failing disk to see; other tests see them.
const NOT_SEEN_HERE: [&str; 4] = ["408", "500", "503", "403"];
/// Headers that any HTTP answer may have.
const OF_HTTP: [&str; 5] = [
    "content-type",
    "content-length",
    "date",
    "connection",
    "allow",
];

/// An answer, and the part of the document about it.
fn described<'d>(document: &'d Value, method: &str, path: &str, status: u16) -> &'d Value {
    let found = &document["paths"][path][method]["responses"][status.to_string()];
    assert!(
        found.is_object(),
        "{method} {path} gives {status}, undescribed"
    );
    found
}

fn agrees(document: &Value, method: &str, path: &str, answer: &Answer) {
    let found = described(document, method, path, answer.status);
    let content_type = answer.headers["content-type"].to_str().unwrap();
    let essence = content_type.split(';').next().unwrap();
    assert!(
        found["content"][essence].is_object(),
        "{path} {content_type}"
    );
    let headers: Vec<(String, bool)> = found["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, reference)| {
            let pointer = reference["$ref"].as_str().unwrap().trim_start_matches('#');
            let header = document.pointer(pointer).unwrap();
            (name.to_ascii_lowercase(), header["required"] == true)
        })
        .collect();
    for name in answer.headers.keys().map(|name| name.as_str()) {
        let known = headers.iter().any(|(known, _)| known == name);
        assert!(
            known || OF_HTTP.contains(&name),
            "{path} {} {name}",
            answer.status
        );
    }
    for (name, required) in headers {
        let there = answer.headers.contains_key(&name);
        assert!(there || !required, "{path} {} has no {name}", answer.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_every_answer_of_the_door() {
    let site = Site::start().await;
    let answer = site.send(site.client.get(site.url("/openapi.json"))).await;
    let document = answer.json();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    agrees(&document, "get", "/openapi.json", &answer);
    for path in ["/healthz", "/readyz"] {
        let answer = site.send(site.client.get(site.url(path))).await;
        assert_eq!(answer.status, 200);
        agrees(&document, "get", path, &answer);
    }

    let post = || site.client.post(site.url("/v1/events"));
    let authorised = || post().bearer_auth(WRITER);
    let large = event_with(json!({"subject_id": "x".repeat(10 << 20)}));
    let overdraw = Value::Array((0..60).map(|_| event()).collect());
    let requests = [
        (202, authorised().json(&event())),
        (422, authorised().json(&json!({}))),
        (400, authorised().body("[")),
        (401, post().json(&event())),
        (403, post().bearer_auth(READER).json(&event())),
        (413, authorised().json(&large)),
        (
            415,
            authorised().header("content-type", "text/csv").body("a"),
        ),
        (415, authorised().header("content-encoding", "br").body("a")),
        (202, post().bearer_auth(SLOW).json(&overdraw)),
        (429, post().bearer_auth(SLOW).json(&event())),
    ];
    let mut seen = BTreeSet::new();
    for (status, request) in requests {
        let answer = site.send(request).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        agrees(&document, "post", "/v1/events", &answer);
        seen.insert(status.to_string());
    }
    let promised = document["paths"]["/v1/events"]["post"]["responses"].as_object();
    for status in promised.unwrap().keys() {
        assert!(
            seen.contains(status) || NOT_SEEN_HERE.contains(&status.as_str()),
            "{status} is described and never given"
        );
    }
    // Only what the roles add to the door is described and not here.
    for path in document["paths"].as_object().unwrap().keys() {
        let method = if path == "/v1/events" {
            "DELETE"
        } else {
            "PUT"
        };
        let request = site.client.request(method.parse().unwrap(), site.url(path));
        let status = site.send(request).await.status;
        assert_eq!(status, if path == "/metrics" { 404 } else { 405 }, "{path}");
    }
    for media_type in document["paths"]["/v1/events"]["post"]["requestBody"]["content"]
        .as_object()
        .unwrap()
        .keys()
    {
        let request = authorised().header("content-type", media_type).body("");
        let answer = site.send(request).await;
        assert_eq!(
            (answer.status, answer.detail().as_str()),
            (400, "the body is empty")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_names_every_column_that_is_taken_and_no_other() {
    let site = Site::start().await;
    let document = site.send(site.client.get(site.url("/openapi.json"))).await;
    let document = document.json();
    let schemas = &document["components"]["schemas"];
    let columns = &schemas["Columns"];
    assert_eq!(columns["additionalProperties"], false);
    for column in siji_schemas::catalogue::Column::ALL {
        assert!(
            columns["properties"][column.name()].is_object(),
            "{column:?}"
        );
    }
    let post = || site.client.post(site.url("/v1/events")).bearer_auth(WRITER);
    let unknown = site
        .send(post().json(&event_with(json!({"colour": "red"}))))
        .await;
    assert_eq!(unknown.status, 422, "{}", unknown.text);
    for required in schemas["Event"]["required"].as_array().unwrap() {
        let mut without = event();
        without
            .as_object_mut()
            .unwrap()
            .remove(required.as_str().unwrap());
        let answer = site.send(post().json(&without)).await;
        assert_eq!(answer.status, 422, "without {required}: {}", answer.text);
    }
}
