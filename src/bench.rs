//! Benchmarks that print what they measured and on what.

pub mod aggregate;
mod client;
pub mod collect;
pub mod freshness;
mod load;
mod process;
mod site;
pub mod soak;
