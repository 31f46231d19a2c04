//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod bench;
mod lake;
mod quarantine;

pub use bench::{Bench, BenchAggregate, BenchCollect, BenchFreshness, BenchSoak, EventFormat};
pub use lake::{Lake, LakeCompact, LakeRebuild, LakeVacuum};
pub use quarantine::{Quarantine, QuarantineList, QuarantineShow};

/// siji (四级): service events of communities, exact at community, street, district and city.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Configuration file (TOML). Each key can also be set as SIJI_SECTION_KEY
    #[arg(long, global = true, env = "SIJI_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// A whole pipeline in one process on a real city: broker, collectors, aggregator, query server
    #[command(after_help = "Example: siji demo --city huzhou --events 200000 --exit --output json")]
    Demo(Demo),
    /// An embedded Kafka broker for a laptop or a small site
    #[command(after_help = "Example: siji broker --data-dir data/broker --listen 127.0.0.1:9092")]
    Broker(Broker),
    /// Takes events from a community over HTTP, keeps them safe and ships them to Kafka
    #[command(after_help = "Examples:\n  siji collector --config site.toml\n  \
                      siji collector resend --since 2026-11-23T06:00:00+08:00 --config site.toml")]
    Collector(Collector),
    /// Reads Kafka into the ledger and rolls it up
    #[command(
        after_help = "Example: siji aggregator --lake /srv/siji/lake --brokers kafka1:9092,kafka2:9092"
    )]
    Aggregator(Aggregator),
    /// Brings an old log in: rows of CSV, XLSX or NDJSON files become events as a mapping file says
    #[command(
        after_help = "Examples:\n  siji import --mapping map.toml --dry-run log.csv\n  \
                      siji import --mapping map.toml --data-dir data/log log-2024.csv log-2025.csv\n  \
                      siji import --mapping map.toml --collector http://127.0.0.1:8471 --token $TOKEN log.xlsx"
    )]
    Import(Import),
    /// Follows a file that grows, or a directory into which files are dropped, and sends what is new to a collector
    #[command(
        after_help = "Example: siji collect --follow /srv/drop --mapping map.toml --collector http://127.0.0.1:8471"
    )]
    Collect(Collect),
    /// Answers SQL over HTTP
    #[command(after_help = "Example: siji server --lake /srv/siji/lake --listen 127.0.0.1:8470")]
    Server(Server),
    /// Runs one SQL query over a lake or a server
    #[command(
        after_help = "Examples:\n  siji sql \"SELECT district_code, sum(events) FROM rollup_district GROUP BY 1\" --lake demo/lake\n  \
                      siji sql \"SELECT * FROM events\" --lake demo/lake -o events.parquet"
    )]
    Sql(Sql),
    /// Writes a table as Parquet, with a manifest of rows and checksums
    #[command(
        after_help = "Examples:\n  siji export --table events --where \"local_date >= '2026-01-01'\" -o events.parquet --lake demo/lake\n  \
                      siji export --table rollup_district --partition-by district_code -o districts/ --server http://127.0.0.1:8470"
    )]
    Export(Export),
    /// Audits a lake: each offset once, every tier equal to a recomputation, sequence gaps. Exit 3 on a difference
    #[command(after_help = "Example: siji verify --lake demo/lake")]
    Verify(Verify),
    /// Maintenance of a lake by hand: folding small files, deleting unused ones, making derived tables anew
    #[command(subcommand)]
    Lake(Lake),
    /// What was refused, and why
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Operator's decisions about Kafka offsets
    #[command(subcommand)]
    Offsets(Offsets),
    /// Measures the pipeline on this machine
    #[command(subcommand)]
    Bench(Bench),
    /// Draws an access token for a collector and prints the hash to put in its configuration
    #[command(after_help = "Example: siji token")]
    Token(Token),
    /// Checks configuration, catalogue and area registries, naming file, line and reason of every problem
    #[command(after_help = "Example: siji check --config site.toml --catalogue city/")]
    Check(Check),
}

