//! Brings the write-ahead log to disk before a write is acknowledged.
//!
//! Tansu opens SQLite with `synchronous=normal`: a commit is written to the log but not synced, so a power cut may
//! take back what was acknowledged. Syncing the log after the commit, through a descriptor of our own, closes that
//! gap; SQLite itself syncs the log before it copies it into the database. (The database file must not be
//! opened and closed here: that would drop SQLite's POSIX locks on it.)

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Mutex, Notify};

/// The log and how far it is synced. Waiters share syncs: who arrives during one is served by the next.
#[derive(Debug)]
pub(super) struct Wal {
    path: PathBuf,
    /// Requests for a sync so far; a request's number is the count before it.
    asked: AtomicU64,
    /// All requests below this number are on disk.
    synced: Mutex<u64>,
    /// The first failure. A later sync may falsely succeed, so there is none.
    broken: OnceLock<Arc<io::Error>>,
    breaking: Notify,
}

impl Wal {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            asked: AtomicU64::new(0),
            synced: Mutex::new(0),
            broken: OnceLock::new(),
            breaking: Notify::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns when everything written before the call is on disk.
    pub(super) async fn sync(&self) -> Result<(), Arc<io::Error>> {
        let number = self.asked.fetch_add(1, Ordering::AcqRel);
        let mut synced = self.synced.lock().await;
        if let Some(error) = self.broken.get() {
            return Err(Arc::clone(error));
        }
        if *synced > number {
            return Ok(());
        }
        // Whoever has a number below this had written before asking, hence before the sync that follows.
        let covered = self.asked.load(Ordering::Acquire);
        let path = self.path.clone();
        let outcome = tokio::task::spawn_blocking(move || sync_file(&path))
            .await
            .map_err(io::Error::other)
            .flatten();
        match outcome {
            Ok(()) => {
                *synced = covered;
                Ok(())
            }
            Err(error) => {
                let error = Arc::clone(self.broken.get_or_init(|| Arc::new(error)));
                self.breaking.notify_one();
                Err(error)
            }
        }
    }

    /// Resolves when a sync has failed.
    pub(super) async fn broken(&self) -> Arc<io::Error> {
        loop {
            if let Some(error) = self.broken.get() {
                return Arc::clone(error);
            }
            self.breaking.notified().await;
        }
    }
}

fn sync_file(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) => file.sync_data(),
        // SQLite removes the log after it has synced it into the database, when the last connection closes.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_sync_is_never_followed_by_a_successful_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file-instead-of-directory/log");
        std::fs::write(directory.path().join("file-instead-of-directory"), b"").unwrap();
        let wal = Wal::new(path.clone());
        wal.sync().await.unwrap_err();
        std::fs::remove_file(path.parent().unwrap()).unwrap();
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"log").unwrap();
        wal.sync().await.unwrap_err();
        assert_eq!(wal.broken().await.kind(), io::ErrorKind::NotADirectory);
    }

    #[tokio::test]
    async fn every_waiter_is_served_by_a_sync_that_began_after_it_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, b"log").unwrap();
        let wal = Arc::new(Wal::new(path));
        let waiters: Vec<_> = (0..64)
            .map(|_| {
                let wal = Arc::clone(&wal);
                tokio::spawn(
                    async move { wal.sync().await.map(|()| wal.asked.load(Ordering::Acquire)) },
                )
            })
            .collect();
        for waiter in waiters {
            waiter.await.unwrap().unwrap();
        }
        assert_eq!(*wal.synced.lock().await, 64);
    }
}
