//! Consumer groups, with two repairs.

use async_trait::async_trait;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_broker::coordinator::group::{Coordinator, OffsetCommit};
use tansu_broker::{Error, Result};
use tansu_sans_io::join_group_request::JoinGroupRequestProtocol;
use tansu_sans_io::leave_group_request::MemberIdentity;
use tansu_sans_io::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use tansu_sans_io::sync_group_request::SyncGroupRequestAssignment;
use tansu_sans_io::{Body, ErrorCode, HeartbeatResponse};
use tansu_storage::{GroupDetail, GroupState, Storage, StorageContainer, UpdateError, Version};

/// Tansu's coordinator, which stops for good in two states, even over a restart of the broker:
///
/// - a leader that left before it had handed out partitions stays the leader: whoever joins waits for it;
/// - when a member's session has run out the others are told to join again, but the group stays as it was formed: they
///   get what they had before, and nobody the partitions of the dead one.
///
/// So when somebody left, or is told to join again, we look whether the group is in one of them.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    controller: Controller<StorageContainer>,
    storage: StorageContainer,
}

impl Groups {
    pub(super) fn new(storage: StorageContainer) -> Result<Groups> {
        Ok(Groups {
            controller: Controller::with_storage(storage.clone())?,
            storage,
        })
    }

    /// Has a group form again whose leader, or somebody who holds partitions of it, is no member any more. The
    /// coordinator's own copy of the group is then outdated, which it notices by the version.
    async fn form_without_the_departed(&self, group_id: &str) -> Result<()> {
        let mut group = GroupDetail::default();
        let mut version: Option<Version> = None;
        // Storage has no way to read a group but to be refused. That it is there the coordinator has seen to.
        while let Err(refused) = self.storage.update_group(group_id, group, version).await {
            let newest = match refused {
                UpdateError::Outdated { current, version } => {
                    group = *current;
                    version
                }
                UpdateError::Error(error) => return Err(error.into()),
                UpdateError::SerdeJson(error) => return Err(error.into()),
                UpdateError::MissingEtag | UpdateError::Uuid(_) => {
                    return Err(Error::Message("the version of a group is no such".into()));
                }
            };
            let members = &group.members;
            match &mut group.state {
                GroupState::Forming { leader, .. }
                    if leader.as_ref().is_some_and(|it| !members.contains_key(it)) =>
                {
                    tracing::debug!(group_id, "the group's leader had left: electing anew");
                    *leader = None;
                }
                GroupState::Formed {
                    protocol_type,
                    protocol_name,
                    assignments,
                    ..
                } if assignments.keys().any(|it| !members.contains_key(it)) => {
                    tracing::debug!(group_id, "a member of the group is gone: forming anew");
                    group.state = GroupState::Forming {
                        protocol_type: Some(std::mem::take(protocol_type)),
                        protocol_name: Some(std::mem::take(protocol_name)),
                        leader: None,
                    };
                    // By it the others see that they are to join again.
                    group.generation_id += 1;
                }
                _ => return Ok(()),
            }
            version = Some(newest);
        }
        Ok(())
    }
}

#[async_trait]
impl Coordinator for Groups {
    async fn join(
        &mut self,
        client_id: Option<&str>,
        group_id: &str,
        session_timeout_ms: i32,
        rebalance_timeout_ms: Option<i32>,
        member_id: &str,
        group_instance_id: Option<&str>,
        protocol_type: &str,
        protocols: Option<&[JoinGroupRequestProtocol]>,
        reason: Option<&str>,
    ) -> Result<Body> {
        self.controller
            .join(
                client_id,
                group_id,
                session_timeout_ms,
                rebalance_timeout_ms,
                member_id,
                group_instance_id,
                protocol_type,
                protocols,
                reason,
            )
            .await
    }

    async fn sync(
        &mut self,
        group_id: &str,
        generation_id: i32,
        member_id: &str,
        group_instance_id: Option<&str>,
        protocol_type: Option<&str>,
        protocol_name: Option<&str>,
        assignments: Option<&[SyncGroupRequestAssignment]>,
    ) -> Result<Body> {
        self.controller
            .sync(
                group_id,
                generation_id,
                member_id,
                group_instance_id,
                protocol_type,
                protocol_name,
                assignments,
            )
            .await
    }

    async fn heartbeat(
        &mut self,
        group_id: &str,
        generation_id: i32,
        member_id: &str,
        group_instance_id: Option<&str>,
    ) -> Result<Body> {
        let answer = self
            .controller
            .heartbeat(group_id, generation_id, member_id, group_instance_id)
            .await?;
        let again = i16::from(ErrorCode::RebalanceInProgress);
        if HeartbeatResponse::try_from(answer.clone()).is_ok_and(|it| it.error_code == again) {
            self.form_without_the_departed(group_id).await?;
        }
        Ok(answer)
    }

    async fn leave(
        &mut self,
        group_id: &str,
        member_id: Option<&str>,
        members: Option<&[MemberIdentity]>,
    ) -> Result<Body> {
        let answer = self.controller.leave(group_id, member_id, members).await?;
        self.form_without_the_departed(group_id).await?;
        Ok(answer)
    }

    async fn offset_commit(&mut self, detail: OffsetCommit<'_>) -> Result<Body> {
        self.controller.offset_commit(detail).await
    }

    async fn offset_fetch(
        &mut self,
        group_id: Option<&str>,
        topics: Option<&[OffsetFetchRequestTopic]>,
        groups: Option<&[OffsetFetchRequestGroup]>,
        require_stable: Option<bool>,
    ) -> Result<Body> {
        self.controller
            .offset_fetch(group_id, topics, groups, require_stable)
            .await
    }
}
