//! What must not stop the broker. Each test ends by using it.

use rdkafka::Offset;
use tansu_sans_io::fetch_request::{FetchPartition, FetchTopic};
use tansu_sans_io::produce_request::{PartitionProduceData, TopicProduceData};
use tansu_sans_io::record::{Record, deflated, inflated};
use tansu_sans_io::{
    ApiKey, Body, ErrorCode, FetchRequest, FetchResponse, Frame, Header, InitProducerIdRequest,
    InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::clients::*;
use super::*;

async fn still_works(broker: &RunningBroker) {
    broker.probe().check().await.unwrap();
    let bootstrap = broker.bootstrap().to_owned();
    create_topic(&bootstrap, "afterwards", 1).await;
    let read = blocking(move || {
        produce(
            &careful(&bootstrap),
            "afterwards",
            std::iter::once((0, b"well".to_vec())),
        );
        read_all(&bootstrap, "afterwards", 1)
    })
    .await;
    assert_eq!(read, [[(0, b"well".to_vec())]]);
}

/// Sends one request as it stands and returns the body of the response.
async fn ask<Q: ApiKey + Into<Body>>(bootstrap: &str, api_version: i16, request: Q) -> Body {
    let header = Header::Request {
        api_key: Q::KEY,
        api_version,
        correlation_id: 1,
        client_id: Some("test".into()),
    };
    let request = Frame::request(header, request.into()).unwrap();
    let mut stream = TcpStream::connect(bootstrap).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut response = vec![0; 4];
    stream
        .read_exact(&mut response)
        .await
        .expect("the broker hung up");
    let length = u32::from_be_bytes(response[..4].try_into().unwrap()) as usize;
    response.resize(4 + length, 0);
    stream.read_exact(&mut response[4..]).await.unwrap();
    Frame::response_from_bytes(bytes::Bytes::from(response), Q::KEY, api_version)
        .unwrap()
        .body
}

fn one_record(producer_id: i64, producer_epoch: i16) -> deflated::Batch {
    inflated::Batch::builder()
        .record(Record::builder().value(bytes::Bytes::from_static(b"x").into()))
        .producer_id(producer_id)
        .producer_epoch(producer_epoch)
        .base_sequence(0)
        .build()
        .and_then(TryInto::try_into)
        .unwrap()
}

async fn produce_raw(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    batch: deflated::Batch,
) -> ErrorCode {
    let data = PartitionProduceData::default()
        .index(partition)
        .records(Some(deflated::Frame {
            batches: vec![batch],
        }));
    let topic = TopicProduceData::default()
        .name(topic.into())
        .partition_data(Some(vec![data]));
    let request = ProduceRequest::default()
        .acks(-1)
        .timeout_ms(5_000)
        .topic_data(Some(vec![topic]));
    let response = ProduceResponse::try_from(ask(bootstrap, 9, request).await).unwrap();
    let code = response.responses.unwrap()[0]
        .partition_responses
        .as_ref()
        .unwrap()[0]
        .error_code;
    ErrorCode::try_from(code).unwrap()
}

async fn fetch_raw(bootstrap: &str, topic: &str, partition: i32, offset: i64) -> ErrorCode {
    let partition = FetchPartition::default()
        .partition(partition)
        .fetch_offset(offset)
        .partition_max_bytes(1_000)
        .current_leader_epoch(Some(-1))
        .last_fetched_epoch(Some(-1))
        .log_start_offset(Some(-1));
    let topic = FetchTopic::default()
        .topic(Some(topic.into()))
        .partitions(Some(vec![partition]));
    let request = FetchRequest::default()
        .replica_id(Some(-1))
        .max_wait_ms(10)
        .max_bytes(Some(1_000))
        .isolation_level(Some(0))
        .session_id(Some(0))
        .session_epoch(Some(-1))
        .topics(Some(vec![topic]))
        .forgotten_topics_data(Some(vec![]))
        .rack_id(Some(String::new()));
    let response = FetchResponse::try_from(ask(bootstrap, 12, request).await).unwrap();
    let code = response.responses.unwrap()[0].partitions.as_ref().unwrap()[0].error_code;
    ErrorCode::try_from(code).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_kafka_request() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    let huge = i32::MAX.to_be_bytes();
    let negative = (-5_i32).to_be_bytes();
    let short = [0, 0, 0, 9, 1, 2];
    let nonsense = [&[0, 0, 0, 40][..], &[0xEE; 40]].concat();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &huge,
        &negative,
        &short,
        &nonsense,
        &[0, 0, 0, 0],
    ] {
        let mut stream = TcpStream::connect(broker.bootstrap()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let answered = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(answered.is_ok(), "a connection that sent {bytes:?} hangs");
    }
    still_works(&broker).await;
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_and_topics_that_are_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 2).await;
    for (topic, partition) in [("t", 2), ("t", -1), ("t", i32::MAX), ("other", 0), ("", 0)] {
        let code = produce_raw(broker.bootstrap(), topic, partition, one_record(-1, -1)).await;
        assert_eq!(
            code,
            ErrorCode::UnknownTopicOrPartition,
            "produce to {topic:?} {partition}"
        );
        let code = produce_raw(broker.bootstrap(), topic, partition, one_record(1, 0)).await;
        assert_eq!(
            code,
            ErrorCode::UnknownTopicOrPartition,
            "idempotent produce to {topic:?} {partition}"
        );
        let code = fetch_raw(broker.bootstrap(), topic, partition, 0).await;
        assert_eq!(
            code,
            ErrorCode::UnknownTopicOrPartition,
            "fetch from {topic:?} {partition}"
        );
    }
    for offset in [-7, 1, i64::MAX] {
        assert_eq!(
            fetch_raw(broker.bootstrap(), "t", 0, offset).await,
            ErrorCode::OffsetOutOfRange
        );
    }
    assert_eq!(
        fetch_raw(broker.bootstrap(), "t", 0, 0).await,
        ErrorCode::None
    );
    still_works(&broker).await;
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_with_unknown_ids_and_epochs_and_those_that_ask_for_new_ones() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 1).await;
    let identity = |producer_id, epoch| {
        let request = InitProducerIdRequest::default()
            .transactional_id(None)
            .transaction_timeout_ms(-1)
            .producer_id(Some(producer_id))
            .producer_epoch(Some(epoch));
        let bootstrap = broker.bootstrap().to_owned();
        async move { InitProducerIdResponse::try_from(ask(&bootstrap, 4, request).await).unwrap() }
    };
    let first = identity(-1, -1).await;
    let bumped = identity(first.producer_id, first.producer_epoch).await;
    assert_eq!((first.error_code, bumped.error_code), (0, 0));
    assert_ne!(first.producer_id, bumped.producer_id);

    let produce = |id, epoch| produce_raw(broker.bootstrap(), "t", 0, one_record(id, epoch));
    assert_eq!(
        produce(first.producer_id, 1).await,
        ErrorCode::InvalidProducerEpoch
    );
    assert_eq!(produce(999, 0).await, ErrorCode::UnknownProducerId);
    assert_eq!(produce(first.producer_id, 0).await, ErrorCode::None);
    assert_eq!(
        produce(first.producer_id, 0).await,
        ErrorCode::DuplicateSequenceNumber
    );
    assert_eq!(produce(bumped.producer_id, 0).await, ErrorCode::None);

    let transaction = InitProducerIdRequest::default()
        .transactional_id(Some("tx".into()))
        .transaction_timeout_ms(1_000);
    let refused =
        InitProducerIdResponse::try_from(ask(broker.bootstrap(), 2, transaction).await).unwrap();
    assert_ne!(refused.error_code, 0);
    still_works(&broker).await;
    broker.shutdown().await.unwrap();
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
async fn a_topic_deleted_and_made_again_under_a_consumer() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    let bootstrap = broker.bootstrap().to_owned();
    create_topic(&bootstrap, "t", 2).await;
    let stop = CancellationToken::new();
    let consuming = {
        let (bootstrap, stop) = (bootstrap.clone(), stop.clone());
        tokio::task::spawn_blocking(move || {
            let consumer = consumer(
                &bootstrap,
                &[
                    ("fetch.wait.max.ms", "20"),
                    ("auto.offset.reset", "earliest"),
                ],
            );
            assign(
                &consumer,
                "t",
                &[(0, Offset::Beginning), (1, Offset::Beginning)],
            );
            while !stop.is_cancelled() {
                // Errors are what the consumer is meant to see here.
                drop(consumer.poll(Duration::from_millis(20)));
            }
        })
    };
    for _ in 0..5 {
        let sender = bootstrap.clone();
        blocking(move || produce(&careful(&sender), "t", (0..50).map(|n| (n % 2, vec![0])))).await;
        delete_topic(&bootstrap, "t").await;
        create_topic(&bootstrap, "t", 2).await;
    }
    stop.cancel();
    consuming.await.unwrap();
    still_works(&broker).await;
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_engine_that_died_is_noticed_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = broker_in(directory.path()).await;
    // Not to be reached from outside: the engine has no implementation of it and panics.
    let storage = broker.storage.clone().unwrap();
    assert!(storage.delete_records(&[]).await.is_err());
    let reason = tokio::time::timeout(Duration::from_secs(5), broker.failed())
        .await
        .unwrap();
    assert!(matches!(reason, BrokerError::Engine { .. }), "{reason}");
    let line = reason.to_string();
    assert!(
        line.contains(directory.path().to_str().unwrap()) && !line.contains('\n'),
        "{line}"
    );
    assert!(broker.probe().check().await.is_err());
    drop(storage);
    broker.shutdown().await.unwrap();
    still_works(&broker_in(directory.path()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_with_consumers_waiting_takes_little_and_closes_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 1).await;
    let bootstrap = broker.bootstrap().to_owned();
    let waiting = tokio::spawn(async move { fetch_like_forever(&bootstrap).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let failed = tokio::time::timeout(Duration::from_millis(50), broker.failed()).await;
    assert!(failed.is_err(), "a working broker said {:?}", failed.ok());

    let probe = broker.probe();
    let started = std::time::Instant::now();
    broker.shutdown().await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert!(probe.check().await.is_err());
    waiting.abort();
    assert!(
        !directory.path().join("broker.db-wal").exists(),
        "the write-ahead log was not folded in"
    );
}

async fn fetch_like_forever(bootstrap: &str) {
    let bootstrap = bootstrap.to_owned();
    blocking(move || {
        let consumer = consumer(&bootstrap, &[("fetch.wait.max.ms", "20000")]);
        assign(&consumer, "t", &[(0, Offset::Beginning)]);
        drop(consumer.poll(Duration::from_secs(2)));
    })
    .await;
}
