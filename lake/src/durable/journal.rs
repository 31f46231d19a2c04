//! What is done to the disk, step by step, for tests that cut the power between two of them. Elsewhere it costs nothing.

use std::path::Path;

/// One step that a power cut may come before or after.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), allow(dead_code, reason = "only tests look at it"))]
pub(super) enum Step<'p> {
    /// A directory is there.
    Directory(&'p Path),
    /// An empty file is there.
    File(&'p Path),
    /// All bytes of a file are on disk.
    Synced(&'p Path),
    /// A file has another name.
    Renamed(&'p Path, &'p Path),
    /// A file has a second name.
    Linked(&'p Path, &'p Path),
    /// A name is gone.
    Removed(&'p Path),
    /// The names in a directory are on disk.
    Names(&'p Path),
}

/// Says that a step was done.
#[cfg(not(test))]
pub(super) fn done(_: Step<'_>) {}

#[cfg(test)]
pub(super) use super::power::done;
