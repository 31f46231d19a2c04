//! Listing a log while it grows.
//!
//! A directory is read piece by piece. Of two files that are made meanwhile the later one may be found and the earlier
//! one not, so a listing of a log can show version 7 without version 6: to a reader a damaged table. Entries are made in
//! order, so what is missing below the last one is looked for by name.

use std::collections::BTreeSet;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt, Result};

use crate::log::objects::{Part, part_of};
use crate::log::{FOLDER, entry_name};

/// Many more commits than can be made while a directory is read.
const LOOKED_AT: i64 = 1000;

/// `listing` of the folder `prefix` from behind `offset`; if it is a log, without holes at its end.
pub(super) fn without_holes(
    store: &LocalFileSystem,
    prefix: Option<&Path>,
    offset: Option<&Path>,
    listing: BoxStream<'static, Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let Some(folder) = prefix.filter(|prefix| prefix.filename() == Some(FOLDER)) else {
        return listing;
    };
    let (store, folder, offset) = (store.clone(), folder.clone(), offset.cloned());
    stream::once(async move {
        let mut objects: Vec<ObjectMeta> = listing.try_collect().await?;
        let names = objects.iter().filter_map(|it| it.location.filename());
        let offset = offset.as_ref().and_then(|offset| offset.filename());
        for version in holes(names, offset) {
            match store.head(&folder.clone().join(entry_name(version))).await {
                Ok(found) => objects.push(found),
                // Cleaned up.
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok::<_, Error>(stream::iter(objects.into_iter().map(Ok)))
    })
    .try_flatten()
    .boxed()
}

/// Versions without an entry below the last one that has one.
fn holes<'n>(names: impl Iterator<Item = &'n str>, offset: Option<&str>) -> Vec<i64> {
    let (mut entries, mut checkpoint) = (BTreeSet::new(), None);
    for (version, part) in names.filter_map(part_of) {
        match part {
            Part::Entry => {
                entries.insert(version);
            }
            Part::Checkpoint => checkpoint = checkpoint.max(Some(version)),
        }
    }
    let (Some(first), Some(last)) = (entries.first().copied(), entries.last().copied()) else {
        return Vec::new();
    };
    let begin = match offset {
        // A reader asks from a version it knows, or from the one behind its checkpoint, which may just have been made.
        Some(offset) => offset
            .get(..20)
            .and_then(|version| version.parse().ok())
            .map_or(first, |version: i64| {
                version + i64::from(*entry_name(version) <= *offset)
            }),
        None => checkpoint.map_or(first, |checkpoint: i64| first.min(checkpoint + 1)),
    };
    (begin.max(last - LOOKED_AT)..last)
        .filter(|version| !entries.contains(version))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str], offset: Option<&str>) -> Vec<i64> {
        let names: Vec<String> = names
            .iter()
            .map(|name| match name.split_once('.') {
                Some((version, rest)) => format!("{version:0>20}.{rest}"),
                None => (*name).to_owned(),
            })
            .collect();
        holes(names.iter().map(String::as_str), offset)
    }

    #[test]
    fn what_lies_between_entries_is_a_hole_and_what_lies_before_them_is_not() {
        let listed = ["7.json", "4.json", "_last_checkpoint", "5.json"];
        assert_eq!(of(&listed, None), [6]);
        assert_eq!(of(&["7.json"], None), [0; 0]);
        assert_eq!(of(&["_last_checkpoint"], None), [0; 0]);
    }

    #[test]
    fn the_entry_behind_a_checkpoint_or_a_known_version_may_be_the_missing_one() {
        assert_eq!(of(&["4.checkpoint.parquet", "6.json"], None), [5]);
        assert_eq!(of(&["6.json"], Some("00000000000000000004")), [4, 5]);
        assert_eq!(of(&["6.json"], Some("00000000000000000004.json")), [5]);
    }

    #[test]
    fn only_the_end_is_looked_at() {
        assert_eq!(of(&["1.json", "1000000.json"], None).len(), 1000);
    }
}
