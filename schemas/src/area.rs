//! The area tree: which communities, streets, districts, cities and provinces exist, under whom, and when.
//!
//! The registry is effective-dated (half-open local days) and ragged (a tier may be missing), and the parent is data:
//! nothing is derived from the digits of a code. [`AreaTree`] is built once from checked rows and then only read; its
//! look-ups allocate nothing.

mod changes;
mod check;
mod code;
mod day;
mod lineage;
mod registry;
mod row;
mod tier;
mod tree;

pub use changes::{AreaChange, ChangeKind};
pub use code::{AreaId, MAX_CODE_LEN};
pub use day::{Day, Zone};
pub use lineage::{Lineage, LineageCodes, Placement};
pub use registry::{AreaSource, BUILTIN};
pub use row::Area;
pub use tier::Tier;
pub use tree::AreaTree;

#[cfg(test)]
mod tests;