/// Which reference data to work with.
#[derive(Debug, Clone, Default, Args)]
pub struct ReferenceArgs {
    /// Built-in area registries, separated by commas: huzhou, changzhou, fuzhou, beijing, guangdong
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub cities: Option<Vec<String>>,
    /// Directory with a city's own catalogue and `areas/*.csv`
    #[arg(long, value_name = "DIR")]
    pub catalogue: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// City: huzhou, changzhou, fuzhou, beijing or guangdong (the province)
    #[arg(long, default_value = "huzhou")]
    pub city: String,
    /// Events to generate
    #[arg(long, default_value_t = 20_000)]
    pub events: u64,
    /// Where lake, spools and broker keep their data; a new temporary directory if absent
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Kafka to use in place of the embedded broker
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// Topic
    #[arg(long, default_value = siji_schemas::wire::TOPIC)]
    pub topic: String,
    /// Seed of the generator: the same seed sends the same events
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Address of the query server
    #[arg(long, default_value = "127.0.0.1:8470")]
    pub listen: SocketAddr,
    /// End when everything is in the lake and verified
    #[arg(long)]
    pub exit: bool,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Broker {
    /// Address for Kafka clients
    #[arg(long)]
    pub listen: Option<SocketAddr>,
    /// HOST or HOST:PORT that clients are told to connect to
    #[arg(long)]
    pub advertised: Option<String>,
    /// Directory of the broker's data
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of health and metrics
    #[arg(long)]
    pub admin: Option<SocketAddr>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Collector {
    /// Address of the HTTP door
    #[arg(long)]
    pub listen: Option<String>,
    /// Kafka
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// Directory of the spool
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub reference: ReferenceArgs,
    #[command(subcommand)]
    pub job: Option<CollectorJob>,
}

#[derive(Debug, Subcommand)]
pub enum CollectorJob {
    /// Has records sent again that were delivered, after a broker lost them. The collector must not run meanwhile; it
    /// sends them at its next start, and the ledger counts none of them twice
    Resend(Resend),
}

#[derive(Debug, Args)]
pub struct Resend {
    /// Delivered after this instant (RFC 3339, with its zone)
    #[arg(long, value_name = "INSTANT")]
    pub since: String,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Aggregator {
    /// Lake: a directory or s3://bucket/prefix
    #[arg(long)]
    pub lake: Option<String>,
    /// Kafka
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// Topic
    #[arg(long)]
    pub topic: Option<String>,
    /// Partitions of the topic
    #[arg(long)]
    pub partitions: Option<i32>,
    /// Consumer group that shares the partitions; one for each lake unless named. "" takes all partitions alone
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Name in the group that outlives a restart, so that partitions do not move for it
    #[arg(long, value_name = "NAME")]
    pub instance_id: Option<String>,
    /// Address of health and metrics
    #[arg(long)]
    pub admin: Option<SocketAddr>,
    #[command(flatten)]
    pub reference: ReferenceArgs,
}

#[derive(Debug, Args)]
pub struct Import {
    /// How rows become events; docs/import.md explains it
    #[arg(long, value_name = "MAP.toml")]
    pub mapping: PathBuf,
    /// Collector to send to
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    pub collector: Option<url::Url>,
    /// Token for the collector; with the right `import` it may say when a row was recorded
    #[arg(long, env = "SIJI_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Import through a whole pipeline in this directory, until all of it is in DIR/lake
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Only say what the rows would become
    #[arg(long, conflicts_with_all = ["collector", "data_dir"])]
    pub dry_run: bool,
    /// Directory for rejects files; beside each file if absent
    #[arg(long, value_name = "DIR")]
    pub rejects: Option<PathBuf>,
    #[command(flatten)]
    pub reference: ReferenceArgs,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Files to import
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Collect {
    /// File, or directory whose .csv, .tsv, .txt, .xlsx, .ndjson and .jsonl files are followed
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub follow: PathBuf,
    /// How rows become events; docs/import.md explains it
    #[arg(long, value_name = "MAP.toml")]
    pub mapping: PathBuf,
    /// Collector to send to
    #[arg(long, value_name = "URL")]
    pub collector: url::Url,
    /// Token for the collector
    #[arg(long, env = "SIJI_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Directory in which is kept how far each file was read
    #[arg(long, value_name = "DIR", default_value = "data/follow")]
    pub state: PathBuf,
    /// Directory for rejects files; beside each file if absent
    #[arg(long, value_name = "DIR")]
    pub rejects: Option<PathBuf>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub every: u64,
    /// Seconds after which a file that has not changed is complete
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub settled: u64,
    #[command(flatten)]
    pub reference: ReferenceArgs,
}

#[derive(Debug, Args)]
pub struct Server {
    /// Lake: a directory or s3://bucket/prefix
    #[arg(long)]
    pub lake: Option<String>,
    /// Address of HTTP
    #[arg(long)]
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub struct Sql {
    /// The query
    pub query: String,
    /// Lake: a directory or s3://bucket/prefix
    #[arg(long, conflicts_with = "server")]
    pub lake: Option<String>,
    /// Server to ask instead
    #[arg(long, value_name = "URL")]
    pub server: Option<url::Url>,
    /// Token for the server
    #[arg(long, env = "SIJI_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// File to write; the format follows the ending: .csv .json .ndjson .arrow .parquet
    #[arg(short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// table, csv, json, ndjson, arrow or parquet
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// `json` is the same as --format json
    #[arg(long, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct Export {
    /// Table or view
    #[arg(long, value_name = "NAME")]
    pub table: String,
    /// Condition on its rows, in SQL
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// Column of which each value gets a directory of its own, as `column=value/`
    #[arg(long, value_name = "COLUMN")]
    pub partition_by: Option<String>,
    /// File that ends in .parquet, or a new directory
    #[arg(short, long = "out", value_name = "DIR_OR_FILE")]
    pub out: PathBuf,
    /// Lake: a directory or s3://bucket/prefix
    #[arg(long, conflicts_with = "server")]
    pub lake: Option<String>,
    /// Server to ask instead
    #[arg(long, value_name = "URL")]
    pub server: Option<url::Url>,
    /// Token for the server
    #[arg(long, env = "SIJI_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Lake: a directory or s3://bucket/prefix
    #[arg(long)]
    pub lake: Option<String>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Subcommand)]
pub enum Offsets {
    /// Accepts that records are gone (a gap), or that a topic is a new one (a new epoch), so that a partition goes on
    #[command(
        after_help = "Example: siji offsets accept --partition 3 --lake /srv/siji/lake --brokers kafka1:9092"
    )]
    Accept(Accept),
}

#[derive(Debug, Args)]
pub struct Accept {
    /// The stopped partition
    #[arg(long)]
    pub partition: i32,
    #[command(flatten)]
    pub aggregator: Aggregator,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Token {
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Mapping file of an import to check as well
    #[arg(long, value_name = "MAP.toml")]
    pub mapping: Option<PathBuf>,
    #[command(flatten)]
    pub reference: ReferenceArgs,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}
