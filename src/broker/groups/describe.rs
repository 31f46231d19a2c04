//! What tools ask about groups.

use std::collections::{BTreeMap, BTreeSet};

use rama::{Context, Service};
use tansu_broker::Error;
use tansu_sans_io::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use tansu_sans_io::list_groups_response::ListedGroup;
use tansu_sans_io::{
    DescribeGroupsRequest, DescribeGroupsResponse, ErrorCode, ListGroupsRequest, ListGroupsResponse,
};
use tansu_storage::Storage;

use super::Groups;
use super::group::{Group, Phase};

/// What a group is that has committed and has no members.
const EMPTY: &str = "Empty";
/// What a group is that is not here: one that may have been.
const DEAD: &str = "Dead";

fn state(group: &Group) -> &'static str {
    match group.phase {
        Phase::Empty => EMPTY,
        Phase::Joining { .. } => "PreparingRebalance",
        Phase::Sharing { .. } => "CompletingRebalance",
        Phase::Stable => "Stable",
    }
}

fn described(id: String, group: &Group) -> DescribedGroup {
    let members = group.members.iter().map(|(id, member)| {
        DescribedGroupMember::default()
            .member_id(id.clone())
            .group_instance_id(member.application.instance.clone())
            .client_id(member.application.client.clone())
            .client_host(String::new())
            .member_metadata(member.metadata(&group.protocol))
            .member_assignment(member.share.clone())
    });
    DescribedGroup::default()
        .error_code(ErrorCode::None.into())
        .group_id(id)
        .group_state(state(group).into())
        .protocol_type(group.kind.clone())
        .protocol_data(group.protocol.clone())
        .members(Some(members.collect()))
        .authorized_operations(Some(i32::MIN))
}

#[derive(Clone, Debug)]
pub(in crate::broker) struct DescribeGroups(pub(in crate::broker) Groups);

impl Service<(), DescribeGroupsRequest> for DescribeGroups {
    type Response = DescribeGroupsResponse;
    type Error = Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: DescribeGroupsRequest,
    ) -> Result<Self::Response, Self::Error> {
        // Groups without members are known by what they have committed.
        let kept = self.0.storage.list_groups(None).await?;
        let kept: BTreeSet<String> = kept.into_iter().map(|it| it.group_id).collect();
        self.0.sweep();
        let groups = self.0.lock();
        let asked = request.groups.unwrap_or_default().into_iter();
        let answers = asked.map(|id| match groups.get(&id) {
            Some(group) => described(id, group),
            None => DescribedGroup::default()
                .error_code(ErrorCode::None.into())
                .group_state(if kept.contains(&id) { EMPTY } else { DEAD }.into())
                .group_id(id)
                .members(Some(Vec::new()))
                .authorized_operations(Some(i32::MIN)),
        });
        Ok(DescribeGroupsResponse::default()
            .throttle_time_ms(Some(0))
            .groups(Some(answers.collect())))
    }
}

#[derive(Clone, Debug)]
pub(in crate::broker) struct ListGroups(pub(in crate::broker) Groups);

impl Service<(), ListGroupsRequest> for ListGroups {
    type Response = ListGroupsResponse;
    type Error = Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: ListGroupsRequest,
    ) -> Result<Self::Response, Self::Error> {
        // Groups that have committed are on disk; those that have members are here.
        let kept = self.0.storage.list_groups(None).await?;
        let mut known: BTreeMap<String, (String, &str)> = kept
            .into_iter()
            .map(|it| (it.group_id, (String::from("consumer"), EMPTY)))
            .collect();
        self.0.sweep();
        for (id, group) in self.0.lock().iter() {
            known.insert(id.clone(), (group.kind.clone(), state(group)));
        }
        let wanted = request.states_filter.unwrap_or_default();
        let listed = known
            .into_iter()
            .filter(|(_, (_, state))| {
                wanted.is_empty() || wanted.iter().any(|it| it.eq_ignore_ascii_case(state))
            })
            .map(|(id, (kind, state))| {
                ListedGroup::default()
                    .group_id(id)
                    .protocol_type(kind)
                    .group_state(Some(state.into()))
                    .group_type(Some("classic".into()))
            });
        Ok(ListGroupsResponse::default()
            .throttle_time_ms(Some(0))
            .error_code(ErrorCode::None.into())
            .groups(Some(listed.collect())))
    }
}
