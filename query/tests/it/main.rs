//! The query engine and its HTTP door over real tables in a real directory.

mod formats;
mod grain;
mod http;
mod lake;
mod limits;
mod pinning;
mod pruning;
mod reading_only;
mod sources;
mod tables;
mod whole_lake;
