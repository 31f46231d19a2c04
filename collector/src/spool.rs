//! The collector's promise on disk: a first-in-first-out store of Kafka records in a `redb` file.
//!
//! ```text
//!   append ──> bounded queue ──> writer thread: one transaction, one fsync for all that wait ──> receipts
//!                                    │  stamps incarnation and sequence number in spool order
//!   ship  <── pages of blocks <──────┘  marks what was delivered, deletes what is old
//! ```
//!
//! * A receipt means: on disk, fsynced, and numbered without a gap.
//! * Delivery marks may be lost in a crash; what they covered is then sent again, which the ledger recognises.
//! * After any failure of the disk nothing is accepted until the file was closed, reopened, read through and written
//!   to again; that opening has a new incarnation, so no sequence number can mean two things.

mod append;
mod block;
mod error;
mod handle;
mod limits;
mod opening;
mod record;
mod store;
mod upkeep;
mod writer;

pub use block::{Block, BlockHeader, Damage, Records, SpooledRecord};
pub use error::SpoolError;
pub use handle::{AppendError, Gauges, Mark, Receipt, Resent, Spool};
pub use limits::SpoolLimits;
pub use record::{Greeting, Opening, Record, Value};
pub use store::{Stretch, Stuck};

#[cfg(test)]
pub(crate) mod tests;
