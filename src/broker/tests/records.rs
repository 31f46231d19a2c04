use std::time::Instant;

use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer},
};

use super::clients::*;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_are_read_in_order_and_again_after_a_restart() {
    const COUNT: usize = 10_000;
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "siji.events", 2).await;

    let bootstrap = broker.bootstrap().to_owned();
    let expected = |partition: i32| -> Vec<(i64, Vec<u8>)> {
        (0..COUNT as i64 / 2)
            .map(|offset| (offset, format!("{partition} {offset}").into_bytes()))
            .collect()
    };
    let messages: Vec<_> = (0..2)
        .flat_map(|partition| {
            expected(partition)
                .into_iter()
                .map(move |(_, value)| (partition, value))
        })
        .collect();
    let reports =
        blocking(move || produce(&careful(&bootstrap), "siji.events", messages.into_iter())).await;
    assert_eq!(reports.len(), COUNT);
    assert!(
        reports.iter().all(Result::is_ok),
        "{:?}",
        reports.iter().find(|report| report.is_err())
    );

    let bootstrap = broker.bootstrap().to_owned();
    let read = blocking(move || read_all(&bootstrap, "siji.events", 2)).await;
    assert!(
        read == vec![expected(0), expected(1)],
        "what was read is not what was sent, in order"
    );
    broker.shutdown().await.unwrap();

    let broker = broker_in(directory.path()).await;
    let bootstrap = broker.bootstrap().to_owned();
    let again = blocking(move || read_all(&bootstrap, "siji.events", 2)).await;
    assert!(again == read, "a restart changed what is read");
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_headers_and_time_of_a_record_survive() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 1).await;
    let producer: FutureProducer = careful(broker.bootstrap()).create().unwrap();
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "traceparent",
            value: Some("00-abc"),
        })
        .insert(Header {
            key: "siji-code",
            value: Some("V04"),
        });
    let record = FutureRecord::to("t")
        .key("330500")
        .payload(&[0xC3_u8, 0x01, 0x00, 0xFF][..])
        .timestamp(1_700_000_000_123);
    producer
        .send(record.headers(headers), PATIENCE)
        .await
        .unwrap();
    let empty = FutureRecord::<str, [u8]>::to("t");
    producer.send(empty, PATIENCE).await.unwrap();

    let bootstrap = broker.bootstrap().to_owned();
    let messages = blocking(move || {
        let consumer = consumer(&bootstrap, &[]);
        assign(&consumer, "t", &[(0, Offset::Beginning)]);
        take(&consumer, 2, |message| message.detach())
    })
    .await;
    let first = &messages[0];
    assert_eq!(first.key(), Some(&b"330500"[..]));
    assert_eq!(first.payload(), Some(&[0xC3, 0x01, 0x00, 0xFF][..]));
    assert_eq!(first.timestamp().to_millis(), Some(1_700_000_000_123));
    let headers: Vec<_> = first
        .headers()
        .unwrap()
        .iter()
        .map(|header| (header.key, header.value.unwrap()))
        .collect();
    assert_eq!(
        headers,
        [("traceparent", &b"00-abc"[..]), ("siji-code", &b"V04"[..])]
    );
    assert_eq!((messages[1].key(), messages[1].payload()), (None, None));
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_consumer_gets_a_record_at_once() {
    const WAIT: Duration = Duration::from_secs(3);
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 1).await;
    let bootstrap = broker.bootstrap().to_owned();
    let mut delays = blocking(move || {
        let consumer = consumer(
            &bootstrap,
            &[("fetch.wait.max.ms", &WAIT.as_millis().to_string())],
        );
        assign(&consumer, "t", &[(0, Offset::Beginning)]);
        let delay = |n| {
            produce(&careful(&bootstrap), "t", std::iter::once((0, vec![n])));
            let acknowledged = Instant::now();
            take(&consumer, 1, |_| acknowledged.elapsed())[0]
        };
        (0..7).map(delay).collect::<Vec<_>>()
    })
    .await;
    delays.sort();
    assert!(delays[3] < WAIT / 10, "{delays:?}");
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_larger_than_the_consumer_asks_for_arrives_and_the_next_one_too() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 1).await;
    let large = vec![b'x'; 10 * 1024 * 1024];
    let mut config = careful(broker.bootstrap());
    config.set("message.max.bytes", "20000000");
    let values = vec![
        (0, b"before".to_vec()),
        (0, large.clone()),
        (0, b"after".to_vec()),
    ];
    let reports = blocking(move || {
        values
            .into_iter()
            .flat_map(|value| produce(&config, "t", std::iter::once(value)))
            .collect::<Vec<_>>()
    })
    .await;
    assert_eq!(reports, [Ok((0, 0)), Ok((0, 1)), Ok((0, 2))]);

    let bootstrap = broker.bootstrap().to_owned();
    let read = blocking(move || read_all(&bootstrap, "t", 1))
        .await
        .remove(0);
    assert!(
        read == [(0, b"before".to_vec()), (1, large), (2, b"after".to_vec())],
        "the large record is not what was sent"
    );
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_above_kafkas_limit_is_refused_and_the_producer_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 1).await;
    let mut config = config(broker.bootstrap());
    config.set("message.max.bytes", "20000000");
    let reports =
        blocking(move || produce(&config, "t", std::iter::once((0, vec![7; 2_000_000])))).await;
    let refused = reports[0].as_ref().unwrap_err();
    assert!(refused.contains("MessageSizeTooLarge"), "{refused}");
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_beyond_the_end_is_out_of_range_and_the_end_of_an_empty_partition_is_zero() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 2).await;
    let bootstrap = broker.bootstrap().to_owned();
    blocking(move || {
        produce(&careful(&bootstrap), "t", (0..3).map(|n| (0, vec![n])));
        let consumer = consumer(&bootstrap, &[]);
        assert_eq!(consumer.fetch_watermarks("t", 0, PATIENCE).unwrap(), (0, 3));
        assert_eq!(consumer.fetch_watermarks("t", 1, PATIENCE).unwrap(), (0, 0));
        assign(&consumer, "t", &[(0, Offset::Offset(4))]);
        let started = Instant::now();
        let error = loop {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Err(error)) => break error.to_string(),
                Some(Ok(message)) => panic!("got offset {}", message.offset()),
                None => assert!(started.elapsed() < PATIENCE, "no error"),
            }
        };
        assert!(error.to_lowercase().contains("offset"), "{error}");
        // A time after the last record has no offset; librdkafka then names the end.
        let mut times = TopicPartitionList::new();
        times
            .add_partition_offset("t", 0, Offset::Offset(4_000_000_000_000))
            .unwrap();
        let found = consumer.offsets_for_times(times, PATIENCE).unwrap();
        assert_eq!(found.elements()[0].offset(), Offset::End);
    })
    .await;
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_shares_partitions_and_its_offsets_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    create_topic(broker.bootstrap(), "t", 2).await;
    let bootstrap = broker.bootstrap().to_owned();
    blocking(move || {
        produce(&careful(&bootstrap), "t", (0..10).map(|n| (n % 2, vec![0])));
        let consumer = consumer(&bootstrap, &[("auto.offset.reset", "earliest")]);
        consumer.subscribe(&["t"]).unwrap();
        take(&consumer, 10, |_| ());
        consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    })
    .await;
    broker.shutdown().await.unwrap();

    let broker = broker_in(directory.path()).await;
    let bootstrap = broker.bootstrap().to_owned();
    let committed = blocking(move || {
        let mut list = TopicPartitionList::new();
        list.add_partition("t", 0);
        list.add_partition("t", 1);
        consumer(&bootstrap, &[])
            .committed_offsets(list, PATIENCE)
            .unwrap()
    })
    .await;
    let offsets: Vec<_> = committed
        .elements()
        .iter()
        .map(|element| element.offset())
        .collect();
    assert_eq!(offsets, [Offset::Offset(5), Offset::Offset(5)]);
    broker.shutdown().await.unwrap();
}
