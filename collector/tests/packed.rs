//! Compressed bodies and rates through the door, over a real connection.

mod site;

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use site::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 0).unwrap()
}

async fn send(site: &Site, encoding: &str, body: Vec<u8>) -> Answer {
    let request = site
        .client
        .post(site.url("/v1/events"))
        .bearer_auth(WRITER)
        .header("content-encoding", encoding)
        .body(body);
    site.send(request).await
}

type Pack = fn(&[u8]) -> Vec<u8>;
const WAYS: [(&str, Pack); 2] = [("gzip", gzip), ("zstd", zstd)];

#[tokio::test(flavor = "multi_thread")]
async fn packed_bodies_are_taken_like_others() {
    let site = Site::start().await;
    for (encoding, pack) in WAYS {
        let events = Value::Array((0..500).map(|_| event()).collect());
        let answer = send(&site, encoding, pack(events.to_string().as_bytes())).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(answer.json()["accepted"], 500);
        assert_eq!(answer.headers["x-ratelimit-charged"], "500");
    }
    assert_eq!(site.delivered().await.len(), 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_bodies_that_are_broken_or_blow_up_are_refused() {
    let site = Site::start_with(|config| config.limits.max_body_bytes = 2 << 20).await;
    for (encoding, pack) in WAYS {
        let packed = pack(event().to_string().as_bytes());
        let cut = packed[..packed.len() - 5].to_vec();
        let longer = [packed.as_slice(), b"garbage"].concat();
        for broken in [cut, longer, b"{}".to_vec()] {
            let answer = send(&site, encoding, broken).await;
            assert_eq!(answer.status, 400, "{}", answer.text);
            assert!(answer.detail().contains(encoding), "{}", answer.text);
            assert_eq!(answer.headers["x-ratelimit-charged"], "1");
        }
        for size in [(2 << 20) + 1, 500 << 20] {
            let bomb = pack(&vec![b' '; size]);
            let answer = send(&site, encoding, bomb).await;
            assert_eq!(answer.status, 413, "{}", answer.text);
        }
        let answer = send(&site, encoding, packed).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    for unknown in ["br", "deflate", "gzip, zstd", "gzip, gzip"] {
        let answer = send(&site, unknown, Vec::new()).await;
        assert_eq!(answer.status, 415, "{unknown}");
        assert_eq!(answer.headers["accept-encoding"], "gzip, zstd");
        assert!(answer.detail().contains("gzip or zstd"));
    }
    assert_eq!(
        send(&site, "identity", event().to_string().into())
            .await
            .status,
        202
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_what_was_charged_and_what_is_left() {
    let site = Site::start().await;
    let header = |answer: &Answer, name: &str| answer.headers[name].to_str().unwrap().to_owned();
    let answer = site.post(SLOW, &json!([event(), {}, event()])).await;
    assert_eq!(answer.status, 202);
    assert_eq!(
        header(&answer, "ratelimit-policy"),
        "\"events\";q=20;qu=\"events\";w=2"
    );
    assert_eq!(header(&answer, "ratelimit"), "\"events\";r=17;t=1");
    assert_eq!(header(&answer, "x-ratelimit-charged"), "3");
    let batch = Value::Array((0..60).map(|_| event()).collect());
    let answer = site.post(SLOW, &batch).await;
    assert_eq!(header(&answer, "x-ratelimit-charged"), "60");
    let answer = site.post(SLOW, &event()).await;
    assert_eq!(
        (
            answer.status,
            header(&answer, "x-ratelimit-charged").as_str()
        ),
        (429, "0")
    );
    assert!(header(&answer, "ratelimit").starts_with("\"events\";r=0;t="));
}
