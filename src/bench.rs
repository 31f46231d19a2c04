//! Benchmarks that print what they measured and on what.

pub mod aggregate;
mod client;
pub mod collect;
mod load;
mod process;
mod site;
