use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::AppendError;
use super::*;

mod crash;
pub(crate) mod disk;
mod model;
mod openings;
mod records;
mod room;

use disk::Disk;

/// Limits under which a test is quick.
pub(crate) fn small() -> SpoolLimits {
    SpoolLimits {
        max_bytes: 4 << 20,
        reserve_bytes: 512 << 10,
        cache_bytes: 1 << 20,
        ..SpoolLimits::default()
    }
}

pub(crate) fn refused(content: impl Into<Vec<u8>>) -> Record {
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

pub(crate) fn on_disk(disk: &Disk, limits: SpoolLimits) -> Spool {
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

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "not within 10 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
