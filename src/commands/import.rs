//! `siji import`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use siji_collector::import::{Mapping, RejectsFile, rejects_path};

use crate::cli::{self, Output};
use crate::failure::{DONE, Failure};
use crate::import::books::Books;
use crate::import::preview::Preview;
use crate::import::{Job, embedded, preview, remote};
use crate::settings::Settings;
use crate::shutdown;

/// How long a collector may take nothing before an import gives up.
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn run(args: cli::Import, mut settings: Settings) -> Result<ExitCode, Failure> {
    let job = job(&args, &mut settings)?;
    if args.dry_run {
        let preview = preview::run(&job).await?;
        show(&preview, args.output)?;
        return Ok(ExitCode::from(DONE));
    }
    let bar = bar(&args)?;
    let mut books = Books::new(&job.files, job.rejects.as_deref());
    match (&args.collector, &args.data_dir) {
        (Some(url), None) => {
            let door = remote::Door::new(url, args.token.clone(), Some(PATIENCE))?;
            let mut requested = pin!(shutdown::requested()?);
            tokio::select! {
                done = remote::run(&job, &door, &mut books, &bar) => done?,
                () = &mut requested => return Err(interrupted()),
            }
            bar.finish_and_clear();
            let sent = books.total().sent;
            match args.output {
                Output::Json => super::print_json(&books.to_json(&[("sent", sent)]))?,
                Output::Text => super::print(books.to_text(&["sent"]))?,
            }
        }
        (None, Some(data_dir)) => {
            let data_dir = std::path::absolute(data_dir)?;
            through(&job, &settings, &data_dir, &mut books, &bar).await?;
            bar.finish_and_clear();
            let (total, lake) = (books.total(), data_dir.join("lake"));
            let fates = [("accepted", total.accepted), ("duplicate", total.duplicate)];
            match args.output {
                Output::Json => {
                    let mut object = books.to_json(&fates);
                    object["lake"] = lake.display().to_string().into();
                    super::print_json(&object)?;
                }
                Output::Text => super::print(format!(
                    "{}\nlake         {}",
                    books.to_text(&["accepted", "duplicate"]),
                    lake.display()
                ))?,
            }
        }
        _ => {
            return Err(Failure::usage(
                "say where the rows go: --collector URL, or --data-dir DIR for a pipeline of their own (or --dry-run)",
            ));
        }
    }
    Ok(ExitCode::from(DONE))
}

/// Imports through a pipeline in `data_dir`, which is started and stopped in order whatever happens.
async fn through(
    job: &Job,
    settings: &Settings,
    data_dir: &Path,
    books: &mut Books,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let keyless = settings.collector.pseudonym_key.is_none()
        && settings.collector.pseudonym_key_file.is_none();
    if keyless && job.mapping.names_people() {
        return Err(Failure::usage(
            "the mapping names people, and there is no key to make pseudonyms with: set pseudonym_key_file in [collector] of the configuration (`openssl rand -hex 32` makes a key)",
        ));
    }
    let mut requested = pin!(shutdown::requested()?);
    let mut site = tokio::select! {
        started = embedded::start(settings, &job.reference, data_dir) => started?,
        () = &mut requested => return Err(interrupted()),
    };
    let import = async {
        let parts = embedded::Parts::of(&site, settings, job).await?;
        Ok::<_, Failure>(embedded::Import::new(parts, books, bar.clone()))
    };
    let done = match import.await {
        Ok(import) => tokio::select! {
            done = import.run(job) => done,
            failure = site.broken() => Err(failure),
            () = &mut requested => Err(interrupted()),
        },
        Err(failure) => Err(failure),
    };
    let stopped = site.stop(shutdown::DEADLINE).await;
    done?;
    stopped
}

fn interrupted() -> Failure {
    Failure::new(
        "interrupted: run the same import again to complete it, what arrived already counts once",
    )
}

/// Reads the mapping and the reference data it is checked against.
pub(super) fn load_mapping(
    file: &Path,
    reference: &cli::ReferenceArgs,
    settings: &mut Settings,
) -> Result<(Mapping, siji_schemas::validate::Reference), Failure> {
    let draft = Mapping::draft(file)
        .map_err(|error| Failure::usage(format!("mapping {}: {error}", file.display())))?;
    settings.apply_mapping(draft.reference());
    settings.apply_reference(reference);
    let reference = settings.load_reference()?;
    let mapping = draft
        .finish(&reference)
        .map_err(|problems| Failure::usage(problems.to_string()))?;
    Ok((mapping, reference))
}

