//! A disk that keeps only what was synced, fills up, and can be cut off at any operation.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redb::{Database, DatabaseError, StorageBackend};

use crate::spool::store::OpenDatabase;

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => content.resize(*length as usize, 0),
        Change::Write(offset, data) => {
            let end = *offset as usize + data.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset as usize..end].copy_from_slice(data);
        }
    }
}

#[derive(Debug, Default)]
struct State {
    durable: Vec<u8>,
    seen: Vec<u8>,
    unsynced: Vec<Change>,
    /// Operations until every further one fails.
    fuse: Option<usize>,
    capacity: Option<usize>,
    syncs: usize,
    hangs: bool,
}

/// The disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// After that many changes, all fail.
    pub fn cut_after(&self, changes: usize) {
        self.0.lock().unwrap().fuse = Some(changes);
    }

    /// Writes beyond that many bytes fail as on a full disk.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.0.lock().unwrap().capacity = bytes;
    }

    /// From now on, or no more, an fsync does not return.
    pub fn set_hanging(&self, hangs: bool) {
        self.0.lock().unwrap().hangs = hangs;
    }

    /// The fsyncs so far.
    pub fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }

    /// The disk as found when the power is back: what was synced, and of the rest those changes `survives` picks.
    pub fn after_power_cut(&self, mut survives: impl FnMut() -> bool) -> Disk {
        let state = self.0.lock().unwrap();
        let mut durable = state.durable.clone();
        for change in &state.unsynced {
            // A file system journals lengths in order; data may be lost piecemeal.
            if matches!(change, Change::Length(_)) || survives() {
                apply(&mut durable, change);
            }
        }
        Disk(Arc::new(Mutex::new(State {
            seen: durable.clone(),
            durable,
            ..State::default()
        })))
    }

    /// Opens the database that lies on this disk.
    pub fn opener(&self) -> OpenDatabase {
        let disk = self.clone();
        Box::new(move |_: &Path, check: bool| disk.open(check))
    }

    /// The database that lies on this disk.
    pub fn open(&self, check: bool) -> std::result::Result<Database, DatabaseError> {
        let mut builder = Database::builder();
        builder
            .set_cache_size(1 << 20)
            .set_check_integrity_on_open(check);
        builder.create_with_backend(self.clone())
    }

    fn change(&self, change: Change) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        state.burn()?;
        if let (Some(capacity), Change::Write(offset, data)) = (state.capacity, &change)
            && *offset as usize + data.len() > capacity
        {
            return Err(Error::from(ErrorKind::StorageFull));
        }
        apply(&mut state.seen, &change);
        state.unsynced.push(change);
        Ok(())
    }
}

impl State {
    fn burn(&mut self) -> Result<()> {
        match &mut self.fuse {
            Some(0) => Err(Error::other("the disk is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let state = self.0.lock().unwrap();
        let start = offset as usize;
        let found = state
            .seen
            .get(start..start + out.len())
            .ok_or(Error::from(ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.change(Change::Length(len))
    }

    fn sync_data(&self) -> Result<()> {
        while self.0.lock().unwrap().hangs {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut state = self.0.lock().unwrap();
        state.burn()?;
        state.syncs += 1;
        state.durable = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.change(Change::Write(offset, data.to_vec()))
    }
}
