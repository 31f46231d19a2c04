//! `siji quarantine`.

use clap::{Args, Subcommand};

use super::Output;

#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// Refused records and such that wait for their target, newest first; or how many there are of each kind
    #[command(
        after_help = "Examples:\n  siji quarantine list --summary --lake demo/lake\n  \
                      siji quarantine list --code V04 --source wuxing-01 --since 2026-03-01T00:00:00+08:00 --lake demo/lake"
    )]
    List(QuarantineList),
    /// One of them in full: why it was refused, and what it said
    #[command(after_help = "Example: siji quarantine show 0/3/128 --lake demo/lake")]
    Show(QuarantineShow),
}

#[derive(Debug, Args)]
pub struct QuarantineList {
    /// Only this code: V01 to V16
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Only what this collector sent
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Only what was taken in at this instant or later (RFC 3339, with its zone)
    #[arg(long, value_name = "INSTANT")]
    pub since: Option<String>,
    /// Only what was taken in before this instant
    #[arg(long, value_name = "INSTANT")]
    pub until: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// How many by code, field and source instead of one by one
    #[arg(long)]
    pub summary: bool,
    /// Lake: a directory or s3://bucket/prefix
    #[arg(long)]
    pub lake: Option<String>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct QuarantineShow {
    /// The record, as `list` names it: epoch/partition/offset
    #[arg(value_name = "RECORD")]
    pub record: String,
    /// Lake: a directory or s3://bucket/prefix
    #[arg(long)]
    pub lake: Option<String>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}
