//! What the door takes of the memory is bounded by the configuration. Alone in its process, because it measures it.
#![cfg(target_os = "linux")]

mod site;

use serde_json::json;
use site::*;

/// A figure of `/proc/self/status`, in KiB.
fn status(figure: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with(figure))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_bodies_of_many_events_do_not_fill_the_memory() {
    const EVENTS: usize = 10_000;
    let site = Site::start_with(|config| {
        config.tokens[0].max_events_per_second = u32::MAX;
    })
    .await;
    let body = format!("[{}{{}}]", "{},".repeat(EVENTS - 1));
    assert_eq!(site.post(WRITER, &json!([event()])).await.status, 202);
    let one = site.post_bytes(None, body.clone()).await;
    assert_eq!(one.status, 422);

    let before = status("VmHWM");
    let clients = (0..48).map(|_| site.post_bytes(None, body.clone()));
    let answers = futures::future::join_all(clients).await;
    let taken = answers.iter().filter(|answer| answer.status == 422).count();
    let turned_away = answers.iter().filter(|answer| answer.status == 503).count();
    assert_eq!(taken + turned_away, answers.len());
    assert!(taken > 2, "{taken}");
    // The answers, which this process holds too, are 1.5 MB each.
    let answers: usize = answers.iter().map(|answer| answer.text.len()).sum();
    let grown = (status("VmHWM") - before) / 1024;
    let answers = answers >> 20;
    println!("{taken} taken, {turned_away} turned away, {grown} MiB more, answers {answers} MiB");
    assert!(
        grown < 64 + 4 * answers,
        "{grown} MiB for 48 bodies of 30 kB, of it answers {answers} MiB"
    );
}
