//! `siji lake`.

use clap::{Args, Subcommand};

use super::Output;

#[derive(Debug, Subcommand)]
pub enum Lake {
    /// Folds small files into large ones; the day grain follows the hour grain. Safe beside a running aggregator
    #[command(
        after_help = "Examples:\n  siji lake compact --lake /srv/siji/lake\n  \
                      siji lake compact --table ledger --output json"
    )]
    Compact(LakeCompact),
    /// Deletes files that no reader can still hold and log entries that are older than their retention
    #[command(
        after_help = "Example: siji lake vacuum --retain-hours 24 --dry-run --lake /srv/siji/lake"
    )]
    Vacuum(LakeVacuum),
    /// Makes a derived table anew from the ledger, without Kafka, in one commit. A running aggregator starts over once
    #[command(after_help = "Example: siji lake rebuild --table rollup --lake /srv/siji/lake")]
    Rebuild(LakeRebuild),
}

#[derive(Debug, Args)]
pub struct LakeCompact {
    /// Lake: a directory or s3://bucket/prefix
    #[arg(long)]
    pub lake: Option<String>,
    /// One table instead of all: rollup, rollup_day, ledger or registers
    #[arg(long)]
    pub table: Option<String>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct LakeVacuum {
    /// Lake: a directory or s3://bucket/prefix
    #[arg(long)]
    pub lake: Option<String>,
    /// Files stay for this long after they left a table; as the configuration says if absent
    #[arg(long, value_name = "N")]
    pub retain_hours: Option<u64>,
    /// Only say what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Allow less than an hour. Queries that are running may fail. Files younger than an hour stay all the same: they may
    /// be part of a commit under way
    #[arg(long)]
    pub allow_short_retention: bool,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct LakeRebuild {
    /// Lake: a directory or s3://bucket/prefix
    #[arg(long)]
    pub lake: Option<String>,
    /// rollup (its days too), rollup_day or registers
    #[arg(long)]
    pub table: String,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}
