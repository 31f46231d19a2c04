//! Sends the generated events through the collectors, in order, as fast as they take them.

use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use siji_collector::{Intake, Principal, Right, Submission};
use siji_schemas::Event;
use siji_schemas::area::AreaTree;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::generate::{Emission, Generator, Source};
use crate::failure::Failure;

/// Events in one submission.
const BATCH: usize = 1000;
/// Submissions that may wait for a collector.
const WAITING: usize = 4;

/// One collector's way in.
struct Lane {
    sender: mpsc::Sender<Vec<Submission>>,
    batch: Vec<Submission>,
}

/// Sends `published` through the first collector, then everything the generator makes; returns the generator, which
/// then knows what it sent. Ends with the first collector that fails; dropped before its end, it makes no more events.
pub async fn send(
    mut generator: Generator,
    published: Vec<Event>,
    intakes: &[Arc<Intake>],
    tree: &AreaTree,
    progress: ProgressBar,
) -> Result<Generator, Failure> {
    let mut lanes = Vec::new();
    let mut tasks = JoinSet::new();
    for (source, intake) in generator.sources().iter().zip(intakes) {
        let (sender, batches) = mpsc::channel(WAITING);
        tasks.spawn(submit(
            batches,
            Arc::clone(intake),
            principal(source, tree)?,
            progress.clone(),
        ));
        lanes.push(Lane {
            sender,
            batch: Vec::with_capacity(BATCH),
        });
    }
    // The generator is pure computation: it has a thread of its own and waits where collectors are slow.
    let stop = CancellationToken::new();
    let _dropped = stop.clone().drop_guard();
    let making = tokio::task::spawn_blocking(move || {
        for event in published {
            pass_on(&mut lanes, 0, event);
        }
        for Emission { source, event, .. } in generator.by_ref() {
            if stop.is_cancelled() {
                break;
            }
            pass_on(&mut lanes, source, event);
        }
        for lane in &mut lanes {
            flush(lane);
        }
        generator
    });
    let making = async {
        making
            .await
            .map_err(|_| Failure::new("the generator failed"))
    };
    let sending = async {
        while let Some(sent) = tasks.join_next().await {
            sent.map_err(|_| Failure::new("a sender failed"))??;
        }
        Ok(())
    };
    let (generator, ()) = tokio::try_join!(making, sending)?;
    Ok(generator)
}

fn pass_on(lanes: &mut [Lane], source: usize, event: Event) {
    let Some(lane) = lanes.get_mut(source) else {
        return;
    };
    lane.batch.push(Submission::Event(Box::new(event)));
    if lane.batch.len() >= BATCH {
        flush(lane);
    }
}

fn flush(lane: &mut Lane) {
    let batch = std::mem::replace(&mut lane.batch, Vec::with_capacity(BATCH));
    if !batch.is_empty() && lane.sender.blocking_send(batch).is_err() {
        // The sending task ended with an error and says so when it is joined.
        tracing::debug!("a lane is closed");
    }
}

fn principal(source: &Source, tree: &AreaTree) -> Result<Principal, Failure> {
    let areas: Vec<&str> = source.areas.iter().map(String::as_str).collect();
    Principal::new(&source.id, &areas, &[Right::Write, Right::Import], tree)
        .map_err(|problems| Failure::new(problems.join("; ")))
}

async fn submit(
    mut batches: mpsc::Receiver<Vec<Submission>>,
    intake: Arc<Intake>,
    principal: Principal,
    progress: ProgressBar,
) -> Result<(), Failure> {
    while let Some(batch) = batches.recv().await {
        let count = batch.len() as u64;
        // A refusal of the whole batch took nothing: the same batch may be sent again.
        while let Err(error) = intake.submit(batch.clone(), &principal).await {
            tracing::debug!(%error, "a collector does not take events now");
            tokio::time::sleep(Duration::from_millis(50)).await;
            if matches!(error, siji_collector::spool::AppendError::Closed) {
                return Err(error.into());
            }
        }
        progress.inc(count);
    }
    Ok(())
}
