//! A checkpoint that another program replaces between a listing and the reading.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::*;

/// Lists checkpoints with the size of another one, so many times.
#[derive(Debug)]
struct OldSizes {
    inner: LocalFileSystem,
    left: AtomicUsize,
}

impl fmt::Display for OldSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OldSizes")
    }
}

#[async_trait]
impl ObjectStore for OldSizes {
    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let step = |left: usize| left.checked_sub(1);
        let old = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        let extra = if old.is_ok() { 5000 } else { 0 };
        let listing = self.inner.list_with_offset(prefix, offset);
        let sized = move |mut object: ObjectMeta| {
            if object.location.as_ref().ends_with(".parquet") {
                object.size += extra;
            }
            object
        };
        listing.map(move |object| object.map(sized)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn read(directory: &FilePath, old_sizes: usize) -> std::result::Result<u64, ReadError> {
    let store = OldSizes {
        inner: LocalFileSystem::new(),
        left: AtomicUsize::new(old_sizes),
    };
    let reader = TableReader::open(Arc::new(store), url(directory), ReaderOptions::default())?;
    let snapshot = reader.current().await?;
    Ok(snapshot.and_then(|snapshot| snapshot.rows()).unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_changes_while_it_is_read_is_looked_at_once_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(directory.path()).await;
    for i in 1..=4 {
        append(&mut table, rows("street", &[i])).await;
    }
    deltalake_core::checkpoints::create_checkpoint(&table, None)
        .await
        .unwrap();
    assert_eq!(read(directory.path(), 0).await.unwrap(), 4);
    assert_eq!(read(directory.path(), 1).await.unwrap(), 4);
    let error = read(directory.path(), usize::MAX).await.unwrap_err();
    assert!(
        matches!(error, ReadError::Log { .. }),
        "one that stays so is an error: {error:?}"
    );
}
