//! `siji export`

use std::io::IsTerminal;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use siji_query::format::{Format, encode};
use siji_query::{Parameters, Principal, QueryOptions, ask_remote};

use crate::cli::{self, Output};
use crate::commands::server::engine;
use crate::export::{self, Destination, Manifest, Selection};
use crate::failure::{DONE, Failure};
use crate::settings::Settings;
use crate::shutdown;

/// An export takes as long as it takes; a server's own deadline holds for its queries.
const DEADLINE_MS: u64 = 7 * 86_400_000;

pub async fn run(args: cli::Export, mut settings: Settings) -> Result<ExitCode, Failure> {
    let selection = Selection {
        table: args.table.clone(),
        condition: args.condition.clone(),
        partition_by: args.partition_by.clone(),
    };
    let sql = selection.sql()?;
    let destination = Destination::open(&args.out, selection.partition_by.is_some())?;
    let mut manifest = Manifest::new(&selection.table, &sql, selection.partition_by.as_deref());
    settings.server.deadline_ms = DEADLINE_MS;
    settings.server.max_rows = None;
    let bytes = match &args.server {
        Some(server) => {
            let answer =
                ask_remote(server, args.token.as_deref(), &sql, &[], Format::Arrow).await?;
            manifest.versions = answer.versions;
            answer.bytes
        }
        None => {
            let session = engine(&settings, args.lake.as_deref())
                .await?
                .session(Principal::local());
            let options = QueryOptions::default();
            let result = session.query(&sql, Parameters::default(), options).await?;
            let versions = result.versions.iter();
            let versions: Vec<String> = versions
                .map(|(table, version)| format!("{table}={version}"))
                .collect();
            manifest.versions = Some(versions.join(","));
            encode(result, Format::Arrow).await?
        }
    };
    let bar = bar(args.output);
    let writing = export::write(bytes, &selection, destination, &mut manifest, &bar);
    tokio::select! {
        written = writing => written?,
        () = shutdown::requested()? => return Err(Failure::new("interrupted: nothing was exported")),
    }
    bar.finish_and_clear();
    match args.output {
        Output::Json => super::print_json(&serde_json::to_value(&manifest)?)?,
        Output::Text => {
            let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
            super::print(format!(
                "{} rows, {} files, {bytes} bytes in {}",
                manifest.rows,
                manifest.files.len(),
                args.out.display()
            ))?;
        }
    }
    Ok(ExitCode::from(DONE))
}

fn bar(output: Output) -> ProgressBar {
    if output != Output::Text || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{spinner} {human_pos} rows, {per_sec}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
