//! When all is well.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_in_spool_order_where_java_would_put_them_with_their_headers() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    let shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    fill(&spool, 0, 3000).await;
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    let seen = read_topic(&cluster);
    assert_complete_and_in_order(&seen, 3000);
    for record in &seen {
        assert_eq!(
            record.partition,
            wire::partition_of(record.key.as_bytes(), PARTITIONS),
            "{record:?}"
        );
    }
    let opening = spool.gauges().opening;
    let first = seen.iter().find(|record| record.value == "000000").unwrap();
    let expected = [
        (wire::HEADER_CODE, "V01".to_owned()),
        (wire::HEADER_INCARNATION, opening.incarnation.to_string()),
        (wire::HEADER_SEQ, "2".to_owned()),
    ];
    assert_eq!(
        first.headers,
        expected.map(|(name, value)| (name.to_owned(), value))
    );
    assert_eq!(shipper.status().delivered(), 3001);
    assert_eq!(shipper.status().degraded(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_sends_again_what_was_delivered() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    let _shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    fill(&spool, 0, 100).await;
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_eq!(spool.resend(0).await.unwrap().records, 101);
    eventually("all is delivered again", || spool.gauges().depth == 0).await;
    let seen = read_topic(&cluster);
    assert_eq!(seen.len(), 202);
    for i in 0..100 {
        let copies = seen
            .iter()
            .filter(|record| record.value == format!("{i:06}"))
            .count();
        assert_eq!(copies, 2, "record {i}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_delivers_what_it_can_and_leaves_the_rest_to_the_next_start() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let first = spool(directory.path());
    let shipper = Shipper::start(Arc::clone(&first), config(&cluster)).unwrap();
    fill(&first, 0, 2000).await;
    shipper.stop(Instant::now() + Duration::from_secs(20));
    assert_eq!(first.gauges().depth, 0, "there was time");
    cluster.broker_down(1).unwrap();
    let shipper = Shipper::start(Arc::clone(&first), config(&cluster)).unwrap();
    fill(&first, 2000, 500).await;
    let started = Instant::now();
    shipper.stop(Instant::now() + Duration::from_secs(2));
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    first.close();
    cluster.broker_up(1).unwrap();

    let second = spool(directory.path());
    let _shipper = Shipper::start(Arc::clone(&second), config(&cluster)).unwrap();
    eventually("the next start delivers", || second.gauges().depth == 0).await;
    assert_complete_and_in_order(&read_topic(&cluster), 2500);
}

#[test]
fn properties_the_guarantees_stand_on_cannot_be_set() {
    let mut config = KafkaConfig::default();
    for (name, value) in [
        ("acks", "1"),
        ("delivery.timeout.ms", "1000"),
        ("partitioner", "random"),
        ("linger.ms", "1"),
    ] {
        config.properties.insert(name.to_owned(), value.to_owned());
    }
    let refused: Vec<String> = config
        .check()
        .into_iter()
        .map(|problem| problem.name)
        .collect();
    assert_eq!(refused, ["acks", "partitioner", "delivery.timeout.ms"]);
    assert!(config.check()[0].to_string().contains("must not be set"));
    config
        .properties
        .insert("sasl.password".to_owned(), "open sesame".to_owned());
    let shown = format!("{config:?}");
    assert!(
        shown.contains("sasl.password") && !shown.contains("sesame"),
        "{shown}"
    );
}
