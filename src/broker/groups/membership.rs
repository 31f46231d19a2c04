//! What members do between joining and leaving, and leaving.

use rama::{Context, Service};
use tansu_broker::Error;
use tansu_sans_io::leave_group_response::MemberResponse;
use tansu_sans_io::{
    ErrorCode, HeartbeatRequest, HeartbeatResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};

use super::{Groups, code_of};

/// Hands out the leader's shares, and gives each member its own.
#[derive(Clone, Debug)]
pub(in crate::broker) struct SyncGroup(pub(in crate::broker) Groups);

impl Service<(), SyncGroupRequest> for SyncGroup {
    type Response = SyncGroupResponse;
    type Error = Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: SyncGroupRequest,
    ) -> Result<Self::Response, Self::Error> {
        let group_id = request.group_id.as_str();
        let (id, generation) = (request.member_id.as_str(), request.generation_id);
        let instance = request.group_instance_id.as_deref();
        let shares = request.assignments.unwrap_or_default().into_iter();
        let shares = shares.map(|it| (it.member_id, it.assignment));
        let handed = self.0.with(group_id, |group, now| {
            group.share(now, id, instance, generation, shares)
        });
        let shared = || {
            self.0
                .wait_for(group_id, |group| group.shared(id, instance, generation))
        };
        let share = match handed {
            Ok(()) => shared().await,
            Err(code) => Err(code),
        };
        Ok(SyncGroupResponse::default()
            .throttle_time_ms(Some(0))
            .error_code(code_of(&share))
            .protocol_type(request.protocol_type)
            .protocol_name(request.protocol_name)
            .assignment(share.unwrap_or_default()))
    }
}

/// A sign of life, answered with whether all is as it was.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Heartbeat(pub(in crate::broker) Groups);

impl Service<(), HeartbeatRequest> for Heartbeat {
    type Response = HeartbeatResponse;
    type Error = Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: HeartbeatRequest,
    ) -> Result<Self::Response, Self::Error> {
        let beat = self.0.with(&request.group_id, |group, now| {
            let instance = request.group_instance_id.as_deref();
            group.heartbeat(now, &request.member_id, instance, request.generation_id)
        });
        Ok(HeartbeatResponse::default()
            .throttle_time_ms(Some(0))
            .error_code(code_of(&beat)))
    }
}

#[derive(Clone, Debug)]
pub(in crate::broker) struct LeaveGroup(pub(in crate::broker) Groups);

impl Service<(), LeaveGroupRequest> for LeaveGroup {
    type Response = LeaveGroupResponse;
    type Error = Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: LeaveGroupRequest,
    ) -> Result<Self::Response, Self::Error> {
        let leave = |id: &str, instance: Option<&str>| {
            let left = self.0.with(&request.group_id, |group, now| {
                group.leave(now, id, instance)
            });
            code_of(&left)
        };
        // Up to version 2 one member leaves, and the answer is about it.
        let alone = request.member_id.map(|id| leave(&id, None));
        let members = request.members.unwrap_or_default().into_iter();
        let left = members.map(|it| {
            let code = leave(&it.member_id, it.group_instance_id.as_deref());
            MemberResponse::default()
                .member_id(it.member_id)
                .group_instance_id(it.group_instance_id)
                .error_code(code)
        });
        Ok(LeaveGroupResponse::default()
            .throttle_time_ms(Some(0))
            .members(Some(left.collect()))
            .error_code(alone.unwrap_or(ErrorCode::None.into())))
    }
}
