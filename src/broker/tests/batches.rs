//! Batches that lie. Each test ends by using the broker.

use bytes::Bytes;
use rdkafka::ClientConfig;
use tansu_sans_io::ErrorCode;
use tansu_sans_io::record::deflated::Batch;

use super::clients::*;
use super::raw::*;
use super::*;

/// Bytes that look like one record with a value of that length, of which nothing is there.
fn a_record_that_claims(length: i32) -> Bytes {
    let mut bytes = vec![20, 0, 0, 0, 1];
    let mut zigzag = (length as u32) << 1;
    while zigzag >= 0x80 {
        bytes.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.push(zigzag as u8);
    Bytes::from(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_whose_contents_are_not_what_they_say() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 1).await;
    let mut damaged = one_record(-1, -1);
    damaged.record_data = bytes::Bytes::from(vec![0xFF; damaged.record_data.len()]);
    let mut longer = one_record(-1, -1);
    longer.last_offset_delta = 1_000_000;
    let mut packed = one_record(-1, -1);
    packed.attributes = 4; // says zstd, is not
    for (what, batch) in [("damaged", damaged), ("longer", longer), ("packed", packed)] {
        assert_eq!(
            produce_raw(broker.bootstrap(), "t", 0, batch).await,
            ErrorCode::CorruptMessage,
            "{what}"
        );
    }
    still_works(&broker).await;
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_claim_more_than_a_broker_has_room_for() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 1).await;
    let batch = |count: u32, data: Bytes| Batch {
        record_count: count,
        last_offset_delta: (count as i32).wrapping_sub(1),
        record_data: data,
        ..one_record(-1, -1)
    };
    let one = one_record(-1, -1).record_data;
    let headers = [&one[..one.len() - 1], &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F]].concat();
    let zstd = Batch {
        attributes: 4,
        ..batch(
            1,
            Bytes::from(zstd::encode_all(&vec![0; 256 << 20][..], 1).unwrap()),
        )
    };
    let mut snappy = batch(1, Bytes::from_static(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0]));
    snappy.attributes = 2;
    let mut gzip = zstd.clone();
    gzip.attributes = 1;
    gzip.record_data = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..64 {
            encoder.write_all(&vec![0; 1 << 20]).unwrap();
        }
        Bytes::from(encoder.finish().unwrap())
    };
    for (what, batch, expected) in [
        (
            "a count without records",
            batch(i32::MAX as u32, one.clone()),
            ErrorCode::RecordListTooLarge,
        ),
        (
            "a negative count",
            batch(u32::MAX, one.clone()),
            ErrorCode::CorruptMessage,
        ),
        (
            "no records",
            batch(0, one.clone()),
            ErrorCode::CorruptMessage,
        ),
        (
            "two records of one",
            batch(2, one.clone()),
            ErrorCode::CorruptMessage,
        ),
        (
            "a value of 2 GiB",
            batch(1, a_record_that_claims(i32::MAX)),
            ErrorCode::CorruptMessage,
        ),
        (
            "a value of negative length",
            batch(1, Bytes::from_static(&[20, 0, 0, 0, 1, 3, 0])),
            ErrorCode::CorruptMessage,
        ),
        (
            "two billion headers",
            batch(1, Bytes::from(headers)),
            ErrorCode::CorruptMessage,
        ),
        ("256 MiB in zstd", zstd, ErrorCode::RecordListTooLarge),
        ("64 MiB in gzip", gzip, ErrorCode::RecordListTooLarge),
        ("4 GiB in snappy", snappy, ErrorCode::RecordListTooLarge),
        (
            "an unknown compression",
            Batch {
                attributes: 6,
                ..one_record(-1, -1)
            },
            ErrorCode::UnsupportedCompressionType,
        ),
    ] {
        let code = produce_raw(broker.bootstrap(), "t", 0, batch).await;
        assert_eq!(code, expected, "{what}");
    }
    still_works(&broker).await;
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_compression_of_a_client_is_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        create_topic(broker.bootstrap(), compression, 1).await;
        let bootstrap = broker.bootstrap().to_owned();
        let sent: Vec<Vec<u8>> = (0..2_000)
            .map(|n| format!("{n} {}", "siji ".repeat(n % 60)).into_bytes())
            .collect();
        let (expected, topic) = (sent.clone(), compression.to_owned());
        let read = blocking(move || {
            let mut config: ClientConfig = careful(&bootstrap);
            config.set("compression.type", compression);
            let values = sent.into_iter().map(|value| (0, value));
            let reports = produce(&config, &topic, values);
            assert!(reports.iter().all(Result::is_ok), "{:?}", reports[0]);
            read_all(&bootstrap, &topic, 1).remove(0)
        })
        .await;
        let read: Vec<_> = read.into_iter().map(|(_, value)| value).collect();
        assert!(read == expected, "{compression}");
    }
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_does_can_be_read_from_the_metrics() {
    use prometheus::{Encoder, Registry, TextEncoder};
    let registry = Registry::new();
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .without_target_info()
        .build()
        .unwrap();
    let provider = opentelemetry_sdk::metrics::SdkMeterProvider::builder().with_reader(reader);
    opentelemetry::global::set_meter_provider(provider.build());
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    still_works(&broker).await;
    let mut out = Vec::new();
    TextEncoder::new()
        .encode(&registry.gather(), &mut out)
        .unwrap();
    let text = String::from_utf8(out).unwrap();
    for name in [
        "\nsiji_broker_records_in_total ",
        "\nsiji_broker_records_out_total ",
        "\nsiji_broker_produce_seconds_bucket{le=\"0.005\"} ",
    ] {
        assert!(text.contains(name), "{name} of {text}");
    }
    broker.shutdown().await.unwrap();
}
