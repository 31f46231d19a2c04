//! Compaction: many small files become few large ones (D8). Rows are appended and rewritten, never changed in place, so
//! any reader works before, during and after.
//!
//! [`plan`] decides which files to take together; it is pure. [`merge`] reads them as one run of rows in order, a batch
//! at a time, and [`output`] writes files of about the wanted size. What becomes of rows with the same key between the
//! two is the caller's affair, as is the commit: its `txn` makes two maintainers conflict instead of doubling rows.

pub mod merge;
pub mod output;
pub mod plan;
