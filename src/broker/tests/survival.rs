//! What must not stop the broker. Each test ends by using it.

use rdkafka::Offset;
use tansu_sans_io::{ErrorCode, InitProducerIdRequest, InitProducerIdResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::clients::*;
use super::raw::*;
use super::*;

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
