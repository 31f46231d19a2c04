//! The embedded broker, spoken to by librdkafka as siji's own producer and consumer do, and byte by byte where a
//! client library would not send what must be survived.

mod batches;
mod clients;
mod directory;
mod groups;
mod raw;
mod records;
mod survival;
mod topic_shape;

use std::path::Path;

use super::*;

async fn broker_in(directory: &Path) -> RunningBroker {
    try_broker_in(directory).await.unwrap()
}

async fn try_broker_in(directory: &Path) -> Result<RunningBroker, BrokerError> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    start(BrokerConfig {
        listen,
        advertised: None,
        data_dir: directory.to_owned(),
    })
    .await
}

#[test]
fn clients_are_told_an_address_they_can_use() {
    let bound: SocketAddr = "127.0.0.1:4242".parse().unwrap();
    assert_eq!(advertised(None, bound).unwrap(), "127.0.0.1:4242");
    assert_eq!(
        advertised(Some("kafka.huzhou.example"), bound).unwrap(),
        "kafka.huzhou.example:4242"
    );
    assert_eq!(advertised(Some("kafka:9092"), bound).unwrap(), "kafka:9092");
    for wrong in [
        "",
        ":9092",
        "kafka:0",
        "kafka:x",
        "http://kafka:9092",
        "ka fka",
    ] {
        assert!(
            advertised(Some(wrong), bound).is_err(),
            "{wrong:?} was taken"
        );
    }
    let refused = advertised(None, "0.0.0.0:4242".parse().unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("0.0.0.0:4242") && refused.contains("host name"),
        "{refused}"
    );
}
