//! Requests as no client library would send them, and whether the broker still works afterwards.

use tansu_sans_io::fetch_request::{FetchPartition, FetchTopic};
use tansu_sans_io::produce_request::{PartitionProduceData, TopicProduceData};
use tansu_sans_io::record::{Record, deflated, inflated};
use tansu_sans_io::{
    ApiKey, Body, ErrorCode, FetchRequest, FetchResponse, Frame, Header, ProduceRequest,
    ProduceResponse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::clients::*;
use super::*;

pub async fn still_works(broker: &RunningBroker) {
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
pub async fn ask<Q: ApiKey + Into<Body>>(bootstrap: &str, api_version: i16, request: Q) -> Body {
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

pub fn one_record(producer_id: i64, producer_epoch: i16) -> deflated::Batch {
    inflated::Batch::builder()
        .record(Record::builder().value(bytes::Bytes::from_static(b"x").into()))
        .producer_id(producer_id)
        .producer_epoch(producer_epoch)
        .base_sequence(0)
        .build()
        .and_then(TryInto::try_into)
        .unwrap()
}

pub async fn produce_raw(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    mut batch: deflated::Batch,
) -> ErrorCode {
    // The frame is right, whatever is wrong inside: 49 bytes come before the records.
    batch.batch_length = i32::try_from(49 + batch.record_data.len()).unwrap();
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

pub async fn fetch_raw(bootstrap: &str, topic: &str, partition: i32, offset: i64) -> ErrorCode {
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
