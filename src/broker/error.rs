//! What can go wrong with a broker.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the broker did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The directory cannot be made, read or written.
    #[error("broker data directory {}: {source}", path.display())]
    Directory {
        /// The file or directory that failed.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the directory's lock.
    #[error("broker data directory {} is in use by another broker: stop that one, or use another directory", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory was written by another version of siji.
    #[error("broker data directory {} has format {found}, this siji reads format {expected}: use the siji that wrote it, or an empty directory", path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// Format in the marker file.
        found: u64,
        /// Format this build reads and writes.
        expected: u64,
    },
    /// The directory is not a broker's, or its marker cannot be understood.
    #[error("{}: {reason}", path.display())]
    Marker {
        /// The marker file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The path cannot be given to the storage engine.
    #[error("broker data directory {}: the storage engine takes only plain ASCII paths on this system: use another directory", path.display())]
    Path {
        /// The directory.
        path: PathBuf,
    },
    /// The address to listen on is taken or not ours.
    #[error("broker cannot listen on {listen}: {source}")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Clients cannot be told where to connect to.
    #[error("broker address for clients {address:?}: {reason}")]
    Advertised {
        /// What was configured, or follows from the listening address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The storage engine failed; nothing that was acknowledged is lost, but nothing more can be served.
    #[error("broker storage in {} failed: {reason}", path.display())]
    Engine {
        /// The data directory.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// A write could not be brought to disk; the broker stops acknowledging.
    #[error("broker cannot sync {}: {source}", path.display())]
    Sync {
        /// The write-ahead log.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A task of the broker panicked.
    #[error("broker stopped by a defect: {reason}")]
    Defect {
        /// The panic, without payload.
        reason: String,
    },
}

/// An engine error as one line that cannot hold a payload: tansu's errors print the requests they carry.
pub(super) fn brief(error: &dyn std::fmt::Debug) -> String {
    const LONGEST: usize = 160;
    let text = format!("{error:?}").replace(['\n', '\r'], " ");
    let name = |text: &str| {
        text.split(['(', '{', ' '])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    if text.contains("Frame")
        || text.contains("Request")
        || text.contains("Response")
        || text.chars().count() > LONGEST
    {
        name(&text)
    } else {
        text
    }
}
