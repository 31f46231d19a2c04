//! One function a command.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::cli::{Bench, Cli, Command, Offsets};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::telemetry::{self, Kind};

mod aggregator;
mod bench;
mod broker;
mod check;
mod collect;
mod collector;
mod demo;
mod export;
mod import;
mod lake;
mod offsets;
mod quarantine;
mod server;
mod sql;
pub mod token;
mod verify;

/// Runs the command; the exit code says how it went.
pub async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let mut settings = Settings::load(cli.config.as_deref())?;
    let kind = kind(&cli.command);
    if !matches!(kind, Kind::Role(_)) || matches!(cli.command, Command::Demo(_)) {
        // A person is looking: only what needs attention.
        settings.log.level = quieter(&settings.log.level);
    }
    settings.check()?;
    telemetry::start(&settings.log, &settings.telemetry, kind)?;
    for variable in Settings::strangers() {
        tracing::warn!(
            variable,
            "names no section of the configuration and is not used"
        );
    }
    match cli.command {
        Command::Demo(args) => demo::run(args, settings).await,
        Command::Broker(args) => broker::run(args, settings).await,
        Command::Collector(args) => collector::run(args, settings).await,
        Command::Aggregator(args) => aggregator::run(args, settings).await,
        Command::Collect(args) => collect::run(args, settings).await,
        Command::Import(args) => import::run(args, settings).await,
        Command::Server(args) => server::run(args, settings).await,
        Command::Sql(args) => sql::run(args, settings).await,
        Command::Export(args) => export::run(args, settings).await,
        Command::Verify(args) => verify::run(args, settings).await,
        Command::Lake(job) => lake::run(job, settings).await,
        Command::Quarantine(job) => quarantine::run(job, settings).await,
        Command::Offsets(Offsets::Accept(args)) => offsets::accept(args, settings).await,
        Command::Bench(Bench::Aggregate(args)) => bench::aggregate(args, settings).await,
        Command::Bench(Bench::Collect(args)) => bench::collect(args, settings).await,
        Command::Bench(Bench::Freshness(args)) => bench::freshness(args, settings).await,
        Command::Bench(Bench::Soak(args)) => bench::soak(args, settings).await,
        Command::Token(args) => token::run(&args),
        Command::Check(args) => check::run(&args, settings),
    }
}

fn kind(command: &Command) -> Kind {
    match command {
        Command::Collector(collector) if collector.job.is_none() => Kind::Role("collector"),
        Command::Broker(_) => Kind::Role("broker"),
        Command::Aggregator(_) => Kind::Role("aggregator"),
        Command::Server(_) => Kind::Role("server"),
        Command::Collect(_) => Kind::Role("collect"),
        Command::Demo(_) => Kind::Role("demo"),
        _ => Kind::Job,
    }
}

fn quieter(level: &str) -> String {
    if level == "info" {
        "warn".to_owned()
    } else {
        level.to_owned()
    }
}

/// Prints a result, ended by a line break. A reader that has gone, as in `siji verify | head -1`, wanted no more.
fn print(text: impl std::fmt::Display) -> Result<(), Failure> {
    let text = text.to_string();
    let mut out = std::io::stdout().lock();
    let printed = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Prints the one JSON object of a command.
fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(serde_json::to_string(value)?)
}
