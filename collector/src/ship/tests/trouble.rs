//! A broker that is away, in trouble, or not yet ready.

use super::*;
use crate::ship::sender::Sender;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_makes_the_spool_grow_and_nothing_is_lost() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    let shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    fill(&spool, 0, 500).await;
    eventually("the first part is delivered", || spool.gauges().depth == 0).await;
    cluster.broker_down(1).unwrap();
    fill(&spool, 500, 1500).await;
    eventually("the trouble shows", || {
        shipper.status().degraded().is_some()
    })
    .await;
    assert_eq!(spool.gauges().depth, 1500);
    assert!(spool.admits().is_ok(), "intake goes on");
    assert!(spool.gauges().oldest_age_s > 0.0);
    cluster.broker_up(1).unwrap();
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_eq!(shipper.status().degraded(), None);
    assert_complete_and_in_order(&read_topic(&cluster), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_errors_of_the_broker_neither_lose_nor_reorder() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    use RDKafkaRespErr::*;
    let errors = [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR__TRANSPORT,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR__TRANSPORT,
    ];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    let mut config = config(&cluster);
    // A broker that knows nothing of a producer yet takes any batch as its first: when the very first one fails, the
    // second can overtake it. Behind the first that cannot happen; here, where the first fails, they go one by one.
    config.properties.insert(
        "max.in.flight.requests.per.connection".to_owned(),
        "1".to_owned(),
    );
    let _shipper = Shipper::start(Arc::clone(&spool), config).unwrap();
    fill(&spool, 0, 3000).await;
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_complete_and_in_order(&read_topic(&cluster), 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fatal_error_a_new_producer_goes_on_at_the_first_undelivered_record() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    cluster.request_errors(
        RDKafkaApiKey::InitProducerId,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
    );
    let shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    fill(&spool, 0, 500).await;
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_complete_and_in_order(&read_topic(&cluster), 500);
    assert_eq!(shipper.status().producers(), 2);
    assert_eq!(shipper.status().degraded(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_yet_is_waited_for_and_not_made_up() {
    let (cluster, directory) = (MockCluster::new(1).unwrap(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    let mut config = config(&cluster);
    config.properties.insert(
        "topic.metadata.propagation.max.ms".to_owned(),
        "300".to_owned(),
    );
    let shipper = Shipper::start(Arc::clone(&spool), config).unwrap();
    fill(&spool, 0, 500).await;
    eventually("the trouble shows", || {
        shipper.status().degraded().is_some()
    })
    .await;
    let (_, why) = shipper.status().degraded().unwrap();
    assert!(why.starts_with("topic siji.events: "), "{why}");
    assert_eq!(spool.gauges().depth, 501);
    cluster.create_topic(wire::TOPIC, PARTITIONS, 1).unwrap();
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_complete_and_in_order(&read_topic(&cluster), 500);
}

/// One partition has no leader, the others go on until the window is at its limit, then the producer fails for good:
/// what was under way stands inside the window, has to be sent again, and makes the window no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_window_does_not_keep_what_stands_in_it_from_being_sent_again() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    fill(&spool, 0, 30).await;
    let config = KafkaConfig {
        max_in_flight: 4,
        ..config(&cluster)
    };
    let status = Arc::new(ShipStatus::default());
    let mut sender = Sender::new(Arc::clone(&spool), config, status).unwrap();
    let edge = sender.window.edge();
    for position in edge..edge + 8 {
        sender.window.sent(position);
    }
    for position in edge + 2..edge + 8 {
        sender.window.done(position);
    }
    sender.discard_producer("fatal");
    std::thread::sleep(Duration::from_millis(150));

    assert!(sender.feed() && sender.feed(), "the two at the edge");
    assert_eq!(sender.window.in_flight(), 2);
    assert_eq!(sender.window.len(), 8, "and nothing new");
    assert!(!sender.feed());
    assert_eq!(sender.window.len(), 8);

    let stop_by = std::sync::Mutex::new(Some(Instant::now() + Duration::from_secs(20)));
    let sending = std::thread::spawn(move || sender.run(&stop_by));
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    sending.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_leader_holds_up_its_own_records_only_until_the_window_is_full() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    let config = KafkaConfig {
        max_in_flight: 50,
        ..config(&cluster)
    };
    let stuck = wire::partition_of(b"330500", PARTITIONS);
    cluster.partition_leader(wire::TOPIC, stuck, None).unwrap();
    let shipper = Shipper::start(Arc::clone(&spool), config).unwrap();
    fill(&spool, 0, 1000).await;
    eventually("the others are delivered", || {
        shipper.status().delivered() > 0
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let delivered = shipper.status().delivered();
    assert!(delivered < 100, "they do not run away: {delivered}");
    cluster
        .partition_leader(wire::TOPIC, stuck, Some(1))
        .unwrap();
    eventually("all is delivered", || spool.gauges().depth == 0).await;
    assert_complete_and_in_order(&read_topic(&cluster), 1000);
}
