//! How much the spool may hold, and when it says no.

use serde::Deserialize;

/// Limits of a spool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolLimits {
    /// Most bytes of disk for blocks, delivered ones included. Default 2 GiB.
    pub max_bytes: u64,
    /// Part of `max_bytes` that intake may not use: deleting copies pages first, and a request in hand must still
    /// fit. Default 64 MiB, at most an eighth of `max_bytes`.
    pub reserve_bytes: u64,
    /// How long delivered records are kept to be sent again, as far as the room allows. Default 24.
    pub retention_hours: u64,
    /// Most requests that may wait for the next commit. Default 512.
    pub queue_requests: usize,
    /// Memory for the database's page cache. Default 2 MiB.
    pub cache_bytes: usize,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        SpoolLimits {
            max_bytes: 2 << 30,
            reserve_bytes: 64 << 20,
            retention_hours: 24,
            queue_requests: 512,
            cache_bytes: 2 << 20,
        }
    }
}

impl SpoolLimits {
    /// Bytes at which intake stops.
    pub fn full_at(&self) -> u64 {
        self.max_bytes - self.reserve_bytes.min(self.max_bytes / 8)
    }

    /// Bytes at which delivered blocks are deleted before their time, so that intake does not have to stop.
    pub(super) fn crowded_at(&self) -> u64 {
        self.full_at() - self.full_at() / 16
    }

    /// How long delivered records are kept, in milliseconds.
    pub(super) fn retention_ms(&self) -> i64 {
        i64::try_from(self.retention_hours)
            .unwrap_or(i64::MAX)
            .saturating_mul(3_600_000)
    }
}
