//! Which topics there are. Asked before the engine is: it panics on requests about what it does not have.

use std::sync::Arc;

use rama::{Context, Service};
use tansu_sans_io::metadata_response::MetadataResponseTopic;
use tansu_sans_io::{DeleteTopicsRequest, DeleteTopicsResponse, ErrorCode};
use tansu_storage::{DeleteTopicsService, Storage, StorageContainer, TopicId};
use tokio::sync::{RwLock, RwLockReadGuard};

/// The engine's topics, with a lock that keeps them from being deleted between a look and a use.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    storage: StorageContainer,
    deleting: Arc<RwLock<()>>,
}

/// A topic that exists.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: [u8; 16],
    partitions: usize,
}

impl Topic {
    pub(super) fn has(&self, partition: i32) -> bool {
        usize::try_from(partition).is_ok_and(|partition| partition < self.partitions)
    }
}

impl Topics {
    pub(super) fn new(storage: StorageContainer) -> Self {
        Self {
            storage,
            deleting: Arc::new(RwLock::new(())),
        }
    }

    /// While this is held, a topic that was found stays.
    pub(super) async fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.deleting.read().await
    }

    pub(super) async fn named(&self, name: &str) -> Result<Option<Topic>, tansu_storage::Error> {
        self.find(TopicId::Name(name.to_owned())).await
    }

    pub(super) async fn find(&self, topic: TopicId) -> Result<Option<Topic>, tansu_storage::Error> {
        let found = self.storage.metadata(Some(&[topic])).await?;
        let there = |topic: &&MetadataResponseTopic| topic.error_code == i16::from(ErrorCode::None);
        Ok(found.topics().iter().find(there).and_then(|topic| {
            Some(Topic {
                name: topic.name.clone()?,
                id: topic.topic_id?,
                partitions: topic.partitions.as_ref()?.len(),
            })
        }))
    }
}

/// Deletes topics while nobody reads or writes.
#[derive(Clone, Debug)]
pub(super) struct DeleteTopics(pub(super) Topics);

impl Service<(), DeleteTopicsRequest> for DeleteTopics {
    type Response = DeleteTopicsResponse;
    type Error = tansu_broker::Error;

    async fn serve(
        &self,
        ctx: Context<()>,
        request: DeleteTopicsRequest,
    ) -> Result<Self::Response, Self::Error> {
        let _alone = self.0.deleting.write().await;
        let (ctx, ()) = ctx.swap_state(self.0.storage.clone());
        Ok(DeleteTopicsService.serve(ctx, request).await?)
    }
}
