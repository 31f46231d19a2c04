//! `siji bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Output;

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Drains a topic of generated events into ledger and rollup, beside the raw consume rate of the same topic
    #[command(
        after_help = "Example: tests/kafka/with_kafka.sh -- sh -c 'siji bench aggregate --brokers $SIJI_TEST_BROKERS'"
    )]
    Aggregate(BenchAggregate),
    /// Durable accepts a second of one collector, at 1, 64 and 1,000 events a request
    #[command(after_help = "Example: siji bench collect --seconds 10 --output json")]
    Collect(BenchCollect),
    /// From the collector's 2xx to visible in SQL, at a steady rate, through all roles as processes
    #[command(after_help = "Example: siji bench freshness --rate 2000 --seconds 30 --output json")]
    Freshness(BenchFreshness),
    /// A day of small commits as fast as they go: commit time, files and memory must stay flat; exits with 1 if not
    #[command(after_help = "Example: siji bench soak --commits 86400 --data-dir /data/soak")]
    Soak(BenchSoak),
}

/// How events are written to the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EventFormat {
    Avro,
    Json,
}

#[derive(Debug, Args)]
pub struct BenchAggregate {
    /// Kafka
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: String,
    /// Events to drain
    #[arg(long, default_value_t = 1_000_000)]
    pub events: u64,
    /// Partitions of the topic
    #[arg(long, default_value_t = 4)]
    pub partitions: u16,
    /// How the events are written
    #[arg(long, value_enum, default_value_t = EventFormat::Avro)]
    pub format: EventFormat,
    /// Topic to use again: filled if it is empty, and kept. Without it the bench makes one of its own
    #[arg(long)]
    pub topic: Option<String>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct BenchCollect {
    /// Kafka to ship to meanwhile; without it everything stays in the spool
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// Connections that send one request after another
    #[arg(long, default_value_t = 64)]
    pub clients: usize,
    /// Seconds for each size of request
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Directory whose disk the spool is measured on; the system's temporary directory if absent
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct BenchFreshness {
    /// Kafka; the embedded broker if absent
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// Events a second
    #[arg(long, default_value_t = 2000)]
    pub rate: u64,
    /// Seconds to measure
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct BenchSoak {
    /// Commits; each stands for a second
    #[arg(long, default_value_t = 86_400)]
    pub commits: u64,
    /// Events in a commit
    #[arg(long, default_value_t = 40)]
    pub events: u64,
    /// Leave the maintainer out: shows what it is good for
    #[arg(long)]
    pub without_maintainer: bool,
    /// Directory for the lake; a temporary one if absent
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}
