//! What goes in comes out, in order, with its place.

use super::*;

#[tokio::test]
async fn records_come_back_in_order_with_gap_free_numbers_and_their_headers() {
    let spool = on_disk(&Disk::default(), small());
    let first = spool
        .append(vec![refused("a"), refused("b")])
        .await
        .unwrap();
    let second = spool.append(vec![refused("c")]).await.unwrap();
    assert_eq!(
        (first.first_seq, first.count, second.first_seq),
        (2, 2, 4),
        "sequence number 1 is the greeting"
    );
    let found = waiting(&spool);
    let numbers: Vec<_> = found
        .iter()
        .map(|(_, seq, value)| (*seq, value.as_str()))
        .collect();
    assert_eq!(numbers[1..], [(2, "a"), (3, "b"), (4, "c")]);
    assert!(
        found
            .iter()
            .all(|(incarnation, ..)| *incarnation == first.incarnation && *incarnation > 0)
    );

    let page = spool.read(2, 1).unwrap();
    let Stretch::Block(block) = &page[0] else {
        panic!()
    };
    let record = block.records().next().unwrap().unwrap();
    assert_eq!(record.key, b"330502");
    let incarnation = first.incarnation.to_string();
    let expected: Vec<(&str, &[u8])> = vec![
        ("siji-code", b"V01"),
        ("siji-incarnation", incarnation.as_bytes()),
        ("siji-seq", b"2"),
    ];
    assert_eq!(record.headers, expected);
}

#[tokio::test]
async fn an_accepted_event_carries_its_place_in_its_columns() {
    let spool = on_disk(&Disk::default(), small());
    let event = siji_schemas::json::parse(
        br#"{"event_id":"0190a7e0-0000-7000-8000-000000000001","schema_version":1,"event_type":"call.received",
            "op":"assert","occurred_at":"2026-03-01T08:00:00+08:00","recorded_at":"2026-03-01T08:00:01+08:00",
            "area_code":"330502","subject_kind":"area","subject_id":"330502","qualifier":"exact"}"#,
        &mut |_, _| Ok(false),
    )
    .unwrap();
    let value = Value::Event(Box::new(event.clone()));
    let receipt = spool
        .append(vec![Record {
            key: "330502".to_owned(),
            headers: vec![],
            value,
        }])
        .await
        .unwrap();
    let page = spool.read(2, 1).unwrap();
    let Stretch::Block(block) = &page[0] else {
        panic!()
    };
    let record = block.records().next().unwrap().unwrap();
    assert!(record.headers.is_empty());
    let placed = siji_schemas::Event {
        incarnation: Some(receipt.incarnation),
        source_seq: Some(receipt.first_seq),
        ..event
    };
    let mut expected = Vec::new();
    siji_schemas::avro::encode(&siji_schemas::Event::as_ref(&placed), &mut expected).unwrap();
    assert_eq!(record.value, expected);
}

#[tokio::test]
async fn many_waiting_requests_share_a_commit() {
    let disk = Disk::default();
    let spool = Arc::new(on_disk(&disk, small()));
    let (commits, syncs) = (spool.gauges().commits, disk.syncs());
    let clients: Vec<_> = (0..64)
        .map(|client| {
            let spool = Arc::clone(&spool);
            tokio::spawn(async move {
                for i in 0..50 {
                    spool
                        .append(vec![refused(format!("{client}:{i}"))])
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let (commits, syncs) = (spool.gauges().commits - commits, disk.syncs() - syncs);
    assert_eq!(spool.gauges().depth, 3201);
    assert!(commits < 1000, "{commits} commits for 3200 events");
    assert!(syncs < 1500, "{syncs} fsyncs for 3200 events");
}

#[tokio::test]
async fn a_large_batch_is_divided_into_blocks_and_read_page_by_page() {
    let spool = on_disk(
        &Disk::default(),
        SpoolLimits {
            max_bytes: 64 << 20,
            ..small()
        },
    );
    let batch: Vec<_> = (0..3000).map(|i| refused(format!("{i:0>500}"))).collect();
    spool.append(batch).await.unwrap();
    let big = "x".repeat(300_000);
    spool
        .append(vec![
            refused("before"),
            refused(big.clone()),
            refused("after"),
        ])
        .await
        .unwrap();
    let page = spool.read(2, 200_000).unwrap();
    assert!(
        page.len() > 1 && page.len() < 5,
        "{} blocks in a page",
        page.len()
    );
    let found = waiting(&spool);
    assert_eq!(found.len(), 3004);
    assert!(
        found
            .iter()
            .skip(1)
            .take(3000)
            .enumerate()
            .all(|(i, (_, _, value))| *value == format!("{i:0>500}"))
    );
    assert_eq!(
        (
            found[3001].2.as_str(),
            &found[3002].2,
            found[3003].2.as_str()
        ),
        ("before", &big, "after")
    );
}
