//! `siji lake compact|vacuum|rebuild`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use siji_aggregator::maintain::{
    Done, Folded, MAINTAINED, Maintained, Upkeep, maintained, rebuild,
};
use siji_lake::compact::plan::Policy;
use siji_lake::vacuum::{GUARD, Options};
use siji_lake::{Lake, LakeError};

use crate::cli::{self, Output};
use crate::failure::{DONE, Failure};
use crate::settings::Settings;

/// How often a table is looked at again because another maintainer was faster.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

pub async fn run(job: cli::Lake, settings: Settings) -> Result<ExitCode, Failure> {
    match job {
        cli::Lake::Compact(args) => compact(args, settings).await,
        cli::Lake::Vacuum(args) => vacuum(args, settings).await,
        cli::Lake::Rebuild(args) => rebuild(args, settings).await,
    }
}

async fn open(settings: &Settings, lake: Option<&str>) -> Result<Lake, Failure> {
    Ok(Lake::open(&settings.lake_location(lake)?).await?)
}

/// By hand everything below the target size is folded, not only what has gathered.
async fn compact(args: cli::LakeCompact, settings: Settings) -> Result<ExitCode, Failure> {
    let tables: Vec<&'static Maintained> = match args.table.as_deref() {
        None => MAINTAINED.to_vec(),
        Some(name) => vec![maintained(name).ok_or_else(|| {
            let names: Vec<&str> = MAINTAINED.iter().map(|kept| kept.spec.name).collect();
            Failure::usage(format!(
                "table `{name}` is not folded; these are: {}",
                names.join(", ")
            ))
        })?],
    };
    let lake = open(&settings, args.lake.as_deref()).await?;
    let policy = Policy {
        everything: true,
        ..settings.maintain.policy()
    };
    let mut upkeep = Upkeep::new(lake);
    let mut report = serde_json::Map::new();
    for kept in tables {
        let began = Instant::now();
        let (folded, done) = fold(&mut upkeep, kept, &policy).await?;
        let line = json!({
            "files_before": done.live_files + folded.files_in - folded.files_out, "files": done.live_files,
            "files_in": folded.files_in, "files_out": folded.files_out,
            "bytes_in": folded.bytes_in, "bytes_out": folded.bytes_out,
            "followed_versions": done.followed.versions, "elapsed_s": began.elapsed().as_secs_f64(),
        });
        if args.output == Output::Text {
            super::print(format!(
                "{:<12} {:>6} files of {:>9} KiB became {:>5} of {:>9} KiB; {} files now",
                kept.spec.name,
                folded.files_in,
                folded.bytes_in >> 10,
                folded.files_out,
                folded.bytes_out >> 10,
                done.live_files
            ))?;
        }
        report.insert(kept.spec.name.to_owned(), line);
    }
    if args.output == Output::Json {
        super::print_json(&json!({ "tables": report }))?;
    }
    Ok(ExitCode::from(DONE))
}

/// Folds a table until nothing is left to fold.
async fn fold(
    upkeep: &mut Upkeep,
    kept: &'static Maintained,
    policy: &Policy,
) -> Result<(Folded, Done), Failure> {
    let mut folded = Folded::default();
    let mut versions = 0;
    let mut attempt = 1;
    loop {
        match upkeep.table(kept, policy, false).await {
            Ok(mut done) => {
                versions += done.followed.versions;
                folded.add(done.folded);
                if done.folded.files_in == 0 {
                    done.followed.versions = versions;
                    return Ok((folded, done));
                }
            }
            // What the other one did need not be done any more.
            Err(LakeError::Conflict { .. } | LakeError::Removed { .. }) if attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn vacuum(args: cli::LakeVacuum, settings: Settings) -> Result<ExitCode, Failure> {
    let lake = open(&settings, args.lake.as_deref()).await?;
    let retain = match args.retain_hours {
        Some(hours) => Duration::from_secs(hours.saturating_mul(3600)),
        None => settings.maintain.vacuum_retain(),
    };
    let options = Options {
        retain,
        allow_short: args.allow_short_retention,
        dry_run: args.dry_run,
    };
    let upkeep = Upkeep::new(lake);
    let mut report = serde_json::Map::new();
    let mut waiting = 0;
    for kept in MAINTAINED {
        let table = kept.spec.name;
        let gone = upkeep
            .vacuum(table, options)
            .await
            .map_err(|error| match error {
                LakeError::Retention(what) => Failure::usage(what),
                other => other.into(),
            })?;
        let log = match args.dry_run {
            true => upkeep.preview_log(table, settings.maintain.keep()).await?,
            false => upkeep.clean_log(table, settings.maintain.keep()).await?,
        };
        if args.output == Output::Text {
            let what = if args.dry_run {
                "would be deleted"
            } else {
                "deleted"
            };
            super::print(format!(
                "{table:<12} {:>6} files of {:>9} KiB {what}, {} log entries and checkpoints of {} KiB; {} files of {} \
                 KiB wait",
                gone.files,
                gone.bytes >> 10,
                log.objects,
                log.bytes >> 10,
                gone.waiting,
                gone.waiting_bytes >> 10
            ))?;
            waiting += gone.waiting;
        }
        let line: Value = json!({
            "files": gone.files, "bytes": gone.bytes, "names": gone.names,
            "waiting": gone.waiting, "waiting_bytes": gone.waiting_bytes,
            "log_objects": log.objects, "log_bytes": log.bytes,
        });
        report.insert(table.to_owned(), line);
    }
    if args.output == Output::Json {
        super::print_json(&json!({ "dry_run": args.dry_run, "tables": report }))?;
    }
    if waiting > 0 && args.output == Output::Text {
        super::print(format!(
            "What waits left its table, or was written, too lately: a query may hold it for {} h (vacuum_retain_hours, \
             --retain-hours), and a file younger than {} min may be part of a commit under way.",
            retain.as_secs() / 3600,
            GUARD.as_secs() / 60
        ))?;
    }
    Ok(ExitCode::from(DONE))
}

async fn rebuild(args: cli::LakeRebuild, settings: Settings) -> Result<ExitCode, Failure> {
    let lake = open(&settings, args.lake.as_deref()).await?;
    let catalogue = Arc::new(settings.load_catalogue()?);
    let policy = settings.maintain.policy();
    let began = Instant::now();
    let done = rebuild::rebuild(&lake, &args.table, &catalogue, &policy).await?;
    match args.output {
        Output::Json => super::print_json(&json!({
            "table": args.table, "read": done.read, "files_before": done.files_before,
            "files_after": done.files_after, "version": done.version, "elapsed_s": began.elapsed().as_secs_f64(),
        }))?,
        Output::Text => super::print(format!(
            "{}: made anew from {} rows or files; {} files became {} in version {}",
            args.table, done.read, done.files_before, done.files_after, done.version
        ))?,
    }
    Ok(ExitCode::from(DONE))
}
