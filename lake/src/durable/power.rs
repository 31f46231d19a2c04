//! Power cuts: every step that the store does to the disk is noted, and for each of them the directory is built as a file
//! system may leave it when the power goes there. Bytes count once they were synced, names once their directory was; of
//! the rest anything may be left. A lake must then hold every commit that was acknowledged, whole, and go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Mutex;

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::journal::Step;
use crate::log::{Change, Txn};
use crate::schema::ROLLUP;
use crate::snapshot::{ReaderOptions, TableReader};
use crate::table::tests::rollup_batch;
use crate::{Lake, LakeError, LakeLocation, TableWriter, checkpoint};

/// [`Step`], kept.
#[derive(Debug, Clone)]
enum Done {
    Directory(PathBuf),
    File(PathBuf),
    Synced(PathBuf, Vec<u8>),
    Renamed(PathBuf, PathBuf),
    Linked(PathBuf, PathBuf),
    Removed(PathBuf),
    Names(PathBuf),
    /// The commit that moved the position here was acknowledged.
    Acknowledged(i64),
}

/// What is done below a directory.
static JOURNALS: Mutex<BTreeMap<PathBuf, Vec<Done>>> = Mutex::new(BTreeMap::new());

fn note(path: &FsPath, step: impl FnOnce() -> Done) {
    let mut journals = JOURNALS.lock().unwrap();
    let journal = journals.iter_mut().find(|(root, _)| path.starts_with(root));
    if let Some((_, steps)) = journal {
        steps.push(step());
    }
}

pub(super) fn done(step: Step<'_>) {
    let own = FsPath::to_path_buf;
    match step {
        Step::Directory(path) => note(path, || Done::Directory(own(path))),
        Step::File(path) => note(path, || Done::File(own(path))),
        Step::Synced(path) => note(path, || {
            Done::Synced(own(path), std::fs::read(path).unwrap())
        }),
        Step::Renamed(from, to) => note(to, || Done::Renamed(own(from), own(to))),
        Step::Linked(from, to) => note(to, || Done::Linked(own(from), own(to))),
        Step::Removed(path) => note(path, || Done::Removed(own(path))),
        Step::Names(path) => note(path, || Done::Names(own(path))),
    }
}

/// What is left of names that were not synced, and of bytes that were not.
#[derive(Debug, Clone, Copy)]
enum Luck {
    /// Names are gone.
    None,
    /// Names are there, the bytes of files that were not synced are not.
    Names,
    /// Of the names each second one.
    Some,
}

/// A file system that forgets.
#[derive(Debug, Clone, Default)]
struct Disk {
    /// Synced bytes by file.
    bytes: Vec<Option<Vec<u8>>>,
    /// As seen while the power was on: a file's number, or a directory.
    names: BTreeMap<PathBuf, Option<usize>>,
    /// As on disk.
    synced: BTreeMap<PathBuf, Option<usize>>,
}

impl Disk {
    fn after(steps: &[Done]) -> Disk {
        let mut disk = Disk::default();
        for step in steps {
            disk.step(step);
        }
        disk
    }

    fn step(&mut self, step: &Done) {
        match step {
            Done::Directory(path) => {
                self.names.insert(path.clone(), None);
            }
            Done::File(path) => {
                self.names.insert(path.clone(), Some(self.bytes.len()));
                self.bytes.push(None);
            }
            Done::Synced(path, bytes) => {
                let file = self.names[path].unwrap();
                self.bytes[file] = Some(bytes.clone());
            }
            Done::Renamed(from, to) => {
                let file = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), file);
            }
            Done::Linked(from, to) => {
                let file = self.names[from];
                self.names.insert(to.clone(), file);
            }
            Done::Removed(path) => {
                self.names.remove(path);
            }
            Done::Names(directory) => {
                let inside = |path: &PathBuf| path.parent() == Some(directory);
                self.synced.retain(|path, _| !inside(path));
                let now = self.names.iter().filter(|(path, _)| inside(path));
                self.synced
                    .extend(now.map(|(path, file)| (path.clone(), *file)));
            }
            Done::Acknowledged(_) => {}
        }
    }

    /// What is found at `root` when the power is back, put under `to`.
    fn restore(&self, root: &FsPath, to: &FsPath, luck: Luck) {
        let mut left = self.synced.clone();
        let changed: BTreeSet<&PathBuf> = self.names.keys().chain(self.synced.keys()).collect();
        for (n, path) in changed.into_iter().enumerate() {
            let keeps = match luck {
                Luck::None => false,
                Luck::Names => true,
                Luck::Some => n % 2 == 0,
            };
            if keeps {
                match self.names.get(path) {
                    Some(file) => left.insert(path.clone(), *file),
                    None => left.remove(path),
                };
            }
        }
        // Parents come before what is in them; what has none is not found.
        for (path, file) in left {
            let path = to.join(path.strip_prefix(root).unwrap());
            if path.parent().is_some_and(FsPath::is_dir) {
                match file {
                    None => std::fs::create_dir(path).unwrap(),
                    Some(file) => {
                        let bytes = self.bytes[file].as_deref().unwrap_or_default();
                        std::fs::write(path, bytes).unwrap();
                    }
                }
            }
        }
    }
}

