//! A local object store whose writes survive a power cut.
//!
//! object_store 0.13's `LocalFileSystem` never calls fsync. [`DurableLocal`] writes by itself: a temporary file beside
//! the target, its bytes synced, then one atomic rename (or hard link, when the object must be new), then the
//! directory synced. Reading and deleting are the wrapped store's, listing too but for logs that grow meanwhile
//! (see `listing`).
//!
//! Cost: two fsyncs for a put into a known directory, one more for each that is new to the process.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

mod journal;
mod listing;
#[cfg(test)]
mod power;
mod upload;

use journal::{Step, done};

/// The local file system as an object store with durable writes. Object paths are absolute file paths without the
/// leading slash.
#[derive(Debug)]
pub struct DurableLocal {
    inner: LocalFileSystem,
}

impl DurableLocal {
    /// The whole file system.
    pub fn new() -> Self {
        Self {
            inner: LocalFileSystem::new(),
        }
    }

    async fn write<F>(&self, location: &Path, mode: Publish, fill: F) -> Result<()>
    where
        F: FnOnce(&mut File) -> io::Result<()> + Send + 'static,
    {
        let target = self.inner.path_to_filesystem(location)?;
        blocking(location, move || {
            let (staged, mut file) = Staged::create(&target)?;
            fill(&mut file)?;
            staged.publish(&file, mode)
        })
        .await
    }
}

impl Default for DurableLocal {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DurableLocal")
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let mode = match options.mode {
            PutMode::Overwrite => Publish::Replace,
            PutMode::Create => Publish::New,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "put with PutMode::Update".into(),
                    implementer: self.to_string(),
                });
            }
        };
        self.write(location, mode, move |file| {
            payload.iter().try_for_each(|part| file.write_all(part))
        })
        .await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let target = self.inner.path_to_filesystem(location)?;
        let (staged, file) = blocking(location, move || Staged::create(&target)).await?;
        Ok(Box::new(upload::Upload::new(
            location.clone(),
            staged,
            file,
        )))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        listing::without_holes(&self.inner, prefix, None, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        // The wrapped store skips names before it asks for their metadata: the end of a long log is found fast.
        let listing = self.inner.list_with_offset(prefix, offset);
        listing::without_holes(&self.inner, prefix, Some(offset), listing)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let mode = match options.mode {
            CopyMode::Overwrite => Publish::Replace,
            CopyMode::Create => Publish::New,
        };
        let source = self.inner.path_to_filesystem(from)?;
        self.write(to, mode, move |file| {
            io::copy(&mut File::open(source)?, file).map(|_| ())
        })
        .await
    }
}

/// How a staged file becomes the object.
#[derive(Debug, Clone, Copy)]
enum Publish {
    /// In place of what may stand there.
    Replace,
    /// Only if nothing stands there.
    New,
}

/// A temporary file beside its target. Listing does not show it (object_store hides names that end in `#` and
/// digits); dropped before it is published, it is removed.
#[derive(Debug)]
struct Staged {
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

static STAGED: AtomicU64 = AtomicU64::new(0);

impl Staged {
    fn create(target: &FsPath) -> io::Result<(Staged, File)> {
        let directory = target
            .parent()
            .ok_or_else(|| io::Error::other("an object needs a directory"))?;
        create_directories(directory)?;
        loop {
            let number = u64::from(std::process::id()) << 32
                | STAGED.fetch_add(1, Ordering::Relaxed) & 0xFFFF_FFFF;
            let mut name = target.as_os_str().to_owned();
            name.push(format!("#{number}"));
            let temporary = PathBuf::from(name);
            match File::options()
                .write(true)
                .create_new(true)
                .open(&temporary)
            {
                Ok(file) => {
                    done(Step::File(&temporary));
                    return Ok((
                        Staged {
                            temporary,
                            target: target.to_owned(),
                            published: false,
                        },
                        file,
                    ));
                }
                // Left by a killed process that had the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
        }
    }

    fn publish(mut self, file: &File, mode: Publish) -> io::Result<()> {
        file.sync_all()?;
        done(Step::Synced(&self.temporary));
        match mode {
            Publish::Replace => {
                fs::rename(&self.temporary, &self.target)?;
                self.published = true;
                done(Step::Renamed(&self.temporary, &self.target));
            }
            Publish::New => {
                fs::hard_link(&self.temporary, &self.target)?;
                done(Step::Linked(&self.temporary, &self.target));
            }
        }
        let synced = self.target.parent().map_or(Ok(()), sync_directory);
        if synced.is_err()
            && matches!(mode, Publish::New)
            && let Err(error) = fs::remove_file(&self.target)
        {
            // Who looks whether it landed must not find what a power cut may take away.
            tracing::warn!(path = %self.target.display(), %error, "could not take back what is not durable");
        }
        synced
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        match fs::remove_file(&self.temporary) {
            Ok(()) => done(Step::Removed(&self.temporary)),
            Err(error) => {
                tracing::warn!(path = %self.temporary.display(), %error, "could not remove a temporary file");
            }
        }
    }
}

/// Directories whose names this process knows to be on disk.
static KNOWN: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Creates what is missing of a directory's path, each new entry synced in its parent. One that is there may have been
/// made a moment ago by somebody who has not synced it yet, so it is synced once here too.
fn create_directories(directory: &FsPath) -> io::Result<()> {
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(parent) = directory.parent() else {
        return Ok(());
    };
    if directory.is_dir() {
        if known().contains(directory) {
            return Ok(());
        }
        match sync_directory(parent) {
            // Whose parent may not be read was not made by siji.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
    } else {
        create_directories(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => done(Step::Directory(directory)),
        }
        sync_directory(parent)?;
    }
    known().insert(directory.to_owned());
    Ok(())
}

fn sync_directory(directory: &FsPath) -> io::Result<()> {
    File::open(directory)?.sync_all()?;
    done(Step::Names(directory));
    Ok(())
}

async fn blocking<T, F>(location: &Path, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let outcome = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Generic {
            store: "DurableLocal",
            source: Box::new(error),
        })?;
    outcome.map_err(|error| {
        let path = location.to_string();
        match error.kind() {
            io::ErrorKind::NotFound => Error::NotFound {
                path,
                source: Box::new(error),
            },
            io::ErrorKind::AlreadyExists => Error::AlreadyExists {
                path,
                source: Box::new(error),
            },
            io::ErrorKind::PermissionDenied => Error::PermissionDenied {
                path,
                source: Box::new(error),
            },
            _ => Error::Generic {
                store: "DurableLocal",
                source: Box::new(io::Error::new(error.kind(), format!("/{path}: {error}"))),
            },
        }
    })
}

#[cfg(test)]
mod tests;
