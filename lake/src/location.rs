//! Where a lake is, and the marker that says what it is.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::LakeError;
use crate::durable::DurableLocal;

/// The layout of tables and marker that this program reads and writes.
pub const FORMAT: u32 = 1;
/// The object that says: this is a siji lake, of that format.
pub const MARKER: &str = "_siji.json";

/// How long checkpoints name files that have left a table.
const TOMBSTONES: Duration = Duration::from_secs(3600);

/// A directory or a URL (`s3://bucket/prefix`), with options for the store (`aws_endpoint`, `aws_region`, …).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeLocation {
    /// Always ends in a slash.
    pub url: Url,
    /// Options of the object store, by object_store's names.
    pub options: BTreeMap<String, String>,
}

impl LakeLocation {
    /// Reads a location as people write it. A relative path is taken from the current directory.
    pub fn parse(location: &str, options: BTreeMap<String, String>) -> Result<Self, LakeError> {
        let bad = |reason: String| LakeError::Location {
            location: location.to_owned(),
            reason,
        };
        let mut url = if location.contains("://") {
            Url::parse(location).map_err(|error| bad(error.to_string()))?
        } else {
            let path = std::path::absolute(location).map_err(|error| bad(error.to_string()))?;
            let path = without_parents(&path);
            Url::from_directory_path(path).map_err(|()| bad("not a path".to_owned()))?
        };
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        match url.scheme() {
            "file" | "s3" => Ok(Self { url, options }),
            other => Err(bad(format!(
                "scheme `{other}` is not supported; use a directory or s3://bucket/prefix"
            ))),
        }
    }

    /// The object store of the location, rooted at the file system or bucket, and the lake's path in it.
    fn store(&self) -> Result<(Arc<dyn ObjectStore>, Path), LakeError> {
        let path = Path::from_url_path(self.url.path()).map_err(object_store::Error::from)?;
        if self.url.scheme() == "file" {
            return Ok((Arc::new(DurableLocal::new()), path));
        }
        let mut builder = AmazonS3Builder::from_env().with_url(self.url.as_str());
        for (key, value) in &self.options {
            let key: AmazonS3ConfigKey = key.parse()?;
            builder = builder.with_config(key, value);
        }
        Ok((Arc::new(builder.build()?), path))
    }
}

/// A path without `..`, which no object store takes. What a link leads to is followed first, as the system does.
fn without_parents(path: &std::path::Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain = plain.canonicalize().unwrap_or(plain);
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// What the marker holds. What stands here cannot change once events are in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// See [`FORMAT`].
    pub format: u32,
    /// Zone of local days, as in the configuration (`+08:00`).
    pub zone: String,
    /// Drawn when the lake was made, so that it is told from any other.
    pub id: String,
}

/// An open lake.
#[derive(Debug, Clone)]
pub struct Lake {
    root: Arc<dyn ObjectStore>,
    prefix: Path,
    url: Url,
    marker: Marker,
    tombstones: Duration,
}

impl Lake {
    /// Opens a lake that exists.
    pub async fn open(location: &LakeLocation) -> Result<Lake, LakeError> {
        let (root, prefix) = location.store()?;
        match read_marker(root.as_ref(), &prefix, &location.url).await? {
            Some(marker) => Ok(Lake {
                root,
                prefix,
                url: location.url.clone(),
                marker,
                tombstones: TOMBSTONES,
            }),
            None => Err(LakeError::Missing {
                url: shown(&location.url),
            }),
        }
    }

