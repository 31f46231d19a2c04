//! When to stop, and how long that may take.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// From SIGTERM to the end: ten seconds are promised, and a loaded machine needs some of them.
pub const DEADLINE: Duration = Duration::from_secs(8);

/// What the last export may take of the rest.
pub const LAST_EXPORT: Duration = Duration::from_secs(1);

/// From now on SIGTERM and Ctrl-C no longer end the process: the future resolves on either.
pub fn requested() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("interrupted: stopping"),
        }
    })
}
