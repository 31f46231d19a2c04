//! Benchmarks that print what they measured and on what.

pub mod aggregate;
mod load;
