//! Identities for idempotent producers.

use rama::{Context, Service};
use tansu_sans_io::{ErrorCode, InitProducerIdRequest, InitProducerIdResponse};
use tansu_storage::{Storage, StorageContainer};

/// Every producer id is issued with this epoch, see [`InitProducerId`].
pub(super) const EPOCH: i16 = 0;

/// Hands out producer ids. A producer that asks for a new epoch of its id (librdkafka does after some errors) gets a
/// new id instead, as Kafka itself does when it has forgotten the old one: the engine knows no new epochs.
#[derive(Clone, Debug)]
pub(super) struct InitProducerId {
    pub(super) storage: StorageContainer,
}

impl Service<(), InitProducerIdRequest> for InitProducerId {
    type Response = InitProducerIdResponse;
    type Error = tansu_broker::Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: InitProducerIdRequest,
    ) -> Result<Self::Response, Self::Error> {
        if request.transactional_id.is_some() {
            tracing::warn!("a client asked for a transaction: the embedded broker has none");
            return Ok(InitProducerIdResponse::default()
                .error_code(ErrorCode::TransactionalIdAuthorizationFailed.into())
                .producer_id(-1)
                .producer_epoch(-1));
        }
        let issued = self
            .storage
            .init_producer(None, request.transaction_timeout_ms, Some(-1), Some(-1))
            .await?;
        Ok(InitProducerIdResponse::default()
            .error_code(issued.error.into())
            .producer_id(issued.id)
            .producer_epoch(issued.epoch))
    }
}