const APP: &str = "siji.events/0/0";

async fn open(directory: &FsPath) -> Result<Lake, LakeError> {
    let location = LakeLocation::parse(directory.to_str().unwrap(), BTreeMap::new())?;
    Lake::open_or_create(&location, "+08:00").await
}

/// The commit that moves the position from `position` to the next has as many rows.
async fn commit(table: &mut TableWriter, position: i64) {
    let rows: RecordBatch = rollup_batch("city", usize::try_from(position).unwrap() + 1);
    let change = Change {
        adds: vec![table.write_file(Some("city"), &[rows]).await.unwrap()],
        txns: vec![Txn {
            app_id: APP.to_owned(),
            version: position + 1,
            last_updated: None,
        }],
        ..Change::default()
    };
    table.commit(change).await.unwrap();
}

/// The position of a lake, after a look at every row that should be there.
async fn position(lake: &Lake) -> Result<i64, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let table = TableWriter::open(lake, &ROLLUP).await;
    let position = table.map_err(|e| told(&e))?.txn(APP).unwrap_or(0);
    let reader = TableReader::open(
        lake.root_store(),
        lake.table_url(ROLLUP.name),
        ReaderOptions::default(),
    );
    let reader = reader.map_err(|e| told(&e))?;
    let snapshot = reader.current().await.map_err(|e| told(&e))?;
    let mut rows = 0;
    for file in snapshot.ok_or("no table")?.files() {
        let file = std::fs::File::open(format!("/{}", file.path)).map_err(|e| told(&e))?;
        let batches = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| told(&e))?;
        for batch in batches.build().map_err(|e| told(&e))? {
            rows += batch.map_err(|e| told(&e))?.num_rows() as i64;
        }
    }
    match rows == position * (position + 1) / 2 {
        true => Ok(position),
        false => Err(format!("{rows} rows at position {position}")),
    }
}

/// Cuts the power before every step and after the last; says what was lost.
async fn cut_everywhere(root: &FsPath, steps: &[Done]) -> Result<(), String> {
    for cut in 0..=steps.len() {
        let acknowledged = steps[..cut].iter().rev().find_map(|step| match step {
            Done::Acknowledged(position) => Some(*position),
            _ => None,
        });
        let acknowledged = acknowledged.unwrap_or(0);
        for luck in [Luck::None, Luck::Names, Luck::Some] {
            let place = format!("cut before step {cut}, {luck:?}, {acknowledged} acknowledged");
            let found = tempfile::tempdir().unwrap();
            Disk::after(&steps[..cut]).restore(root, found.path(), luck);
            let opened = open(found.path())
                .await
                .map_err(|e| format!("{place}: {e}"))?;
            let stands = position(&opened)
                .await
                .map_err(|e| format!("{place}: {e}"))?;
            if !(acknowledged..=acknowledged + 1).contains(&stands) {
                return Err(format!("{place}: {stands} found"));
            }
            let mut table = TableWriter::open(&opened, &ROLLUP).await.unwrap();
            commit(&mut table, stands).await;
            assert_eq!(position(&opened).await, Ok(stands + 1), "{place}: goes on");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_lake_holds_every_acknowledged_commit_wherever_the_power_was_cut() {
    const COMMITS: i64 = 6;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("lake");
    std::fs::create_dir(&root).unwrap();
    JOURNALS.lock().unwrap().insert(root.clone(), Vec::new());
    let lake = open(&root).await.unwrap();
    let mut table = TableWriter::open(&lake, &ROLLUP).await.unwrap();
    for number in 0..COMMITS {
        commit(&mut table, number).await;
        note(&root, || Done::Acknowledged(number + 1));
        if number == 3 {
            checkpoint::write(&lake, ROLLUP.name).await.unwrap();
        }
    }
    assert_eq!(position(&lake).await, Ok(COMMITS));
    let steps = JOURNALS.lock().unwrap().remove(&root).unwrap();
    assert_eq!(cut_everywhere(&root, &steps).await, Ok(()));

    // The same store without its fsyncs, of names and of bytes, would lose some: the test can fail.
    let names = |step: &Done| matches!(step, Done::Names(_));
    let bytes = |step: &Done| matches!(step, Done::Synced(..));
    let without = |forgotten: fn(&Done) -> bool| -> Vec<Done> {
        let kept = steps.iter().filter(|step| !forgotten(step));
        kept.cloned().collect()
    };
    for (what, steps) in [("names", without(names)), ("bytes", without(bytes))] {
        let lost = cut_everywhere(&root, &steps).await;
        assert!(lost.is_err(), "without synced {what} nothing was lost");
    }
}
