//! siji (四级): service events of Chinese communities, streamed into an exact ledger and rolled up by tier.
//!
//! This binary only reads the command line and the configuration, and wires the crates together.

mod admin;
mod allocator;
mod bench;
mod broker;
mod cli;
mod commands;
mod demo;
mod export;
mod failure;
mod import;
mod settings;
mod shutdown;
mod telemetry;
mod verify;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return failure::Failure::new(format!("cannot start the runtime: {error}")).report();
        }
    };
    let code = match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    };
    // Threads that still wait for a broker must not keep the process.
    runtime.shutdown_background();
    telemetry::finish(shutdown::LAST_EXPORT);
    code
}
