//! `siji collect`

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
