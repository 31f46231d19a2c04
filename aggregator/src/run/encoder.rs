//! The thread that turns sealed batches into files, while the committer waits for the disk with the one before.

use std::sync::mpsc::{Receiver, SyncSender};
use std::time::SystemTime;

use crate::AggregatorError;
use crate::commit::{Advance, Files, Sealed};
use crate::pipeline::Work;

/// A batch as files.
#[derive(Debug)]
pub(super) struct Encoded {
    pub files: Files,
    pub advance: Advance,
    /// When encoding began.
    pub began: SystemTime,
}

/// Encodes until nobody seals batches any more, or nobody commits them.
pub(super) fn run(
    sealed: &Receiver<Work<Sealed>>,
    encoded: &SyncSender<Work<Encoded>>,
) -> Result<(), AggregatorError> {
    for work in sealed {
        let next = match work {
            Work::Batch(Sealed { rows, advance }) => {
                let began = SystemTime::now();
                Work::Batch(Encoded {
                    files: rows.encode()?,
                    advance,
                    began,
                })
            }
            Work::Assigned(positions) => Work::Assigned(positions),
            Work::Release(release) => Work::Release(release),
        };
        if encoded.send(next).is_err() {
            // The committer gave up and says why itself.
            return Ok(());
        }
    }
    Ok(())
}
