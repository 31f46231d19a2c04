//! Opening the file: the first time, and again after its disk has failed.

use std::path::Path;

use super::append::{Appender, Buffers};
use super::error::SpoolError;
use super::record::{Greeting, Opening};
use super::store::{self, Head, OpenDatabase, Store};

/// Numbers of 16 digits: random enough never to meet, exact in every JSON reader, and nothing that a search for
/// identity or telephone numbers takes for one.
const INCARNATIONS: std::ops::RangeInclusive<i64> = 1_000_000_000_000_000..=9_007_199_254_740_991;

/// Opens the file and commits the greeting as sequence number 1 of a new incarnation: an opening that could not write
/// does not exist.
pub(super) fn open_and_greet(
    path: &Path,
    open: &OpenDatabase,
    check: bool,
    greeting: &Greeting,
    buffers: &mut Buffers,
) -> Result<(Store, Head, u64), SpoolError> {
    let store = Store::open(path, open, check)?;
    let incarnation = rand::random_range(INCARNATIONS);
    let result = store.head(incarnation).and_then(|head| {
        let record = greeting(&Opening {
            incarnation,
            previous: head.previous,
        });
        let head = store.write(|txn| {
            let mut head = head;
            let mut appender = Appender::new(txn, &mut head, buffers);
            appender.append(vec![record])?;
            appender.finish()?;
            let delivered = head.delivered;
            store::mark(txn, &mut head, delivered)?;
            store::put_head(txn, &head)?;
            Ok(head)
        })?;
        Ok((head, store.stuck()?))
    });
    let (head, stuck) = result.map_err(|e| SpoolError::of(path, e))?;
    Ok((store, head, stuck))
}

/// After a failed fsync the kernel may show pages that never reached the disk; reading them back proves nothing until
/// they are dropped.
pub(super) fn forget_cached_pages(path: &Path) {
    #[cfg(target_os = "linux")]
    {
        let dropped = std::fs::File::open(path)
            .map(|file| rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed));
        if !matches!(dropped, Ok(Ok(()))) {
            tracing::warn!(spool = %path.display(), "the spool's cached pages could not be dropped before the check");
        }
    }
    #[cfg(not(target_os = "linux"))]
    tracing::debug!(spool = %path.display(), "cached pages cannot be dropped on this system");
}
