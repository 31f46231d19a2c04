//! What the maintainer is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use siji_lake::compact::plan::Policy;
use siji_lake::log::cleanup::Keep;

use crate::config::at_least;

/// `[maintain]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaintainConfig {
    /// Whether the aggregator folds files at all. Without it, run `siji lake compact` from time to time.
    pub enabled: bool,
    /// Seconds between two rounds.
    pub interval_s: u64,
    /// Size of folded files, in MiB. Files of half this size are left alone.
    pub target_mb: u64,
    /// MiB of files that one fold reads at most: of each file a row group is in memory, in about three times its bytes.
    pub job_mb: u64,
    /// Files that one fold reads at most. All are open at once, and each takes about 4 MB for the contexts of its columns.
    pub job_files: usize,
    /// Files of about the same size that gather before they are folded into one.
    pub fan_in: usize,
    /// How long entries of the tables' logs are kept, in minutes: how far back any version can be read.
    pub log_retain_minutes: u64,
    /// How long files stay after they were folded, in hours: as long as the longest query may take.
    pub vacuum_retain_hours: u64,
}

impl Default for MaintainConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_s: 60,
            target_mb: 128,
            job_mb: 64,
            job_files: 32,
            fan_in: 8,
            log_retain_minutes: 120,
            vacuum_retain_hours: 24,
        }
    }
}

impl MaintainConfig {
    /// What is wrong with it, naming the key.
    pub fn check(&self) -> Result<(), String> {
        at_least(
            "maintain",
            &[
                ("interval_s", self.interval_s, 1),
                ("target_mb", self.target_mb, 1),
                ("job_mb", self.job_mb, 1),
                ("job_files", self.job_files as u64, 2),
                ("fan_in", self.fan_in as u64, 2),
                ("log_retain_minutes", self.log_retain_minutes, 10),
                ("vacuum_retain_hours", self.vacuum_retain_hours, 1),
            ],
        )
    }

    /// Time between two rounds.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s)
    }

    /// Which files are folded.
    pub fn policy(&self) -> Policy {
        Policy {
            target_bytes: self.target_mb << 20,
            job_bytes: self.job_mb << 20,
            job_files: self.job_files,
            fan_in: self.fan_in,
            everything: false,
            by_month: false,
        }
    }

    /// How long files stay after they were folded.
    pub fn vacuum_retain(&self) -> Duration {
        Duration::from_secs(self.vacuum_retain_hours * 3600)
    }

    /// How long logs are kept.
    pub fn keep(&self) -> Keep {
        Keep {
            entries: Duration::from_secs(self.log_retain_minutes * 60),
            checkpoints: self.vacuum_retain(),
        }
    }
}
