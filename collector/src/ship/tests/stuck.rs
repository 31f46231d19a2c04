//! Records that cannot be delivered.

use redb::ReadableTable;

use super::*;
use crate::spool::tests::disk::Disk;
use crate::spool::tests::{on_disk, small};

/// Turns a bit in the block at a position. Returns the block as it now is.
fn damage(db: &redb::Database, position: u64) -> Vec<u8> {
    let txn = db.begin_write().unwrap();
    let bytes = {
        let mut blocks = txn
            .open_table(redb::TableDefinition::<u64, &[u8]>::new("blocks"))
            .unwrap();
        let mut bytes = blocks.get(position).unwrap().unwrap().value().to_vec();
        bytes[45] ^= 0x10;
        blocks.insert(position, bytes.as_slice()).unwrap();
        bytes
    };
    txn.commit().unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_the_broker_refuses_is_sent_record_by_record_and_only_the_guilty_one_is_set_aside()
{
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let spool = spool(directory.path());
    // One key, so one partition and one batch; the refusal of the batch is followed by that of one record alone.
    spool
        .append(
            (0..50)
                .map(|i| record(&format!("{i:06}"), "330502"))
                .collect(),
        )
        .await
        .unwrap();
    use RDKafkaRespErr::*;
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            RD_KAFKA_RESP_ERR_NO_ERROR,
            RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        ],
    );
    let _shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    eventually("the spool is empty", || spool.gauges().depth == 0).await;
    assert_eq!(spool.gauges().stuck, 1);
    let seen = read_topic(&cluster);
    let delivered: Vec<&str> = (0..PARTITIONS).flat_map(|p| values(&seen, p)).collect();
    let expected: Vec<String> = (1..50).map(|i| format!("{i:06}")).collect();
    assert_eq!(
        delivered, expected,
        "the greeting came through alone, then record 0 was refused alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_set_aside_and_the_others_are_shipped() {
    let (cluster, directory) = (cluster(), tempfile::tempdir().unwrap());
    let before = spool(directory.path());
    for i in 0..3 {
        before
            .append(vec![record(&format!("{i:06}"), "330502")])
            .await
            .unwrap();
    }
    before.close();
    damage(
        &redb::Database::create(directory.path().join("spool.redb")).unwrap(),
        3,
    );
    let spool = spool(directory.path());
    let _shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    eventually("the spool is empty", || spool.gauges().depth == 0).await;
    assert_eq!(spool.gauges().stuck, 1);
    let seen = read_topic(&cluster);
    let delivered: Vec<&str> = (0..PARTITIONS).flat_map(|p| values(&seen, p)).collect();
    assert_eq!(delivered, ["000000", "000002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_waits_until_it_can_be_set_aside() {
    let cluster = cluster();
    let disk = Disk::default();
    let before = on_disk(&disk, small());
    for i in 0..3 {
        before
            .append(vec![record(&format!("{i:06}"), "330502")])
            .await
            .unwrap();
    }
    before.close();
    let found = damage(&disk.open(false).unwrap(), 3);

    let spool = Arc::new(on_disk(&disk, small()));
    disk.set_capacity(Some(0));
    let _shipper = Shipper::start(Arc::clone(&spool), config(&cluster)).unwrap();
    eventually("the disk is seen to fail", || {
        spool.gauges().failing.is_some()
    })
    .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(
        spool.mark().position <= 3,
        "{:?}: the mark does not pass what is kept nowhere else",
        spool.mark()
    );

    disk.set_capacity(None);
    eventually("the rest is delivered", || spool.gauges().depth == 0).await;
    let stuck = spool.stuck(0, 1 << 20).unwrap();
    assert_eq!(stuck.len(), 1);
    assert_eq!((stuck[0].position, &stuck[0].bytes), (3, &found));
    let seen = read_topic(&cluster);
    assert!(seen.iter().any(|record| record.value == "000002"));
    assert!(!seen.iter().any(|record| record.value == "000001"));
}
