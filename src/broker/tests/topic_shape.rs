//! The aggregator's topic check against this broker; `SIJI_TEST_BROKERS` names another.

use std::time::Instant;

use super::clients::*;
use super::*;

use siji_aggregator::topic::{TopicError, TopicSpec, ensure_topic};

struct Place {
    bootstrap: String,
    own: Option<(RunningBroker, tempfile::TempDir)>,
}

impl Place {
    async fn take() -> Self {
        if let Ok(bootstrap) = std::env::var("SIJI_TEST_BROKERS") {
            return Self {
                bootstrap,
                own: None,
            };
        }
        let directory = tempfile::tempdir().unwrap();
        let broker = broker_in(directory.path()).await;
        Self {
            bootstrap: broker.bootstrap().to_owned(),
            own: Some((broker, directory)),
        }
    }

    async fn leave(self) {
        if let Some((broker, _directory)) = self.own {
            broker.shutdown().await.unwrap();
        }
    }
}

fn fresh(name: &str) -> TopicSpec {
    TopicSpec::new(format!("{name}-{}", Uuid::new_v4()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_topic_is_made_and_found_again_with_its_shape() {
    let place = Place::take().await;
    let client = config(&place.bootstrap);
    let spec = fresh("made");
    let first = ensure_topic(&client, &spec, PATIENCE).await.unwrap();
    let second = ensure_topic(&client, &spec, PATIENCE).await.unwrap();
    assert_eq!((first.partitions, first.created), (12, true));
    assert_eq!((second.partitions, second.created), (12, false));
    place.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_agree_on_one_topic() {
    let place = Place::take().await;
    let spec = fresh("together");
    let client = config(&place.bootstrap);
    let shapes =
        futures::future::join_all((0..8).map(|_| ensure_topic(&client, &spec, PATIENCE))).await;
    let created = shapes
        .iter()
        .filter(|shape| shape.as_ref().unwrap().created)
        .count();
    assert_eq!(created, 1);
    place.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_partitions_is_refused_with_both_numbers() {
    let place = Place::take().await;
    let client = config(&place.bootstrap);
    let spec = fresh("narrow");
    create_topic(&place.bootstrap, &spec.name, 3).await;
    let refused = ensure_topic(&client, &spec, PATIENCE).await.unwrap_err();
    assert!(
        matches!(
            refused,
            TopicError::Partitions {
                found: 3,
                wanted: 12,
                ..
            }
        ),
        "{refused}"
    );
    let line = refused.to_string();
    assert!(
        line.contains("set the number of partitions to 3") && !line.contains('\n'),
        "{line}"
    );
    place.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_topic_is_refused() {
    let place = Place::take().await;
    let client = config(&place.bootstrap);
    for policy in ["compact", "compact,delete"] {
        let spec = fresh("compacted");
        create_topic_with(
            &place.bootstrap,
            &spec.name,
            12,
            &[("cleanup.policy", policy)],
        )
        .await;
        let refused = ensure_topic(&client, &spec, PATIENCE).await.unwrap_err();
        assert!(
            matches!(&refused, TopicError::Policy { found, .. } if found == policy),
            "{refused}"
        );
    }
    place.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_down_is_one_line_with_its_address_in_bounded_time() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let started = Instant::now();
    let refused = ensure_topic(&config(&free), &fresh("down"), Duration::from_secs(2))
        .await
        .unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    assert!(
        matches!(refused, TopicError::Unreachable { .. }),
        "{refused}"
    );
    let line = refused.to_string();
    assert!(line.contains(&free) && !line.contains('\n'), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_property_that_does_not_exist_is_named() {
    let mut client = config("127.0.0.1:1");
    client.set("no.such.property", "1");
    let refused = ensure_topic(&client, &fresh("odd"), PATIENCE)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("no.such.property"), "{refused}");
}
