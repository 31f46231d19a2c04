use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::LakeLocation;
use crate::checkpoint;
use crate::log::cleanup;
use crate::log::{Add, Change, Remove};
use crate::schema::REF_AREAS;
use crate::table::TableWriter;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Options = Options {
    retain: Duration::from_secs(24 * 3600),
    allow_short: false,
    dry_run: false,
};

fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
}

struct Place {
    directory: tempfile::TempDir,
    lake: Lake,
    table: TableWriter,
}

impl Place {
    async fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let location =
            LakeLocation::parse(directory.path().to_str().unwrap(), BTreeMap::new()).unwrap();
        let lake = Lake::open_or_create(&location, "+08:00").await.unwrap();
        let table = TableWriter::open(&lake, &REF_AREAS).await.unwrap();
        Place {
            directory,
            lake,
            table,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("ref_areas").join(name)
    }

    /// A file of the table, not committed.
    async fn file(&mut self) -> Add {
        let rows = serde_json::json!({"ref_version": "v", "area_code": "1", "tier": "city", "name": "n", "loaded_at": "2026-01-01T00:00:00Z"});
        let mut decoder = arrow::json::ReaderBuilder::new((REF_AREAS.schema)())
            .build_decoder()
            .unwrap();
        decoder.serialize(&[rows]).unwrap();
        let batch = decoder.flush().unwrap().unwrap();
        self.table.write_file(None, &[batch]).await.unwrap()
    }

    async fn commit(&mut self, adds: Vec<Add>, gone: &[&Add]) {
        let removes = gone
            .iter()
            .map(|add| Remove {
                path: add.path.clone(),
                deletion_timestamp: Some(0),
                data_change: false,
            })
            .collect();
        self.table
            .commit(Change {
                adds,
                removes,
                ..Change::default()
            })
            .await
            .unwrap();
    }

    /// Makes everything in the table's folder look older.
    fn age(&self, by: Duration) {
        for directory in [self.path(""), self.path("_delta_log")] {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    let modified = entry.metadata().unwrap().modified().unwrap();
                    let file = std::fs::File::options()
                        .write(true)
                        .open(entry.path())
                        .unwrap();
                    file.set_modified(modified - by).unwrap();
                }
            }
        }
    }

    async fn vacuum(&self, options: Options) -> Vacuumed {
        vacuum(&self.lake, "ref_areas", options, now())
            .await
            .unwrap()
    }

    fn there(&self, add: &Add) -> bool {
        self.path(&add.path).exists()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_a_retention_after_it_left_the_table_and_not_before() {
    let mut place = Place::new().await;
    let (old, new) = (place.file().await, place.file().await);
    place.commit(vec![old.clone()], &[]).await;
    checkpoint::write(&place.lake, "ref_areas").await.unwrap();
    place.age(48 * HOUR);
    // Two days later it is folded.
    place.commit(vec![new.clone()], &[&old]).await;
    checkpoint::write(&place.lake, "ref_areas").await.unwrap();
    let early = place.vacuum(DAY).await;
    assert_eq!(early.files, 0, "a query of a moment ago may read it");
    assert_eq!((early.waiting, early.waiting_bytes), (1, old.size as u64));
    place.age(25 * HOUR);
    let dry = place
        .vacuum(Options {
            dry_run: true,
            ..DAY
        })
        .await;
    assert_eq!(dry.names, std::slice::from_ref(&old.path));
    assert!(place.there(&old));
    assert_eq!(place.vacuum(DAY).await, dry);
    assert!(!place.there(&old) && place.there(&new));
    assert_eq!(place.vacuum(DAY).await.files, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_of_the_log_counts_what_a_cleaning_then_removes() {
    let keep = cleanup::Keep {
        entries: 2 * HOUR,
        checkpoints: 3 * HOUR,
    };
    let mut place = Place::new().await;
    for _ in 0..3 {
        let file = place.file().await;
        place.commit(vec![file], &[]).await;
    }
    checkpoint::write(&place.lake, "ref_areas").await.unwrap();
    let (lake, log) = (&place.lake, place.path("_delta_log"));
    let objects = || std::fs::read_dir(&log).unwrap().count() as u64;
    let young = cleanup::preview(lake, "ref_areas", keep, now()).await;
    assert_eq!(young.unwrap().objects, 0);

    place.age(4 * HOUR);
    let before = objects();
    let would = cleanup::preview(lake, "ref_areas", keep, now())
        .await
        .unwrap();
    assert!(would.objects > 0 && would.bytes > 0, "{would:?}");
    assert_eq!(objects(), before);
    let did = cleanup::clean(lake, "ref_areas", keep, now())
        .await
        .unwrap();
    assert_eq!(did, would);
    assert_eq!(objects(), before - did.objects);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_write_under_way_stay_and_those_of_a_crash_go_in_time() {
    let mut place = Place::new().await;
    let lost = place.file().await;
    std::fs::write(place.path("part-x.parquet#123"), b"half").unwrap();
    std::fs::write(place.path("notes#about.txt"), b"not ours").unwrap();
    place.age(49 * HOUR);
    place.commit(vec![], &[]).await;
    checkpoint::write(&place.lake, "ref_areas").await.unwrap();
    place.age(24 * HOUR + HOUR / 2);
    // Written half an hour before the checkpoint: whoever wrote it may commit it a moment later.
    let under_way = place.file().await;
    let path = place.path(&under_way.path);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - 25 * HOUR).unwrap();
    let gone = place.vacuum(DAY).await;
    assert_eq!(
        gone.names,
        [lost.path.clone(), "part-x.parquet#123".to_owned()]
    );
    assert!(place.there(&under_way));
    assert!(place.path("notes#about.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_retention_needs_an_express_word_and_still_spares_what_is_live_or_new() {
    let mut place = Place::new().await;
    let (live, gone, new) = (place.file().await, place.file().await, place.file().await);
    place.commit(vec![live.clone(), gone.clone()], &[]).await;
    place.commit(vec![], &[&gone]).await;
    let short = Options {
        retain: Duration::ZERO,
        ..DAY
    };
    let refused = vacuum(&place.lake, "ref_areas", short, now())
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("allow it expressly"),
        "{refused}"
    );
    let allowed = Options {
        allow_short: true,
        ..short
    };
    assert_eq!(
        place.vacuum(allowed).await.files,
        0,
        "all of them are young"
    );
    for add in [&live, &gone] {
        let file = std::fs::File::options()
            .write(true)
            .open(place.path(&add.path))
            .unwrap();
        file.set_modified(SystemTime::now() - 2 * HOUR).unwrap();
    }
    assert_eq!(
        place.vacuum(allowed).await.names,
        std::slice::from_ref(&gone.path)
    );
    assert!(place.there(&live) && place.there(&new));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_never_made_has_nothing_to_delete() {
    let place = Place::new().await;
    let nothing = vacuum(&place.lake, "rollup_day", DAY, now()).await.unwrap();
    assert_eq!(nothing, Vacuumed::default());
}
