use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::ReadableTable;

use super::handle::AppendError;
use super::*;

mod crash;
mod disk;
mod model;

use disk::Disk;

/// Limits under which a test is quick.
fn small() -> SpoolLimits {
    SpoolLimits {
        max_bytes: 4 << 20,
        reserve_bytes: 512 << 10,
        cache_bytes: 1 << 20,
        ..SpoolLimits::default()
    }
}

fn refused(content: impl Into<Vec<u8>>) -> Record {
    Record {
        key: "330502".to_owned(),
        headers: vec![("siji-code", b"V01".to_vec())],
        value: Value::Refused(content.into()),
    }
}

/// A greeting that says what it was told.
fn greeting() -> Greeting {
    Box::new(|opening| {
        refused(format!(
            "greeting {:?} {:?}",
            opening.incarnation, opening.previous
        ))
    })
}

fn on_disk(disk: &Disk, limits: SpoolLimits) -> Spool {
    Spool::open_with(
        Path::new("/nonexistent/../tmp/spool"),
        limits,
        greeting(),
        disk.opener(),
    )
    .unwrap()
}

/// Everything from the delivery mark on, as (incarnation, seq, value).
fn waiting(spool: &Spool) -> Vec<(i64, i64, String)> {
    read_from(spool, spool.mark().position)
}

fn read_from(spool: &Spool, mut from: u64) -> Vec<(i64, i64, String)> {
    let mut found = Vec::new();
    loop {
        let page = spool.read(from, 10_000).unwrap();
        if page.is_empty() {
            return found;
        }
        for stretch in page {
            let Stretch::Block(block) = stretch else {
                panic!("a lost stretch: {stretch:?}")
            };
            for record in block.records() {
                let record = record.unwrap();
                if record.position >= from {
                    let value = String::from_utf8_lossy(record.value).into_owned();
                    found.push((block.header.incarnation, record.seq, value));
                }
            }
            from = block.end();
        }
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "not within 10 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

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

#[tokio::test]
async fn a_full_spool_refuses_until_records_are_delivered() {
    let spool = on_disk(&Disk::default(), small());
    let batch = || {
        (0..100)
            .map(|i| refused(format!("{i:0>1000}")))
            .collect::<Vec<_>>()
    };
    let mut accepted = 0;
    let full = loop {
        match spool.append(batch()).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full { .. }), "{full:?}");
    assert!(accepted > 20, "{accepted}");
    let gauges = spool.gauges();
    assert!(
        gauges.kept_bytes <= gauges.limit_bytes + 200_000,
        "{gauges:?}"
    );

    let epoch = spool.mark().epoch;
    spool.delivered(Mark {
        epoch,
        position: gauges.next,
    });
    eventually("room after delivery", || spool.admits().is_ok()).await;
    for _ in 0..accepted {
        let receipt = spool.append(batch()).await;
        let position = spool.gauges().next;
        spool.delivered(Mark { epoch, position });
        assert!(receipt.is_ok(), "delivered blocks give way: {receipt:?}");
        assert!(spool.gauges().kept_bytes <= gauges.limit_bytes);
    }
}

#[tokio::test]
async fn delivered_records_go_when_their_time_is_over_and_others_stay() {
    let spool = on_disk(
        &Disk::default(),
        SpoolLimits {
            retention_hours: 0,
            ..small()
        },
    );
    spool
        .append((0..500).map(|i| refused(format!("{i:0>400}"))).collect())
        .await
        .unwrap();
    let kept = spool.gauges().kept_bytes;
    spool.delivered(Mark {
        epoch: 0,
        position: 401,
    });
    eventually("old blocks are deleted", || {
        spool.gauges().kept_bytes < kept
    })
    .await;
    let left = waiting(&spool);
    assert_eq!(left.len(), 101);
    assert_eq!(left[0].1, 401);
}

#[tokio::test]
async fn what_was_delivered_can_be_sent_again_and_older_marks_do_not_undo_it() {
    let spool = on_disk(&Disk::default(), small());
    spool
        .append(vec![refused("a"), refused("b"), refused("c")])
        .await
        .unwrap();
    let all = spool.gauges().next;
    spool.delivered(Mark {
        epoch: 0,
        position: all,
    });
    assert_eq!(
        spool.resend(i64::MAX).await.unwrap().records,
        0,
        "nothing was delivered in the future"
    );

    let resent = spool.resend(0).await.unwrap();
    assert_eq!((resent.from, resent.records), (1, 4));
    assert_eq!(spool.gauges().depth, 4);
    spool.delivered(Mark {
        epoch: 0,
        position: all,
    });
    assert_eq!(
        spool.gauges().depth,
        4,
        "a report of the time before the resend"
    );
    spool.delivered(Mark {
        epoch: spool.mark().epoch,
        position: all,
    });
    assert_eq!(spool.gauges().depth, 0);
}

#[tokio::test]
async fn a_reopened_spool_goes_on_at_the_mark_and_names_the_opening_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/down/spool.redb");
    let before = Spool::open(&path, small(), greeting()).unwrap();
    let receipt = before
        .append(vec![refused("a"), refused("b")])
        .await
        .unwrap();
    before.delivered(Mark {
        epoch: 0,
        position: 3,
    });
    before.close();
    assert_eq!(
        before.append(vec![refused("c")]).await,
        Err(AppendError::Closed)
    );

    let after = Spool::open(&path, small(), greeting()).unwrap();
    let opening = after.gauges().opening;
    assert_eq!(opening.previous, Some((receipt.incarnation, 3)));
    assert_ne!(opening.incarnation, receipt.incarnation);
    let found = waiting(&after);
    assert_eq!(found[0], (receipt.incarnation, 3, "b".to_owned()));
    assert_eq!(found[1].1, 1, "a new opening counts from 1");
    assert!(
        found[1].2.contains(&receipt.incarnation.to_string()),
        "the greeting names the opening before"
    );
}

