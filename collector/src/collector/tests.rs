use super::*;
use crate::ship::KafkaConfig;
use crate::spool::tests::disk::Disk;
use crate::spool::tests::{on_disk, refused, small};

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_answer_does_not_hold_up_a_shutdown() {
    let disk = Disk::default();
    let spool = Arc::new(on_disk(&disk, small()));
    let kafka = KafkaConfig {
        brokers: "127.0.0.1:1".to_owned(),
        ..KafkaConfig::default()
    };
    let shipper = Arc::new(Shipper::start(Arc::clone(&spool), kafka).unwrap());
    spool.append(vec![refused("acknowledged")]).await.unwrap();
    disk.set_hanging(true);
    let waiting = {
        let spool = Arc::clone(&spool);
        tokio::spawn(async move { spool.append(vec![refused("not acknowledged")]).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;

    let (started, mut late) = (Instant::now(), Vec::new());
    let until = started + Duration::from_secs(2);
    let undelivered = finish(shipper, spool, until, &mut late).await;
    assert!(
        started.elapsed() < Duration::from_millis(2500),
        "{:?}",
        started.elapsed()
    );
    assert_eq!((undelivered, late), (2, vec!["spool"]));
    disk.set_hanging(false);
    assert!(waiting.await.unwrap().is_ok(), "the thread was left to it");
}
