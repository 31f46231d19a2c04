//! How far a demo has come.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use siji_aggregator::Progress;
use tokio::sync::watch;

use crate::cli::Output;
use crate::failure::Failure;

/// Without a commit for so long the demo is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// Waits until so many records are in the lake.
pub(super) async fn wait_for(
    mut progress: watch::Receiver<Progress>,
    total: u64,
    bar: ProgressBar,
) -> Result<Progress, Failure> {
    loop {
        let taken = progress.borrow_and_update().clone();
        bar.set_position(taken.all());
        if taken.all() >= total {
            return Ok(taken);
        }
        match tokio::time::timeout(STUCK_AFTER, progress.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Failure::new("the aggregator ended")),
            Err(_) => {
                let seconds = STUCK_AFTER.as_secs();
                return Err(Failure::new(format!(
                    "nothing came into the lake for {seconds} s: {} of {total} are there",
                    taken.all()
                )));
            }
        }
    }
}

pub(super) fn bars(output: Output) -> MultiProgress {
    let target = match output {
        Output::Text if std::io::stderr().is_terminal() => ProgressDrawTarget::stderr(),
        _ => ProgressDrawTarget::hidden(),
    };
    MultiProgress::with_draw_target(target)
}

pub(super) fn bar(bars: &MultiProgress, label: &'static str, total: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix:<12} {wide_bar} {human_pos}/{human_len} {per_sec}");
    let bar = bars.add(ProgressBar::new(total)).with_prefix(label);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
