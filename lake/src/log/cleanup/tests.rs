use object_store::path::Path;
use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const KEEP: Keep = Keep {
    entries: Duration::from_secs(3600),
    checkpoints: Duration::from_secs(24 * 3600),
};

fn object(version: i64, part: Part, modified: Duration) -> LogObject {
    let ending = match part {
        Part::Entry => "json",
        Part::Checkpoint => "checkpoint.parquet",
    };
    LogObject {
        path: Path::from(format!("_delta_log/{version:020}.{ending}")),
        version,
        part,
        modified,
        bytes: 1,
    }
}

/// A commit a minute from version 0 on, a checkpoint every ten.
fn log(versions: i64) -> Vec<LogObject> {
    (0..versions)
        .flat_map(|version| {
            let at = MINUTE * version as u32;
            let checkpoint =
                (version % 10 == 0 && version > 0).then(|| object(version, Part::Checkpoint, at));
            [Some(object(version, Part::Entry, at)), checkpoint]
        })
        .flatten()
        .collect()
}

#[test]
fn every_version_of_the_retention_can_still_be_read() {
    let log = log(200);
    let now = MINUTE * 200;
    let gone = expired(&log, Some(190), KEEP, now);
    // Version 140 was the newest an hour ago, and there is a checkpoint of it.
    let entries: Vec<i64> = gone
        .iter()
        .filter(|o| o.part == Part::Entry)
        .map(|o| o.version)
        .collect();
    assert_eq!(entries, (0..140).collect::<Vec<_>>());
    // Of the older checkpoints one an hour stays: the newest of each.
    let left: Vec<i64> = log
        .iter()
        .filter(|o| o.part == Part::Checkpoint && !gone.contains(o))
        .map(|o| o.version)
        .collect();
    assert_eq!(left, [50, 110, 130, 140, 150, 160, 170, 180, 190]);
}

#[test]
fn nothing_goes_without_a_checkpoint_that_is_old_enough_or_without_the_hint() {
    let log = log(200);
    assert!(expired(&log, Some(190), KEEP, MINUTE * 60).is_empty());
    assert!(expired(&log, None, KEEP, MINUTE * 200).is_empty());
    let entries: Vec<LogObject> = log
        .iter()
        .filter(|o| o.part == Part::Entry)
        .cloned()
        .collect();
    assert!(expired(&entries, Some(190), KEEP, MINUTE * 200).is_empty());
    // Readers begin at the hint: nothing from there on goes.
    let gone = expired(&log, Some(20), KEEP, MINUTE * 200);
    assert!(gone.iter().all(|object| object.version < 20));
}

proptest! {
    /// Whatever stays, the newest version of any moment of the retention can be put together.
    #[test]
    fn what_stays_is_a_checkpoint_and_all_entries_after_it(
        versions in 1i64..400, every in 1i64..60, minutes in 1u32..500, later in 0u32..2000,
    ) {
        let log: Vec<LogObject> = log(versions)
            .into_iter()
            .filter(|o| o.part == Part::Entry || o.version % every == 0)
            .collect();
        let now = MINUTE * (versions as u32 + later);
        let keep = Keep { entries: MINUTE * minutes, ..KEEP };
        let hint = log.iter().filter(|o| o.part == Part::Checkpoint).map(|o| o.version).max();
        let gone = expired(&log, hint, keep, now);
        let left: Vec<&LogObject> = log.iter().filter(|o| !gone.contains(o)).collect();
        let begin = now.saturating_sub(keep.entries);
        let newest_then = log.iter().filter(|o| o.modified <= begin).map(|o| o.version).max().unwrap_or(0);
        for wanted in newest_then..versions {
            let from = left
                .iter()
                .filter(|o| o.part == Part::Checkpoint && o.version <= wanted)
                .map(|o| o.version)
                .max();
            for entry in from.map_or(0, |from| from + 1)..=wanted {
                prop_assert!(left.iter().any(|o| o.part == Part::Entry && o.version == entry), "{wanted} needs {entry}");
            }
        }
    }
}
