//! kill -9 of aggregator and collector at random moments under load: every acknowledged event is in the lake, once.
//! `SIJI_KILL_ROUNDS` sets how often each is killed.

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{Site, new_id, visit};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

fn rounds() -> usize {
    std::env::var("SIJI_KILL_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(3)
}

fn seed() -> u64 {
    let seed = std::env::var("SIJI_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().next_u64());
    println!("SIJI_TEST_SEED={seed}");
    seed
}

/// Sends batches until told to stop; returns the ids of every event that was acknowledged, and how many were sent.
async fn load(site: Arc<Site>, stop: Arc<AtomicBool>, mut dice: ChaCha8Rng) -> Vec<String> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let events: Vec<_> = (0..dice.random_range(1..50))
            .map(|_| visit(&new_id(), dice.random_range(1..300)))
            .collect();
        let body = json!(events).to_string().into_bytes();
        // A client that gets no answer sends the same events again until it does.
        loop {
            match site.send(&client, body.clone()).await {
                Ok((202, answer)) => {
                    assert_eq!(answer["accepted"], json!(events.len()), "{answer}");
                    acknowledged.extend(
                        events
                            .iter()
                            .map(|event| event["event_id"].as_str().unwrap().to_owned()),
                    );
                    break;
                }
                Ok((503 | 429, _)) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Ok((status, answer)) => panic!("{status}: {answer}"),
            }
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_event_survives_kills_of_aggregator_and_collector() {
    let site = Arc::new(Site::new());
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    let mut aggregator = site.start_aggregator();
    let mut collector = site.start_collector();
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4u64)
        .map(|n| {
            tokio::spawn(load(
                Arc::clone(&site),
                Arc::clone(&stop),
                ChaCha8Rng::seed_from_u64(dice.next_u64() ^ n),
            ))
        })
        .collect();
    for round in 0..rounds() {
        for victim in ["aggregator", "collector"] {
            tokio::time::sleep(Duration::from_millis(dice.random_range(100..1500))).await;
            println!("round {round}: kill -9 {victim}");
            if victim == "aggregator" {
                aggregator.kill();
                tokio::time::sleep(Duration::from_millis(dice.random_range(0..500))).await;
                aggregator = tokio::task::block_in_place(|| site.start_aggregator());
            } else {
                collector.kill();
                collector = tokio::task::block_in_place(|| site.start_collector());
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.extend(sender.await.unwrap());
    }
    println!("{} events acknowledged", acknowledged.len());
    tokio::task::block_in_place(|| {
        let (what, wanted) = ("acknowledged events in the lake", acknowledged.len() as i64);
        harness::wait_for_count(what, wanted, || {
            site.number("SELECT count(*) FROM events WHERE event_type = 'visit.made'")
        });
        // No more comes: what was sent twice is a duplicate, not an event.
        let (_, took) = collector.terminate();
        assert!(
            took < Duration::from_secs(10),
            "the collector drained for {took:?}"
        );
        let (code, took) = aggregator.terminate();
        assert!(
            code == Some(0) && took < Duration::from_secs(10),
            "{code:?} after {took:?}"
        );
        assert_eq!(
            site.number("SELECT count(*) FROM events WHERE event_type = 'visit.made'"),
            acknowledged.len() as i64
        );
        let stored: std::collections::BTreeSet<String> = site
            .sql("SELECT event_id FROM events WHERE event_type = 'visit.made'")
            .iter()
            .map(|row| row["event_id"].as_str().unwrap().to_owned())
            .collect();
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|id| !stored.contains(*id))
            .collect();
        assert!(
            lost.is_empty(),
            "{} acknowledged events are not in the lake",
            lost.len()
        );
        let (code, report) = site.verify();
        assert_eq!(code, Some(0), "{report}");
    });
}
