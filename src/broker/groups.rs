//! Consumer groups: members and their partitions in memory ([`group`]), committed offsets in the engine.
//!
//! Tansu has a coordinator of its own. It begins a generation with whoever asks first and lets the rest find out; what
//! they are told by then may be of the generation before, under the same number (`docs/adr/0011-own-groups.md`). Here
//! a round waits for all members, as it does in Kafka. A broker that starts anew knows no members: they are told so and
//! join again.

mod describe;
mod group;
mod member;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tansu_broker::Result;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_broker::coordinator::group::{Coordinator, OffsetCommit};
use tansu_sans_io::join_group_request::JoinGroupRequestProtocol;
use tansu_sans_io::join_group_response::JoinGroupResponseMember;
use tansu_sans_io::leave_group_request::MemberIdentity;
use tansu_sans_io::leave_group_response::MemberResponse;
use tansu_sans_io::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use tansu_sans_io::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use tansu_sans_io::sync_group_request::SyncGroupRequestAssignment;
use tansu_sans_io::{
    Body, ErrorCode, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
    OffsetCommitResponse, SyncGroupResponse,
};
use tansu_storage::StorageContainer;
use tokio::sync::Notify;
use uuid::Uuid;

pub(super) use describe::{DescribeGroups, ListGroups};
use group::Group;
use member::{Admission, Application, Place};

/// How long a waiting member goes without a look at its group, whatever happens.
const LONGEST_NAP: Duration = Duration::from_secs(5);
/// Sessions may last this long at most, as in Kafka.
const LONGEST_SESSION_MS: i32 = 1_800_000;

/// All groups of the broker.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    groups: Arc<Mutex<HashMap<String, Group>>>,
    changed: Arc<Notify>,
    offsets: Controller<StorageContainer>,
    storage: StorageContainer,
}