fn job(args: &cli::Import, settings: &mut Settings) -> Result<Job, Failure> {
    let (mapping, reference) = load_mapping(&args.mapping, &args.reference, settings)?;
    if let Some(directory) = args
        .rejects
        .as_ref()
        .filter(|directory| !directory.is_dir())
    {
        return Err(Failure::usage(format!(
            "--rejects {}: is no directory",
            directory.display()
        )));
    }
    let mut places: Vec<PathBuf> = Vec::new();
    for file in &args.files {
        let found = std::fs::metadata(file);
        let found = found.map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        if !found.is_file() {
            let reason = "is no plain file; name the files to import, or follow a directory with `siji collect --follow`";
            return Err(Failure::usage(format!("{}: {reason}", file.display())));
        }
        let place = rejects_path(file, args.rejects.as_deref());
        if places.contains(&place) {
            return Err(Failure::usage(format!(
                "two files would have the same rejects file {}: import them one by one",
                place.display()
            )));
        }
        places.push(place);
    }
    spare_inputs(&args.files, args.rejects.as_deref())?;
    Ok(Job {
        mapping: Arc::new(mapping),
        reference: Arc::new(reference),
        files: args.files.clone(),
        rejects: args.rejects.clone(),
    })
}

/// Refuses an import that would write the refused rows of one file over another.
fn spare_inputs(files: &[PathBuf], rejects: Option<&Path>) -> Result<(), Failure> {
    // What is not there is compared as it is written.
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let inputs: Vec<PathBuf> = files.iter().map(|file| real(file)).collect();
    for file in files {
        let place = rejects_path(file, rejects);
        for written in [RejectsFile::partial_path(&place), place] {
            let written = real(&written);
            let at = inputs.iter().position(|input| *input == written);
            if let Some(input) = at.and_then(|at| files.get(at)) {
                return Err(Failure::usage(format!(
                    "{} is to be imported, and the refused rows of {} would be written over it: rename it, or name a directory for the refused rows by --rejects",
                    input.display(),
                    file.display()
                )));
            }
        }
    }
    Ok(())
}

/// How far the import has come, by bytes of the files; on a terminal only.
fn bar(args: &cli::Import) -> Result<ProgressBar, Failure> {
    if args.output != Output::Text || !std::io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let mut total = 0;
    for file in &args.files {
        total += std::fs::metadata(file)?.len();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}  {msg}");
    Ok(match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    })
}

/// Prints what a dry run found.
fn show(preview: &Preview, output: Output) -> Result<(), Failure> {
    let sent = preview.books.total().sent;
    if output == Output::Json {
        let mut object = preview.books.to_json(&[("would_send", sent)]);
        let first = preview.first.iter().map(|(file, row, events)| {
            let events: Vec<_> = events.iter().map(|made| json!(made.event)).collect();
            json!({"file": file, "row": row, "events": events})
        });
        object["first"] = first.collect::<Vec<_>>().into();
        return super::print_json(&object);
    }
    let mut text = preview.books.to_text(&["would send"]);
    text.push_str("\n(a dry run: nothing was sent, no rejects file written)\n");
    for (file, row, events) in &preview.first {
        text.push_str(&format!("\n{file}:{row}\n"));
        for made in events {
            let event = serde_json::to_string_pretty(&made.event)?;
            let people = if made.people {
                "  and a person, not shown\n"
            } else {
                ""
            };
            text.push_str(&format!("{event}\n{people}"));
        }
    }
    super::print(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rejects_file_is_written_over_an_input() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, "no\n1\n").unwrap();
            path
        };
        let (log, rows) = (file("a.csv"), file("a.csv.rejects.csv"));
        let partial = file("a.csv.rejects.csv.partial");
        let roundabout = directory.path().join(".").join("a.csv.rejects.csv");
        for other in [&rows, &partial, &roundabout] {
            for files in [[log.clone(), other.clone()], [other.clone(), log.clone()]] {
                let failure = spare_inputs(&files, None).unwrap_err();
                assert!(format!("{failure:?}").contains("code: 2"), "{failure:?}");
                for named in files {
                    let named = named.display().to_string();
                    assert!(failure.message().contains(&named), "{failure:?}");
                }
            }
        }
        spare_inputs(std::slice::from_ref(&log), None).unwrap();
        spare_inputs(std::slice::from_ref(&rows), None).unwrap();
        let elsewhere = directory.path().join("rejects");
        std::fs::create_dir(&elsewhere).unwrap();
        spare_inputs(&[log.clone(), rows], Some(&elsewhere)).unwrap();
        // Where the rejects of a file from elsewhere would come to lie on an input.
        std::fs::create_dir(directory.path().join("b")).unwrap();
        let far = file("b/a.csv");
        let near = file("a.csv.rejects.csv");
        assert!(spare_inputs(&[far.clone(), near.clone()], Some(directory.path())).is_err());
        spare_inputs(&[far, near], None).unwrap();
    }
}
