//! kill -9 of a process that spools.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const PATH: &str = "SIJI_TEST_SPOOL";

/// Not a test of its own: the process that is killed. Prints every receipt it got.
#[tokio::test]
async fn child_that_spools_until_it_is_killed() {
    let Ok(path) = std::env::var(PATH) else {
        return;
    };
    let spool = Arc::new(Spool::open(Path::new(&path), small(), greeting()).unwrap());
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let spool = Arc::clone(&spool);
            tokio::spawn(async move {
                while let Ok(receipt) = spool.append(vec![refused("one"), refused("two")]).await {
                    println!("receipt {} {}", receipt.incarnation, receipt.first_seq);
                    let position = spool.gauges().next.saturating_sub(10).max(1);
                    spool.delivered(Mark { epoch: 0, position });
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn every_receipt_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool.redb");
    let (mut incarnation_before, mut receipts) = (None, 0);
    for round in 0..5u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "spool::tests::crash::child_that_spools_until_it_is_killed",
                "--nocapture",
            ])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = None;
        let deadline = Instant::now() + Duration::from_millis(150 + 70 * round);
        while Instant::now() < deadline || last.is_none() {
            last = receipt(&lines.next().unwrap().unwrap()).max(last);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(Ok(line)) = lines.next() {
            last = receipt(&line).max(last);
        }
        let (incarnation, first_seq) = last.unwrap();
        receipts += first_seq / 2;

        let spool = Spool::open(&path, small(), greeting()).unwrap();
        let opening = spool.gauges().opening;
        let (previous, last_seq) = opening.previous.unwrap();
        assert_eq!(previous, incarnation);
        assert!(
            last_seq > first_seq,
            "the receipt for {first_seq} and the next was given, found up to {last_seq}"
        );
        assert_ne!(Some(incarnation), incarnation_before);
        incarnation_before = Some(incarnation);
        let found = waiting(&spool);
        let of_child: Vec<_> = found
            .iter()
            .filter(|(i, ..)| *i == incarnation)
            .map(|(_, seq, _)| *seq)
            .collect();
        assert!(of_child.is_sorted_by(|a, b| a + 1 == *b), "no gap");
        assert_eq!(of_child.last(), Some(&last_seq));
        spool.close();
    }
    assert!(receipts > 50, "{receipts} receipts in all");
}

/// Incarnation and sequence number of a receipt line; the test harness prints other lines.
fn receipt(line: &str) -> Option<(i64, i64)> {
    let (incarnation, seq) = line.split_once("receipt ")?.1.split_once(' ')?;
    Some((incarnation.parse().ok()?, seq.trim().parse().ok()?))
}