impl Groups {
    pub(super) fn new(storage: StorageContainer) -> Result<Groups> {
        Ok(Groups {
            groups: Arc::default(),
            changed: Arc::default(),
            offsets: Controller::with_storage(storage.clone())?,
            storage,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to a group as it is now, and wakes whoever waits for something to happen to one.
    fn with<T>(&self, id: &str, act: impl FnOnce(&mut Group, Instant) -> T) -> T {
        let now = Instant::now();
        let mut groups = self.lock();
        let group = groups.entry(id.to_owned()).or_insert_with(Group::new);
        group.advance(now);
        let done = act(group, now);
        group.advance(now);
        if group.deserted() {
            groups.remove(id);
        }
        self.changed.notify_waiters();
        done
    }

    /// Waits until a look at a group finds what it is for.
    async fn wait_for<T>(&self, id: &str, mut look: impl FnMut(&mut Group) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = Instant::now();
            let next = {
                let mut groups = self.lock();
                let group = groups.entry(id.to_owned()).or_insert_with(Group::new);
                if group.advance(now) {
                    self.changed.notify_waiters();
                }
                if let Some(found) = look(group) {
                    if group.deserted() {
                        groups.remove(id);
                    }
                    return found;
                }
                let longest = now + LONGEST_NAP;
                group.deadline().map_or(longest, |it| it.min(longest))
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }
}

fn milliseconds(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

fn refused_join(member: &str, code: ErrorCode) -> Body {
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

fn code_of<T>(result: &std::result::Result<T, ErrorCode>) -> i16 {
    match result {
        Ok(_) => ErrorCode::None.into(),
        Err(code) => i16::from(*code),
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
        _reason: Option<&str>,
    ) -> Result<Body> {
        if group_id.is_empty() {
            return Ok(refused_join(member_id, ErrorCode::InvalidGroupId));
        }
        if !(1..=LONGEST_SESSION_MS).contains(&session_timeout_ms) {
            return Ok(refused_join(member_id, ErrorCode::InvalidSessionTimeout));
        }
        let session = milliseconds(session_timeout_ms);
        let name = group_instance_id.or(client_id).unwrap_or("member");
        let new_id = format!("{name}-{}", Uuid::new_v4());
        if member_id.is_empty() && group_instance_id.is_none() {
            self.with(group_id, |group, now| {
                group.promise(new_id.clone(), now + session);
            });
            return Ok(refused_join(&new_id, ErrorCode::MemberIdRequired));
        }
        let protocols = protocols.unwrap_or_default().iter();
        let application = Application {
            client: client_id.unwrap_or_default().to_owned(),
            instance: group_instance_id.map(str::to_owned),
            session,
            rebalance: milliseconds(rebalance_timeout_ms.unwrap_or(session_timeout_ms)),
            kind: protocol_type.to_owned(),
            protocols: protocols
                .map(|it| (it.name.clone(), it.metadata.clone()))
                .collect(),
        };
        let admission = self.with(group_id, |group, now| {
            group.join(now, member_id, new_id, application)
        });
        let (member, past) = match admission {
            Ok(Admission::Wait { member, past }) => (member, past),
            Ok(Admission::Place(place)) => return Ok(joined(place)),
            Err(code) => return Ok(refused_join(member_id, code)),
        };
        let placed = self.wait_for(group_id, |group| {
            group.placed(&member, group_instance_id, past)
        });
        Ok(match placed.await {
            Ok(place) => {
                tracing::debug!(
                    group_id,
                    generation = place.generation,
                    member,
                    "joined a group"
                );
                joined(place)
            }
            Err(code) => refused_join(&member, code),
        })
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
        let shares = assignments.unwrap_or_default().iter();
        let shares = shares.map(|it| (it.member_id.clone(), it.assignment.clone()));
        let handed = self.with(group_id, |group, now| {
            group.share(now, member_id, group_instance_id, generation_id, shares)
        });
        let share = match handed {
            Ok(()) => {
                self.wait_for(group_id, |group| {
                    group.shared(member_id, group_instance_id, generation_id)
                })
                .await
            }
            Err(code) => Err(code),
        };
        Ok(SyncGroupResponse::default()
            .throttle_time_ms(Some(0))
            .error_code(code_of(&share))
            .protocol_type(protocol_type.map(str::to_owned))
            .protocol_name(protocol_name.map(str::to_owned))
            .assignment(share.unwrap_or(Bytes::new()))
            .into())
    }

    async fn heartbeat(
        &mut self,
        group_id: &str,
        generation_id: i32,
        member_id: &str,
        group_instance_id: Option<&str>,
    ) -> Result<Body> {
        let beat = self.with(group_id, |group, now| {
            group.heartbeat(now, member_id, group_instance_id, generation_id)
        });
        Ok(HeartbeatResponse::default()
            .throttle_time_ms(Some(0))
            .error_code(code_of(&beat))
            .into())
    }

    async fn leave(
        &mut self,
        group_id: &str,
        member_id: Option<&str>,
        members: Option<&[MemberIdentity]>,
    ) -> Result<Body> {
        let leave = |id: &str, instance: Option<&str>| {
            code_of(&self.with(group_id, |group, now| group.leave(now, id, instance)))
        };
        // Up to version 2 one member leaves, and the answer is about it.
        let alone = member_id.map(|id| leave(id, None));
        let left = members.map(|members| {
            let left = members.iter().map(|it| {
                MemberResponse::default()
                    .member_id(it.member_id.clone())
                    .group_instance_id(it.group_instance_id.clone())
                    .error_code(leave(&it.member_id, it.group_instance_id.as_deref()))
            });
            left.collect::<Vec<_>>()
        });
        Ok(LeaveGroupResponse::default()
            .throttle_time_ms(Some(0))
            .error_code(alone.unwrap_or(ErrorCode::None.into()))
            .members(Some(left.unwrap_or_default()))
            .into())
    }

    async fn offset_commit(&mut self, detail: OffsetCommit<'_>) -> Result<Body> {
        let member = detail.member_id.unwrap_or_default();
        let generation = detail.generation_id_or_member_epoch.unwrap_or(-1);
        let may = self.with(detail.group_id, |group, now| {
            // Without members, offsets are a notebook of whoever assigns partitions to itself.
            if group.members.is_empty() && generation < 0 {
                return Ok(());
            }
            group.may_commit(now, member, detail.group_instance_id, generation)
        });
        let Err(code) = may else {
            return self.offsets.offset_commit(detail).await;
        };
        let topics = detail.topics.unwrap_or_default().iter().map(|topic| {
            let partitions = topic.partitions.as_deref().unwrap_or_default().iter();
            let refused = partitions.map(|it| {
                OffsetCommitResponsePartition::default()
                    .partition_index(it.partition_index)
                    .error_code(code.into())
            });
            OffsetCommitResponseTopic::default()
                .name(topic.name.clone())
                .partitions(Some(refused.collect()))
        });
        Ok(OffsetCommitResponse::default()
            .throttle_time_ms(Some(0))
            .topics(Some(topics.collect()))
            .into())
    }

    async fn offset_fetch(
        &mut self,
        group_id: Option<&str>,
        topics: Option<&[OffsetFetchRequestTopic]>,
        groups: Option<&[OffsetFetchRequestGroup]>,
        require_stable: Option<bool>,
    ) -> Result<Body> {
        self.offsets
            .offset_fetch(group_id, topics, groups, require_stable)
            .await
    }
}
