//! One function a command.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::cli::{Bench, Cli, Command, Offsets};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::telemetry;

mod aggregator;
mod bench;
mod broker;
mod check;
mod collector;
mod demo;
mod lake;
mod offsets;
mod server;
mod sql;
mod token;
mod verify;

/// Runs the command; the exit code says how it went.
pub async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let mut settings = Settings::load(cli.config.as_deref())?;
    if !is_role(&cli.command) {
        // A person is looking: only what needs attention.
        settings.log.level = quieter(&settings.log.level);
    }
    telemetry::start(&settings.log)?;
    match cli.command {
        Command::Demo(args) => demo::run(args, settings).await,
        Command::Broker(args) => broker::run(args, settings).await,
        Command::Collector(args) => collector::run(args, settings).await,
        Command::Aggregator(args) => aggregator::run(args, settings).await,
        Command::Server(args) => server::run(args, settings).await,
        Command::Sql(args) => sql::run(args, settings).await,
        Command::Verify(args) => verify::run(args, settings).await,
        Command::Lake(job) => lake::run(job, settings).await,
        Command::Offsets(Offsets::Accept(args)) => offsets::accept(args, settings).await,
        Command::Bench(Bench::Aggregate(args)) => bench::aggregate(args, settings).await,
        Command::Token(args) => token::run(&args),
        Command::Check(args) => check::run(&args, settings),
    }
}

fn is_role(command: &Command) -> bool {
    match command {
        Command::Collector(collector) => collector.job.is_none(),
        Command::Broker(_) | Command::Aggregator(_) | Command::Server(_) => true,
        _ => false,
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
