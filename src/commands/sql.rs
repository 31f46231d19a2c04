//! `siji sql`

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use futures::StreamExt;
use siji_query::format::{ByteStream, Format, encode};
use siji_query::{Parameters, Principal, QueryOptions, run_sql_remote};

use crate::cli::{self, Output};
use crate::commands::server::engine;
use crate::failure::{DONE, Failure};
use crate::settings::Settings;

pub async fn run(args: cli::Sql, settings: Settings) -> Result<ExitCode, Failure> {
    let format = format(&args)?;
    if args.out.is_none()
        && matches!(format, Format::Arrow | Format::Parquet)
        && std::io::stdout().is_terminal()
    {
        return Err(Failure::usage(format!(
            "{} is not for a terminal; name a file with -o",
            format.name()
        )));
    }
    let bytes = match &args.server {
        Some(server) => {
            run_sql_remote(server, args.token.as_deref(), &args.query, &[], format).await?
        }
        None => {
            let session = engine(&settings, args.lake.as_deref())
                .await?
                .session(Principal::local());
            let result = session
                .query(&args.query, Parameters::default(), QueryOptions::default())
                .await?;
            encode(result, format).await?
        }
    };
    match &args.out {
        Some(file) => to_file(bytes, file).await?,
        None => to_writer(bytes, &mut std::io::stdout().lock()).await?,
    }
    Ok(ExitCode::from(DONE))
}

fn format(args: &cli::Sql) -> Result<Format, Failure> {
    let ending = args
        .out
        .as_deref()
        .and_then(Path::extension)
        .and_then(|ending| ending.to_str());
    let asked = match (&args.format, args.output) {
        (Some(format), _) => Some(format.as_str()),
        (None, Some(Output::Json)) => Some("json"),
        (None, Some(Output::Text) | None) => None,
    };
    let name = asked.or(ending).unwrap_or("table");
    let format = named(name).ok_or_else(|| {
        Failure::usage(format!(
            "unknown format `{name}`; use table, csv, json, ndjson, arrow or parquet"
        ))
    })?;
    // Whoever opens the file goes by its name.
    match ending.and_then(named) {
        Some(other) if other.name() != format.name() => Err(Failure::usage(format!(
            "-o {}: the name is one of {} and the rows would be {}; change one of them",
            args.out.as_deref().unwrap_or(Path::new("")).display(),
            other.name(),
            format.name()
        ))),
        _ => Ok(format),
    }
}

fn named(name: &str) -> Option<Format> {
    match name.to_ascii_lowercase().as_str() {
        "txt" => Some(Format::Table),
        other => Format::named(other),
    }
}

pub(super) async fn to_writer(mut bytes: ByteStream, out: &mut impl Write) -> Result<(), Failure> {
    while let Some(part) = bytes.next().await {
        match out.write_all(&part?) {
            // `siji sql … | head`
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    Ok(out.flush()?)
}

/// Writes beside the file and renames at the end: a failed query leaves no half a file. What is no plain file (a device,
/// a pipe) is written to as it is.
async fn to_file(bytes: ByteStream, file: &Path) -> Result<(), Failure> {
    let plain = |found: std::fs::Metadata| found.is_file();
    if !std::fs::metadata(file).map_or(true, plain) {
        let named = |error| Failure::new(format!("{}: {error}", file.display()));
        let mut out = std::fs::OpenOptions::new()
            .write(true)
            .open(file)
            .map_err(named)?;
        return to_writer(bytes, &mut out).await;
    }
    // Through a link to the file it means.
    let target = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let file = target.as_path();
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let named = |error: std::io::Error| Failure::new(format!("{}: {error}", file.display()));
    let mut out = std::io::BufWriter::new(std::fs::File::create(partial).map_err(named)?);
    let written = to_writer(bytes, &mut out).await;
    if let Err(failure) = written {
        if let Err(error) = std::fs::remove_file(partial) {
            tracing::warn!(file = %partial.display(), %error, "could not remove a partial file");
        }
        return Err(failure);
    }
    std::fs::rename(partial, file).map_err(named)
}
