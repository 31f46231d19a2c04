//! The lake: Delta tables of Parquet files on an object store, and the protocol that commits to them.
//!
//! Writing is siji's own ([`log`], [`table`]): append files, advance offsets, in one atomic log entry. Reading
//! ([`snapshot`]) and checkpoints ([`checkpoint`]) use delta-rs, as any other reader would. Small files become large
//! ones by [`compact`], what is left over goes by [`vacuum`] and [`log::cleanup`].
#![deny(missing_docs)]

pub mod checkpoint;
pub mod compact;
pub mod datafile;
pub mod durable;
mod error;
pub mod location;
pub mod log;
pub mod schema;
pub mod snapshot;
pub mod table;
pub mod vacuum;

pub use error::{LakeError, in_full};
pub use location::{Lake, LakeLocation};
pub use table::{TableWriter, Txn};
