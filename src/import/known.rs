//! Whether what was read of a followed file still stands in it.
//!
//! A file that is written anew under its name looks like one that has grown. So its ends are compared at every look, and
//! all that was read of it after a restart, where it may be another file, and else as often as that costs a hundredth of
//! the time: a small file at every look, one of gigabytes every few minutes.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::position::Position;
use super::prefix::Prefix;

/// How many times as long as comparing took there is to pass before all is compared again.
const REST: u32 = 100;

/// By what one file is told from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub size: u64,
    pub modified_ms: i64,
    /// Device and inode. Some network shares give a file another one now and then.
    identity: (u64, u64),
}

impl Stamp {
    pub fn of(found: &Metadata) -> Stamp {
        let since = found
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ms = since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        });
        Stamp {
            size: found.len(),
            modified_ms,
            identity: (found.dev(), found.ino()),
        }
    }

    /// Whether nothing seems to have changed. Identities that change by themselves do not count.
    pub fn looks_like(self, other: Stamp) -> bool {
        (self.size, self.modified_ms) == (other.size, other.modified_ms)
    }

    /// Whether this may be another file than the one of `before`, and not the same grown longer.
    fn may_be_another(self, before: Stamp) -> bool {
        self.identity != before.identity
            || self.size < before.size
            || self.modified_ms < before.modified_ms
    }
}

/// What is known of a file from one look to the next.
#[derive(Debug)]
pub struct Known {
    /// What was read of it.
    pub prefix: Prefix,
    /// Whether all of that was compared at the last look, and not only its ends.
    pub in_full: bool,
    /// As it was at the last look.
    stamp: Stamp,
    /// When all was last compared.
    compared: Instant,
    /// How long that took.
    took: Duration,
}

/// A file in which everything stands that was read of it, opened to be read on.
#[derive(Debug)]
pub struct Open {
    pub file: File,
    pub known: Known,
}

impl Open {
    /// Its length when it was opened.
    pub fn size(&self) -> u64 {
        self.known.stamp.size
    }

    /// Whether the name still leads to this file.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        let named = Stamp::of(&std::fs::metadata(path)?);
        // As long as it is open, nothing else gets its identity.
        Ok(Stamp::of(&self.file.metadata()?).identity == named.identity)
    }
}

/// Looks whether what was read of a file up to `position` still stands in it; `None`: it does not.
pub async fn compare(
    path: &Path,
    position: &Position,
    known: Option<Known>,
) -> io::Result<Option<Open>> {
    let file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    if !position.may_be_of(&file)? {
        return Ok(None);
    }
    // Of a position of an earlier version only the beginning is known.
    let mut digest = position.read.clone();
    if let Some(mut known) = known.filter(|known| known.prefix.bytes() == position.offset) {
        if !known.prefix.ends_alike(&file)? {
            return Ok(None);
        }
        let may_wait = known.compared.elapsed() < known.took.saturating_mul(REST);
        if may_wait && !stamp.may_be_another(known.stamp) {
            (known.stamp, known.in_full) = (stamp, false);
            return Ok(Some(Open { file, known }));
        }
        digest = Some(known.prefix.digest());
    }
    let began = Instant::now();
    let (file, prefix) = first_bytes(file, position.offset).await?;
    let same = |prefix: &Prefix| digest.is_none_or(|digest| digest == prefix.digest());
    Ok(prefix.filter(same).map(|prefix| Open {
        file,
        known: Known {
            prefix,
            in_full: true,
            stamp,
            compared: Instant::now(),
            took: began.elapsed(),
        },
    }))
}

/// The bytes of a file before `end`; `None` where there are fewer. They may be gigabytes: nobody waits for them but who
/// asked.
async fn first_bytes(file: File, end: u64) -> io::Result<(File, Option<Prefix>)> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut prefix = Prefix::default();
        let all = prefix.read_on(&file, end)?;
        Ok::<_, io::Error>((file, all.then_some(prefix)))
    });
    reading.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const OFFSET: u64 = 3_000;

    fn rows() -> Vec<u8> {
        let rows: String = (0..500).map(|row| format!("v-{row},9:30\n")).collect();
        rows.into_bytes()
    }

    /// A file of which the first bytes were read.
    async fn read(directory: &Path) -> (PathBuf, Position, Open) {
        let path = directory.join("log.csv");
        std::fs::write(&path, rows()).unwrap();
        let mut position = Position::start(&path);
        let open = compare(&path, &position, None).await.unwrap();
        let mut open = open.unwrap();
        let prefix = &mut open.known.prefix;
        assert!(position.advance(&open.file, prefix, OFFSET, 250).unwrap());
        (path, position, open)
    }

    /// The rows with one that was corrected between the ends, where it is as long as before.
    fn corrected() -> Vec<u8> {
        let mut rows = rows();
        rows[1_500] ^= 1;
        rows
    }

    #[tokio::test]
    async fn a_file_that_grew_or_was_written_again_as_it_was_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let (path, position, open) = read(directory.path()).await;
        let mut rows = rows();
        rows.extend_from_slice(b"v-500,9:30\n");
        std::fs::write(&path, &rows).unwrap();
        let open = compare(&path, &position, Some(open.known)).await.unwrap();
        let again = directory.path().join("again.csv");
        std::fs::write(&again, &rows).unwrap();
        std::fs::rename(&again, &path).unwrap();
        let known = open.unwrap().known;
        let open = compare(&path, &position, Some(known)).await.unwrap();
        assert!(open.unwrap().known.in_full, "it had another identity");
    }

    #[tokio::test]
    async fn a_file_that_differs_between_its_ends_is_another_one_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut position, _) = read(directory.path()).await;
        std::fs::write(&path, corrected()).unwrap();
        let found = compare(&path, &position, None).await.unwrap();
        assert!(found.is_none());
        position.read = None;
        let found = compare(&path, &position, None).await.unwrap();
        assert!(found.is_some(), "a position of an earlier version");
    }

    #[tokio::test]
    async fn comparing_all_that_was_read_waits_its_turn_unless_the_file_may_be_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let (path, position, mut open) = read(directory.path()).await;
        let later = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let of_time = |path: &Path, seconds: u64| {
            let file = File::options().append(true).open(path).unwrap();
            file.set_modified(later(seconds)).unwrap();
        };
        of_time(&path, 2_000_000_000);
        open.known.took = Duration::from_secs(3_600);
        let open = compare(&path, &position, Some(open.known)).await.unwrap();
        std::fs::write(&path, corrected()).unwrap();
        of_time(&path, 2_000_000_001);
        let known = open.unwrap().known;
        let open = compare(&path, &position, Some(known)).await.unwrap();
        let mut known = open.unwrap().known;
        assert!(!known.in_full);

        known.took = Duration::ZERO;
        let found = compare(&path, &position, Some(known)).await.unwrap();
        assert!(found.is_none(), "it was its turn");

        let (path, position, mut open) = read(directory.path()).await;
        of_time(&path, 2_000_000_000);
        open.known.took = Duration::from_secs(3_600);
        let open = compare(&path, &position, Some(open.known)).await.unwrap();
        std::fs::write(&path, corrected()).unwrap();
        of_time(&path, 1_999_999_999);
        let known = open.unwrap().known;
        let found = compare(&path, &position, Some(known)).await.unwrap();
        assert!(found.is_none(), "it is older than before");
    }
}
