//! Joining a group, which takes until the round ends.

use std::time::Duration;

use rama::{Context, Service};
use tansu_broker::Error;
use tansu_sans_io::join_group_response::JoinGroupResponseMember;
use tansu_sans_io::{Body, ErrorCode, Frame, Header, JoinGroupRequest, JoinGroupResponse};
use uuid::Uuid;

use super::Groups;
use super::member::{Admission, Application, Place};

/// From this version on a member joins with an id that it was given before.
const FIRST_WITH_ID: i16 = 4;
/// Sessions may last this long at most, as in Kafka.
const LONGEST_SESSION_MS: i32 = 1_800_000;

/// Takes whole frames, for what is asked of a member depends on the version it speaks.
#[derive(Clone, Debug)]
pub(in crate::broker) struct JoinGroup(pub(in crate::broker) Groups);

impl Service<(), Frame> for JoinGroup {
    type Response = Frame;
    type Error = Error;

    async fn serve(&self, _ctx: Context<()>, request: Frame) -> Result<Frame, Error> {
        let correlation_id = request.correlation_id()?;
        let version = request.api_version()?;
        let client = request.client_id()?.unwrap_or_default().to_owned();
        let body = self
            .join(version, client, JoinGroupRequest::try_from(request.body)?)
            .await;
        Ok(Frame {
            size: 0,
            header: Header::Response { correlation_id },
            body,
        })
    }
}

impl JoinGroup {
    async fn join(&self, version: i16, client: String, request: JoinGroupRequest) -> Body {
        let (groups, group_id) = (&self.0, request.group_id.as_str());
        let id = request.member_id;
        if group_id.is_empty() {
            return refused(&id, ErrorCode::InvalidGroupId);
        }
        if !(1..=LONGEST_SESSION_MS).contains(&request.session_timeout_ms) {
            return refused(&id, ErrorCode::InvalidSessionTimeout);
        }
        let session = milliseconds(request.session_timeout_ms);
        let rebalance = request.rebalance_timeout_ms;
        let instance = request.group_instance_id;
        let name = instance.as_ref().unwrap_or(&client);
        let new_id = format!("{name}-{}", Uuid::new_v4());
        if id.is_empty() && instance.is_none() && version >= FIRST_WITH_ID {
            groups.with(group_id, |group, now| {
                group.promise(new_id.clone(), now + session);
            });
            return refused(&new_id, ErrorCode::MemberIdRequired);
        }
        let protocols = request.protocols.unwrap_or_default().into_iter();
        let application = Application {
            client,
            instance: instance.clone(),
            session,
            rebalance: milliseconds(rebalance.unwrap_or(request.session_timeout_ms)),
            kind: request.protocol_type,
            protocols: protocols.map(|it| (it.name, it.metadata)).collect(),
        };
        let admission = groups.with(group_id, |group, now| {
            group.join(now, &id, new_id, application)
        });
        let (member, past) = match admission {
            Ok(Admission::Wait { member, past }) => (member, past),
            Ok(Admission::Place(place)) => return joined(place),
            Err(code) => return refused(&id, code),
        };
        let placed = groups.wait_for(group_id, |group| {
            group.placed(&member, instance.as_deref(), past)
        });
        match placed.await {
            Ok(place) => {
                let generation = place.generation;
                tracing::debug!(group_id, generation, member, "joined a group");
                joined(place)
            }
            Err(code) => refused(&member, code),
        }
    }
}

fn milliseconds(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

fn refused(member: &str, code: ErrorCode) -> Body {
    JoinGroupResponse::default()
        .throttle_time_ms(Some(0))
        .error_code(code.into())
        .generation_id(-1)
        .protocol_type(Some(String::new()))
        .protocol_name(Some(String::new()))
        .skip_assignment(Some(false))
        .member_id(member.into())
        .members(Some(Vec::new()))
        .into()
}

fn joined(place: Place) -> Body {
    let everybody = place.everybody.into_iter().map(|(id, instance, metadata)| {
        JoinGroupResponseMember::default()
            .member_id(id)
            .group_instance_id(instance)
            .metadata(metadata)
    });
    JoinGroupResponse::default()
        .throttle_time_ms(Some(0))
        .error_code(ErrorCode::None.into())
        .generation_id(place.generation)
        .protocol_type(Some(place.kind))
        .protocol_name(Some(place.protocol))
        .leader(place.leader)
        .skip_assignment(Some(false))
        .member_id(place.member)
        .members(Some(everybody.collect()))
        .into()
}
