//! A spool is opened again: after a stop, after a failure, with damage.

use redb::ReadableTable;

use super::*;

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
    spool.set_aside(9, vec![9; 100]).unwrap();
    assert_eq!(spool.gauges().stuck, 2);
    let (first, second) = (
        Stuck {
            position: 3,
            bytes: bytes.clone(),
        },
        Stuck {
            position: 9,
            bytes: vec![9; 100],
        },
    );
    assert_eq!(
        spool.stuck(0, 1 << 20).unwrap(),
        [first.clone(), second.clone()]
    );
    assert_eq!(spool.stuck(0, 1).unwrap(), [first], "one at least");
    assert_eq!(spool.stuck(4, 1).unwrap(), [second]);
    assert_eq!(spool.stuck(10, 1).unwrap(), []);
}
