//! Uploads in parts: written to the staged file where they belong, published at the end.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::{Publish, Staged, blocking};

#[derive(Debug)]
pub(super) struct Upload {
    location: Path,
    staged: Option<Staged>,
    file: Arc<File>,
    length: u64,
}

impl Upload {
    pub(super) fn new(location: Path, staged: Staged, file: File) -> Self {
        Self {
            location,
            staged: Some(staged),
            file: Arc::new(file),
            length: 0,
        }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (file, mut at, location) = (Arc::clone(&self.file), self.length, self.location.clone());
        self.length += data.content_length() as u64;
        Box::pin(async move {
            blocking(&location, move || {
                for part in data.iter() {
                    file.write_all_at(part, at)?;
                    at += part.len() as u64;
                }
                Ok(())
            })
            .await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let Some(staged) = self.staged.take() else {
            return Err(Error::Generic {
                store: "DurableLocal",
                source: "the upload has ended already".into(),
            });
        };
        let file = Arc::clone(&self.file);
        blocking(&self.location, move || {
            staged.publish(&file, Publish::Replace)
        })
        .await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn abort(&mut self) -> Result<()> {
        self.staged.take();
        Ok(())
    }
}