    /// Opens a lake, or makes an empty one whose local days are those of `zone`.
    pub async fn open_or_create(location: &LakeLocation, zone: &str) -> Result<Lake, LakeError> {
        let (root, prefix) = location.store()?;
        let marker = match read_marker(root.as_ref(), &prefix, &location.url).await? {
            Some(marker) => marker,
            None => {
                let marker = Marker {
                    format: FORMAT,
                    zone: zone.to_owned(),
                    id: uuid::Uuid::new_v4().to_string(),
                };
                let text = serde_json::to_vec(&marker).map_err(|error| LakeError::Damaged {
                    table: MARKER.to_owned(),
                    reason: error.to_string(),
                })?;
                match root
                    .put_opts(
                        &prefix.clone().join(MARKER),
                        text.into(),
                        PutMode::Create.into(),
                    )
                    .await
                {
                    Ok(_) => marker,
                    // Somebody else made it at the same time.
                    Err(object_store::Error::AlreadyExists { .. }) => {
                        read_marker(root.as_ref(), &prefix, &location.url)
                            .await?
                            .unwrap_or(marker)
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if marker.zone != zone {
            return Err(LakeError::Incompatible {
                url: shown(&location.url),
                found: format!("local days of zone {}", marker.zone),
                wanted: format!("zone {zone} (set `zone` back, or start a new lake)"),
            });
        }
        Ok(Lake {
            root,
            prefix,
            url: location.url.clone(),
            marker,
            tombstones: TOMBSTONES,
        })
    }

    /// The same lake, in which the checkpoints of tables made from now on name folded files for another time than an
    /// hour: for tests that live faster.
    pub fn with_tombstones(mut self, tombstones: Duration) -> Lake {
        self.tombstones = tombstones;
        self
    }

    pub(crate) fn tombstones(&self) -> Duration {
        self.tombstones
    }

    /// Whether the lake is still there, and still the same.
    pub async fn check(&self) -> Result<(), LakeError> {
        match read_marker(self.root.as_ref(), &self.prefix, &self.url).await? {
            Some(marker) if marker == self.marker => Ok(()),
            Some(_) => Err(LakeError::Incompatible {
                url: shown(&self.url),
                found: "another lake".to_owned(),
                wanted: "the one that was there at the start".to_owned(),
            }),
            None => Err(LakeError::Missing {
                url: shown(&self.url),
            }),
        }
    }

    /// The store, rooted at the file system or bucket: what DataFusion and delta-rs want.
    pub fn root_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.root)
    }

    /// URL of the lake, ending in a slash.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// URL of a table, ending in a slash.
    pub fn table_url(&self, table: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{table}/", self.url.path()));
        url
    }

    /// Path of a table in [`Lake::root_store`].
    pub fn table_path(&self, table: &str) -> Path {
        self.prefix.clone().join(table)
    }

    /// By which this lake is told from any other.
    pub fn id(&self) -> &str {
        &self.marker.id
    }

    /// Zone of local days.
    pub fn zone(&self) -> &str {
        &self.marker.zone
    }
}

async fn read_marker(
    root: &dyn ObjectStore,
    prefix: &Path,
    url: &Url,
) -> Result<Option<Marker>, LakeError> {
    let bytes = match root.get(&prefix.clone().join(MARKER)).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let incompatible = |found: String| LakeError::Incompatible {
        url: shown(url),
        found,
        wanted: format!("a marker {MARKER} of format {FORMAT}"),
    };
    let marker: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| incompatible(format!("an unreadable marker ({error})")))?;
    match marker.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => serde_json::from_value(marker)
            .map(Some)
            .map_err(|error| incompatible(format!("another marker ({error})"))),
        other => Err(incompatible(
            other.map_or("no format".to_owned(), |format| format!("format {format}")),
        )),
    }
}

/// A lake's URL as people know it: a local one as its path.
fn shown(url: &Url) -> String {
    match url.to_file_path() {
        Ok(path) => path.display().to_string(),
        Err(()) => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lake_is_found_by_a_path_with_parents_and_links_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("far/away")).unwrap();
        std::fs::create_dir(root.join("here")).unwrap();
        let lake_at = |path: PathBuf| {
            LakeLocation::parse(&path.display().to_string(), BTreeMap::new()).unwrap()
        };
        let plain = lake_at(root.join("lake"));
        Lake::open_or_create(&plain, "+08:00").await.unwrap();
        let roundabout = lake_at(root.join("here/../far/away/../../lake"));
        assert_eq!(roundabout.url, plain.url);
        assert!(Lake::open(&roundabout).await.is_ok());
        #[cfg(unix)]
        {
            // Behind a link, `..` is above what it leads to.
            std::os::unix::fs::symlink(root.join("far/away"), root.join("here/link")).unwrap();
            let linked = lake_at(root.join("here/link/../../lake"));
            assert_eq!(linked.url, plain.url);
        }
    }
}
