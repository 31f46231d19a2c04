//! When to stop, and how long that may take.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// From SIGTERM to the end.
pub const DEADLINE: Duration = Duration::from_secs(9);

/// Resolves on SIGTERM or Ctrl-C.
pub async fn requested() -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        outcome = tokio::signal::ctrl_c() => {
            outcome?;
            tracing::info!("interrupted: stopping");
        }
    }
    Ok(())
}
