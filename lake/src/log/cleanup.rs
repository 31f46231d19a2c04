//! Log clean-up: entries and checkpoints that nobody needs any more (D8).
//!
//! A table can be rebuilt from a checkpoint and the entries after it. So what lies before a checkpoint that is older
//! than the retention may go: every version that was the newest within the retention stays readable. Of the older
//! checkpoints a few stay for longer, without entries: [`crate::vacuum`] tells by them what readers may still hold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};

use super::objects::{LogObject, Part, last_checkpoint, list};
use crate::{Lake, LakeError};

/// Of the checkpoints that are kept for longer, so many are spread over that time.
const ANCHORS: u32 = 24;
const AT_ONCE: usize = 16;

/// How long a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Entries: how far back any version can be read.
    pub entries: Duration,
    /// Some checkpoints: how far back it can be told which files were live.
    pub checkpoints: Duration,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Entries and checkpoints.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What [`clean`] would remove at `now` (since 1970).
pub async fn preview(
    lake: &Lake,
    table: &str,
    keep: Keep,
    now: Duration,
) -> Result<Cleaned, LakeError> {
    let store = PrefixStore::new(lake.root_store(), lake.table_path(table));
    Ok(counted(&unneeded(&store, keep, now).await?))
}

/// Removes what a table's log no longer needs at `now` (since 1970).
pub async fn clean(
    lake: &Lake,
    table: &str,
    keep: Keep,
    now: Duration,
) -> Result<Cleaned, LakeError> {
    let store = PrefixStore::new(lake.root_store(), lake.table_path(table));
    let expired = unneeded(&store, keep, now).await?;
    let cleaned = counted(&expired);
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    // Entries first: a checkpoint without the entries before it is whole, entries without a beginning are not.
    let (entries, checkpoints): (Vec<_>, Vec<_>) = expired
        .into_iter()
        .partition(|object| object.part == Part::Entry);
    for objects in [entries, checkpoints] {
        stream::iter(objects)
            .map(|object| {
                let store = Arc::clone(&store);
                async move {
                    match store.delete(&object.path).await {
                        // Somebody else cleans too.
                        Err(object_store::Error::NotFound { .. }) => Ok(()),
                        deleted => deleted,
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
    }
    Ok(cleaned)
}

async fn unneeded(
    store: &impl ObjectStore,
    keep: Keep,
    now: Duration,
) -> Result<Vec<LogObject>, LakeError> {
    let objects = list(store).await?;
    let hint = last_checkpoint(store).await?;
    Ok(expired(&objects, hint, keep, now)
        .into_iter()
        .cloned()
        .collect())
}

fn counted(expired: &[LogObject]) -> Cleaned {
    Cleaned {
        objects: expired.len() as u64,
        bytes: expired.iter().map(|object| object.bytes).sum(),
    }
}

/// Which objects nobody needs at `now`. `hint` is where readers begin.
pub(crate) fn expired(
    objects: &[LogObject],
    hint: Option<i64>,
    keep: Keep,
    now: Duration,
) -> Vec<&LogObject> {
    let before = now.saturating_sub(keep.entries);
    // Without the hint readers list the log and would find the same checkpoint; but then something is amiss: wait.
    let Some(hint) = hint else {
        return Vec::new();
    };
    let begin = objects
        .iter()
        .filter(|object| object.part == Part::Checkpoint)
        .filter(|object| object.modified <= before && object.version <= hint)
        .map(|object| object.version)
        .max();
    let Some(begin) = begin else {
        return Vec::new();
    };
    let kept = anchors(objects, begin, keep.checkpoints, now);
    objects
        .iter()
        .filter(|object| object.version < begin && object.modified <= before)
        .filter(|object| object.part == Part::Entry || !kept.contains(&object.version))
        .collect()
}

/// Versions of older checkpoints that stay: the newest of each span of time, and the newest one beyond all of them.
fn anchors(objects: &[LogObject], begin: i64, keep: Duration, now: Duration) -> BTreeSet<i64> {
    let span = (keep / ANCHORS).as_millis().max(1);
    let oldest = now.saturating_sub(keep);
    let mut checkpoints: Vec<&LogObject> = objects
        .iter()
        .filter(|object| object.part == Part::Checkpoint && object.version < begin)
        .collect();
    checkpoints.sort_by_key(|object| std::cmp::Reverse(object.version));
    let mut kept = BTreeSet::new();
    let mut spans = BTreeSet::new();
    for object in checkpoints {
        let beyond = object.modified <= oldest;
        if spans.insert(object.modified.as_millis() / span) || beyond {
            kept.insert(object.version);
        }
        if beyond {
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests;
