//! The broker's data directory: a marker with the format, a lock, and the database's address.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::BrokerError;

const FORMAT: u64 = 1;
const MARKER: &str = "siji-broker.json";
const LOCK: &str = "siji-broker.lock";
const DATABASE: &str = "broker.db";

/// What `siji-broker.json` says.
#[derive(Debug, Deserialize, Serialize)]
struct Marker {
    format: u64,
    /// Topics belong to a cluster, so its name must outlive the process; it also tells two brokers apart.
    #[serde(default)]
    cluster_id: String,
}

/// A data directory that is ours alone until dropped.
#[derive(Debug)]
pub(super) struct BrokerDirectory {
    path: PathBuf,
    cluster_id: String,
    /// Held for its lock.
    _lock: File,
    /// Held because the database's address may go through its descriptor, see [`Self::storage_url`].
    handle: File,
}

impl BrokerDirectory {
    /// Makes the directory if it is missing, locks it and reads or writes its marker.
    pub(super) fn open(path: &Path) -> Result<Self, BrokerError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| BrokerError::Directory { path, source }
        };
        fs::create_dir_all(path).map_err(at(path))?;
        let path = fs::canonicalize(path).map_err(at(path))?;

        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(at(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => BrokerError::InUse { path: path.clone() },
            TryLockError::Error(source) => BrokerError::Directory {
                path: lock_path,
                source,
            },
        })?;

        let marker_path = path.join(MARKER);
        let cluster_id = match fs::read(&marker_path) {
            Ok(bytes) => read_marker(&path, &marker_path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.join(DATABASE).exists() {
                    let reason =
                        format!("missing beside {DATABASE}: not a directory of siji's broker");
                    return Err(BrokerError::Marker {
                        path: marker_path,
                        reason,
                    });
                }
                let marker = Marker {
                    format: FORMAT,
                    cluster_id: Uuid::new_v4().to_string(),
                };
                write_marker(&path, &marker).map_err(at(&marker_path))?;
                marker.cluster_id
            }
            Err(source) => {
                return Err(BrokerError::Directory {
                    path: marker_path,
                    source,
                });
            }
        };
        let handle = File::open(&path).map_err(at(&path))?;
        Ok(Self {
            path,
            cluster_id,
            _lock: lock,
            handle,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// SQLite's write-ahead log.
    pub(super) fn wal_path(&self) -> PathBuf {
        self.path.join(format!("{DATABASE}-wal"))
    }

    /// The database as the `sqlite:` URL that tansu wants.
    ///
    /// Tansu joins the URL's path, less one slash, to the current directory; a second slash makes that an absolute
    /// path, which replaces it. The path is taken as the URL spells it, so a directory whose name a URL must escape
    /// (`湖州`, a blank) is named by our descriptor of it.
    pub(super) fn storage_url(&self) -> Result<Url, BrokerError> {
        let refused = || BrokerError::Path {
            path: self.path.clone(),
        };
        let spelled = |file: &Path| -> Option<Url> {
            let file = file.to_str()?;
            let url = Url::parse(&format!("sqlite:///{file}")).ok()?;
            let unchanged = url.path() == format!("/{file}")
                && url.query().is_none()
                && url.fragment().is_none();
            unchanged.then_some(url)
        };
        spelled(&self.path.join(DATABASE))
            .or_else(|| spelled(&self.through_descriptor()?.join(DATABASE)))
            .ok_or_else(refused)
    }

    #[cfg(target_os = "linux")]
    fn through_descriptor(&self) -> Option<PathBuf> {
        use std::os::fd::AsRawFd;
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.handle.as_raw_fd()));
        path.exists().then_some(path)
    }

    #[cfg(not(target_os = "linux"))]
    fn through_descriptor(&self) -> Option<PathBuf> {
        None
    }
}

fn read_marker(directory: &Path, marker_path: &Path, bytes: &[u8]) -> Result<String, BrokerError> {
    let unreadable = |reason: String| BrokerError::Marker {
        path: marker_path.to_owned(),
        reason,
    };
    let marker: Marker = serde_json::from_slice(bytes)
        .map_err(|error| unreadable(format!("not a broker's marker: {error}")))?;
    if marker.format != FORMAT {
        return Err(BrokerError::Format {
            path: directory.to_owned(),
            found: marker.format,
            expected: FORMAT,
        });
    }
    if marker.cluster_id.is_empty() {
        return Err(unreadable("no cluster_id in it".to_owned()));
    }
    Ok(marker.cluster_id)
}

/// Writes the marker so that after a power cut it is there whole or not at all.
fn write_marker(directory: &Path, marker: &Marker) -> io::Result<()> {
    let temporary = directory.join(format!("{MARKER}.new"));
    let mut file = File::create(&temporary)?;
    serde_json::to_writer(&mut file, marker)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(MARKER))?;
    File::open(directory)?.sync_all()
}
