//! siji (四级): service events of Chinese communities, streamed into an exact ledger and rolled up by tier.
//!
//! This binary only reads the command line and the configuration, and wires the crates together.

mod admin;
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

/// Columns are large blocks of many sizes that live for a second: this allocator gives them back to the system, from a
/// thread of its own, where the system's allocator keeps them in pieces.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    code
}
