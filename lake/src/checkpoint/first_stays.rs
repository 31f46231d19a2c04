//! Of two checkpoints of one version the first stays.
//!
//! Aggregators reach the same version at the same time. What each would write is good, but not the same to the byte, for
//! expired tombstones are left out; and whoever has listed the first, with its size, and then reads the second, finds a
//! damaged file.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use crate::log::objects::{HINT, Part, part_of};

/// A store for writing one checkpoint.
#[derive(Debug, Clone)]
pub(super) struct FirstStays {
    inner: Arc<dyn ObjectStore>,
    /// Somebody else's checkpoint was first.
    second: Arc<AtomicBool>,
}

impl FirstStays {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            second: Arc::default(),
        }
    }

    async fn put_checkpoint(&self, location: &Path, payload: PutPayload) -> Result<PutResult> {
        let put = self
            .inner
            .put_opts(location, payload, PutMode::Create.into());
        match put.await {
            Err(Error::AlreadyExists { .. }) => {
                self.second.store(true, Ordering::Release);
                Ok(NOTHING)
            }
            put => put,
        }
    }
}

/// What came of a put that was left out.
const NOTHING: PutResult = PutResult {
    e_tag: None,
    version: None,
};

fn is_checkpoint(location: &Path) -> bool {
    let part = location.filename().and_then(part_of);
    part.is_some_and(|(_, part)| part == Part::Checkpoint)
}

impl fmt::Display for FirstStays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirstStays({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FirstStays {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if is_checkpoint(location) {
            return self.put_checkpoint(location, payload).await;
        }
        // The hint tells the checkpoint's size: it belongs to whoever was first.
        if location.filename() == Some(HINT) && self.second.load(Ordering::Acquire) {
            return Ok(NOTHING);
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if is_checkpoint(location) {
            // No store takes parts of an object that must be new, so they are put together first.
            return Ok(Box::new(Gathered {
                store: self.clone(),
                location: location.clone(),
                parts: Vec::new(),
            }));
        }
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A checkpoint of several parts.
#[derive(Debug)]
struct Gathered {
    store: FirstStays,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Gathered {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        Box::pin(async { Ok(()) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let parts = std::mem::take(&mut self.parts);
        let payload = parts.into_iter().flatten().collect();
        self.store.put_checkpoint(&self.location, payload).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, WriteMultipart};

    use super::*;

    fn checkpoint(version: i64) -> Path {
        Path::from(format!("table/_delta_log/{version:020}.checkpoint.parquet"))
    }

    async fn text(store: &InMemory, path: &Path) -> String {
        let bytes = store.get(path).await.unwrap().bytes().await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_second_checkpoint_of_a_version_changes_neither_the_first_nor_the_hint() {
        let store = Arc::new(InMemory::new());
        let hint = Path::from("table/_delta_log/_last_checkpoint");
        for words in ["first", "second"] {
            let writer = FirstStays::new(Arc::clone(&store) as Arc<dyn ObjectStore>);
            writer.put(&checkpoint(7), words.into()).await.unwrap();
            writer.put(&hint, words.into()).await.unwrap();
        }
        assert_eq!(text(&store, &checkpoint(7)).await, "first");
        assert_eq!(text(&store, &hint).await, "first");
        let writer = FirstStays::new(Arc::clone(&store) as Arc<dyn ObjectStore>);
        writer.put(&checkpoint(8), "next".into()).await.unwrap();
        writer.put(&hint, "next".into()).await.unwrap();
        assert_eq!(text(&store, &hint).await, "next");
    }

    #[tokio::test]
    async fn a_checkpoint_in_parts_is_put_together_and_stays_too() {
        let store = Arc::new(InMemory::new());
        for words in ["first, in parts", "second"] {
            let writer = FirstStays::new(Arc::clone(&store) as Arc<dyn ObjectStore>);
            let upload = writer.put_multipart(&checkpoint(7)).await.unwrap();
            let mut upload = WriteMultipart::new_with_chunk_size(upload, 4);
            upload.write(words.as_bytes());
            upload.finish().await.unwrap();
        }
        assert_eq!(text(&store, &checkpoint(7)).await, "first, in parts");
    }
}
