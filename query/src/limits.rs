//! What one query, and all of them together, may use.

use std::time::Duration;

/// Limits of an engine. Every one of them ends in an error that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the request to its last row.
    pub deadline: Duration,
    /// Memory of one query in bytes, as far as operators account for it (sorts, joins, aggregates).
    pub memory_bytes: usize,
    /// Memory of all running queries together, in bytes.
    pub total_memory_bytes: usize,
    /// Temporary files of all running queries together, in bytes: sorts and aggregates beyond their memory go there.
    /// 0 forbids temporary files.
    pub spill_bytes: u64,
    /// Rows of one result; `None` for no limit. A door may ask for a smaller one.
    pub max_rows: Option<u64>,
    /// Length of the SQL text in bytes.
    pub max_sql_bytes: usize,
    /// Words, numbers and signs in the SQL text. It bounds how deep a plan can get.
    pub max_sql_tokens: usize,
    /// Queries that run at the same time.
    pub concurrent: usize,
    /// Queries that may wait for a place; one more is refused at once.
    pub waiting: usize,
    /// How long a query waits for a place.
    pub patience: Duration,
    /// Threads that run queries, and the partitions of one plan.
    pub threads: usize,
    /// Cache of Parquet footers and page indexes, in bytes.
    pub metadata_cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            memory_bytes: 256 << 20,
            total_memory_bytes: 1 << 30,
            spill_bytes: 4 << 30,
            max_rows: None,
            max_sql_bytes: 256 << 10,
            max_sql_tokens: 40_000,
            concurrent: 8,
            waiting: 64,
            patience: Duration::from_secs(10),
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            metadata_cache_bytes: 256 << 20,
        }
    }
}
