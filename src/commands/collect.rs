//! `siji collect`

use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::cli;
use crate::commands::import::load_mapping;
use crate::failure::{DONE, Failure};
use crate::import::Job;
use crate::import::follow::{Follower, Options};
use crate::import::remote::Door;
use crate::settings::Settings;
use crate::shutdown;

pub async fn run(args: cli::Collect, mut settings: Settings) -> Result<ExitCode, Failure> {
    let mut requested = pin!(shutdown::requested()?);
    let (mapping, reference) = load_mapping(&args.mapping, &args.reference, &mut settings)?;
    if let Some(directory) = &args.rejects {
        check_rejects(directory)?;
    }
    let root = std::path::absolute(&args.follow)?;
    let job = Job {
        mapping: Arc::new(mapping),
        reference: Arc::new(reference),
        files: Vec::new(),
        rejects: args.rejects.clone(),
    };
    // For as long as it takes: what is in the files is not lost meanwhile.
    let door = Door::new(&args.collector, args.token.clone(), None)?;
    let options = Options {
        root,
        every: Duration::from_secs(args.every.max(1)),
        settled: Duration::from_secs(args.settled),
    };
    let follower = Follower::new(&job, &door, &options, &args.state)?;
    tracing::info!(path = %options.root.display(), "following");
    tokio::select! {
        ended = follower.run() => ended?,
        // What is under way is sent again at the next start, and counts once.
        () = &mut requested => {}
    }
    Ok(ExitCode::from(DONE))
}

/// Finds out now, and not at the first row that is refused, whether rejects files can be written.
fn check_rejects(directory: &Path) -> Result<(), Failure> {
    let shown = directory.display();
    if !directory.is_dir() {
        return Err(Failure::usage(format!(
            "--rejects {shown}: is no directory"
        )));
    }
    let tried = tempfile::tempfile_in(directory).map(drop);
    tried.map_err(|error| Failure::usage(format!("--rejects {shown}: cannot be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_for_rejects_is_there_and_can_be_written_or_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        check_rejects(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let absent = directory.path().join("absent");
        for wrong in [file.as_path(), absent.as_path(), Path::new("/proc")] {
            let failure = check_rejects(wrong).unwrap_err();
            let shown = format!("--rejects {}: ", wrong.display());
            assert!(failure.message().starts_with(&shown), "{failure:?}");
        }
    }
}
