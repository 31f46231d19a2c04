//! Which request goes where. What is not listed is not offered to clients (`ApiVersions` names only these).

use std::sync::Arc;

use rama::Layer;
use rama::service::{BoxService, Service};
use tansu_broker::Error;
use tansu_broker::service::storage as engine;
use tansu_sans_io::{ApiKey, Body, Frame, JoinGroupRequest, Request};
use tansu_service::{
    BytesFrameLayer, BytesFrameService, FrameRequestLayer, FrameRouteBuilder, FrameRouteService,
};
use tansu_storage::StorageContainer;
use tokio::sync::Notify;

use super::fetch::Fetch;
use super::groups::{
    CommitOffsets, DeleteGroups, DescribeGroups, FetchOffsets, Groups, Heartbeat, JoinGroup,
    LeaveGroup, ListGroups, SyncGroup,
};
use super::offsets::ListOffsets;
use super::produce::Produce;
use super::producers::InitProducerId;
use super::topics::{DeleteTopics, Topics};
use super::wal::Wal;

/// From the bytes of a request to the bytes of its response.
pub(super) type Router = BytesFrameService<FrameRouteService<(), Error>>;

type Builder = FrameRouteBuilder<(), Error>;

/// All routes over one storage engine.
///
/// Left out because the engine panics on them: `DeleteRecords`, `IncrementalAlterConfigs`, everything about
/// transactions. Left out because they do nothing here: ACLs, SCRAM users, telemetry, reassignments.
pub(super) fn router(
    cluster_id: &str,
    storage: &StorageContainer,
    wal: &Arc<Wal>,
    groups: &Groups,
) -> Result<Router, Error> {
    let topics = Topics::new(storage.clone());
    let arrivals = Arc::new(Notify::new());
    tracing::debug!(cluster_id, "broker routes");

    let builder = FrameRouteService::<(), Error>::builder();
    let builder = route(
        builder,
        InitProducerId {
            storage: storage.clone(),
        },
    )?;
    let builder = route(
        builder,
        Produce::new(
            storage.clone(),
            topics.clone(),
            Arc::clone(wal),
            Arc::clone(&arrivals),
        ),
    )?;
    let builder = route(
        builder,
        Fetch::new(storage.clone(), topics.clone(), arrivals),
    )?;
    let builder = route(
        builder,
        ListOffsets {
            storage: storage.clone(),
            topics: topics.clone(),
        },
    )?;
    let builder = route(builder, DeleteTopics(topics))?;
    let builder = [
        engine::metadata,
        engine::create_topics,
        engine::describe_cluster,
        engine::describe_configs,
        engine::describe_topic_partitions,
        engine::find_coordinator,
    ]
    .iter()
    .try_fold(builder, |builder, add| add(builder, storage.clone()))?;
    let builder = builder.with_route(JoinGroupRequest::KEY, JoinGroup(groups.clone()).boxed())?;
    let builder = route(builder, SyncGroup(groups.clone()))?;
    let builder = route(builder, Heartbeat(groups.clone()))?;
    let builder = route(builder, LeaveGroup(groups.clone()))?;
    let builder = route(builder, CommitOffsets(groups.clone()))?;
    let builder = route(builder, FetchOffsets(groups.clone()))?;
    let builder = route(builder, ListGroups(groups.clone()))?;
    let builder = route(builder, DescribeGroups(groups.clone()))?;
    let builder = route(builder, DeleteGroups(groups.clone()))?;
    Ok(BytesFrameLayer::default().into_layer(builder.build()?))
}

fn route<S, Q>(builder: Builder, service: S) -> Result<Builder, Error>
where
    S: Service<(), Q, Response = Q::Response, Error = Error>,
    Q: Request,
    <Q as TryFrom<Body>>::Error: Into<Error>,
{
    let service: BoxService<(), Frame, Frame, Error> =
        FrameRequestLayer::<Q>::new().into_layer(service).boxed();
    Ok(builder.with_route(Q::KEY, service)?)
}