#[tokio::test]
async fn a_spool_in_use_of_another_format_or_no_spool_is_refused_in_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool.redb");
    let held = Spool::open(&path, small(), greeting()).unwrap();
    let error = Spool::open(&path, small(), greeting()).unwrap_err();
    assert!(
        matches!(error, SpoolError::Locked(_)) && error.to_string().contains("another process"),
        "{error}"
    );
    held.close();

    let db = redb::Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(redb::TableDefinition::<&str, u64>::new("meta"))
        .unwrap()
        .insert("format", 2)
        .unwrap();
    txn.commit().unwrap();
    drop(db);
    let error = Spool::open(&path, small(), greeting()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has format 2, this version reads 1"),
        "{error}"
    );

    std::fs::write(
        &path,
        "not a database, but long enough to be looked at".repeat(1000),
    )
    .unwrap();
    let error = Spool::open(&path, small(), greeting()).unwrap_err();
    assert!(matches!(error, SpoolError::NotASpool(_)), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_stops_intake_and_a_checked_reopening_starts_it_again() {
    let disk = Disk::default();
    let spool = on_disk(&disk, small());
    let first = spool.append(vec![refused("kept")]).await.unwrap();
    disk.set_capacity(Some(0));
    let error = spool.append(vec![refused("lost")]).await.unwrap_err();
    assert!(matches!(error, AppendError::Failing(_)), "{error:?}");
    assert!(spool.gauges().failing.is_some() && spool.admits().is_err());
    disk.set_capacity(None);
    eventually("the spool is reopened", || spool.admits().is_ok()).await;
    let second = spool.append(vec![refused("kept too")]).await.unwrap();
    assert_ne!(
        first.incarnation, second.incarnation,
        "numbers of the failed opening are not used again"
    );
    assert_eq!(second.first_seq, 2);
    assert_eq!(
        spool.gauges().opening.previous,
        Some((first.incarnation, 2))
    );
    let values: Vec<_> = waiting(&spool)
        .into_iter()
        .map(|(_, _, value)| value)
        .collect();
    assert!(
        values.contains(&"kept".to_owned()) && values.contains(&"kept too".to_owned()),
        "{values:?}"
    );
    assert!(!values.contains(&"lost".to_owned()));
}

#[tokio::test]
async fn a_damaged_block_is_told_apart_and_those_behind_it_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool.redb");
    let spool = Spool::open(&path, small(), greeting()).unwrap();
    for value in ["a", "b", "c"] {
        spool.append(vec![refused(value)]).await.unwrap();
    }
    spool.close();
    let db = redb::Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut blocks = txn
            .open_table(redb::TableDefinition::<u64, &[u8]>::new("blocks"))
            .unwrap();
        let mut bytes = blocks.get(3).unwrap().unwrap().value().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        blocks.insert(3, bytes.as_slice()).unwrap();
    }
    txn.commit().unwrap();
    drop(db);

    let spool = Spool::open(&path, small(), greeting()).unwrap();
    let page = spool.read(2, 1 << 20).unwrap();
    assert!(matches!(&page[0], Stretch::Block(block) if block.position == 2));
    let Stretch::Lost { damage, end, bytes } = &page[1] else {
        panic!("{page:?}")
    };
    assert_eq!(
        (damage.position, *end, damage.what),
        (3, 4, "checksum mismatch")
    );
    assert!(matches!(&page[2], Stretch::Block(block) if block.position == 4));
    spool.set_aside(3, bytes.clone()).unwrap();
    assert_eq!(spool.gauges().stuck, 1);
}
