//! Consumer groups whose members leave at bad moments.

use tansu_sans_io::describe_groups_response::DescribedGroup;
use tansu_sans_io::join_group_request::JoinGroupRequestProtocol;
use tansu_sans_io::leave_group_request::MemberIdentity;
use tansu_sans_io::sync_group_request::SyncGroupRequestAssignment;
use tansu_sans_io::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    ErrorCode, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, SyncGroupRequest,
    SyncGroupResponse,
};

use super::raw::ask;
use super::*;

/// Longer than a follower waits to be let in, which counts.
const SESSION_MS: i32 = 6_000;

async fn join(bootstrap: &str, member: &str) -> JoinGroupResponse {
    join_by(bootstrap, 5, member).await
}

async fn join_by(bootstrap: &str, version: i16, member: &str) -> JoinGroupResponse {
    let protocol = JoinGroupRequestProtocol::default()
        .name("range".into())
        .metadata(bytes::Bytes::from_static(b"t"));
    let request = JoinGroupRequest::default()
        .group_id("g".into())
        .session_timeout_ms(SESSION_MS)
        .rebalance_timeout_ms(Some(6_000))
        .member_id(member.into())
        .protocol_type("consumer".into())
        .protocols(Some(vec![protocol]));
    JoinGroupResponse::try_from(ask(bootstrap, version, request).await).unwrap()
}

/// Gets a member id, then joins by it.
async fn joined(bootstrap: &str) -> JoinGroupResponse {
    let asked = join(bootstrap, "").await;
    assert_eq!(asked.error_code, i16::from(ErrorCode::MemberIdRequired));
    let joined = join(bootstrap, &asked.member_id).await;
    assert_eq!(joined.error_code, i16::from(ErrorCode::None));
    joined
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_leaves_before_the_group_has_formed_is_followed_by_another() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    let first = joined(broker.bootstrap()).await;
    assert_eq!(first.leader, first.member_id);

    let member = MemberIdentity::default().member_id(first.member_id.clone());
    let request = LeaveGroupRequest::default()
        .group_id("g".into())
        .members(Some(vec![member]));
    let left = ask(broker.bootstrap(), 3, request).await;
    assert_eq!(LeaveGroupResponse::try_from(left).unwrap().error_code, 0);

    let second = joined(broker.bootstrap()).await;
    assert_eq!(second.leader, second.member_id);
    broker.shutdown().await.unwrap();
}

async fn sync(
    bootstrap: &str,
    generation: i32,
    member: &str,
    shares: Vec<SyncGroupRequestAssignment>,
) -> SyncGroupResponse {
    let request = SyncGroupRequest::default()
        .group_id("g".into())
        .generation_id(generation)
        .member_id(member.into())
        .protocol_type(Some("consumer".into()))
        .protocol_name(Some("range".into()))
        .assignments(Some(shares));
    SyncGroupResponse::try_from(ask(bootstrap, 5, request).await).unwrap()
}

/// What tools are told of the group.
async fn described(bootstrap: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest::default()
        .groups(Some(vec!["g".into()]))
        .include_authorized_operations(Some(false));
    let answer = ask(bootstrap, 4, request).await;
    let answer = DescribeGroupsResponse::try_from(answer).unwrap();
    answer.groups.unwrap().remove(0)
}

async fn wait_for_phase(bootstrap: &str, phase: &str) {
    while described(bootstrap).await.group_state != phase {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn heartbeat(bootstrap: &str, generation: i32, member: &str) -> i16 {
    let request = HeartbeatRequest::default()
        .group_id("g".into())
        .generation_id(generation)
        .member_id(member.into());
    let answer = ask(bootstrap, 3, request).await;
    HeartbeatResponse::try_from(answer).unwrap().error_code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_of_a_member_whose_session_ran_out_go_to_those_that_are_left() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    let at = broker.bootstrap();
    let dead = joined(at).await.member_id;
    // The round that the second one begins waits for the first, who hands out everything to itself; then it dies.
    let left = tokio::spawn({
        let at = at.to_owned();
        async move { joined(&at).await }
    });
    wait_for_phase(at, "PreparingRebalance").await;
    let formed = join(at, &dead).await;
    assert_eq!((&formed.leader, formed.members.unwrap().len()), (&dead, 2));
    let left = left.await.unwrap();
    assert_eq!(left.generation_id, formed.generation_id);
    let left = left.member_id;
    let shares = [(&dead, "all"), (&left, "")].map(|(member, share)| {
        SyncGroupRequestAssignment::default()
            .member_id(member.clone())
            .assignment(bytes::Bytes::from_static(share.as_bytes()))
    });
    for (member, shares) in [(&dead, shares.to_vec()), (&left, Vec::new())] {
        let answer = sync(at, formed.generation_id, member, shares).await;
        assert_eq!(answer.error_code, 0);
    }
    let (began, mut told) = (std::time::Instant::now(), 0);
    while told == 0 && began.elapsed().as_secs() < 20 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        told = heartbeat(at, formed.generation_id, &left).await;
    }
    assert_eq!(told, i16::from(ErrorCode::RebalanceInProgress));
    let again = join(at, &left).await;
    assert!(again.generation_id > formed.generation_id);
    assert_eq!((&again.leader, again.members.unwrap().len()), (&left, 1));
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_see_who_is_in_a_group_and_what_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    let at = broker.bootstrap();
    assert_eq!(described(at).await.group_state, "Dead");
    let member = joined(at).await;
    assert_eq!(described(at).await.group_state, "CompletingRebalance");
    let share = SyncGroupRequestAssignment::default()
        .member_id(member.member_id.clone())
        .assignment(bytes::Bytes::from_static(b"all"));
    sync(at, member.generation_id, &member.member_id, vec![share]).await;

    let seen = described(at).await;
    assert_eq!(seen.group_state, "Stable");
    let seen = seen.members.unwrap().remove(0);
    assert_eq!(seen.member_id, member.member_id);
    assert_eq!(seen.member_assignment, bytes::Bytes::from_static(b"all"));
    let listed = ask(
        at,
        4,
        ListGroupsRequest::default().states_filter(Some(Vec::new())),
    )
    .await;
    let listed = ListGroupsResponse::try_from(listed).unwrap();
    let listed = listed.groups.unwrap().remove(0);
    assert_eq!(
        (listed.group_id.as_str(), listed.group_state.as_deref()),
        ("g", Some("Stable"))
    );
    // Its offsets are not to be lost while it is in use.
    let request = DeleteGroupsRequest::default().groups_names(Some(vec!["g".into()]));
    let deleted = DeleteGroupsResponse::try_from(ask(at, 1, request).await).unwrap();
    let deleted = deleted.results.unwrap().remove(0);
    assert_eq!(deleted.error_code, i16::from(ErrorCode::NonEmptyGroup));
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_know_no_ids_given_out_beforehand_join_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_in(directory.path()).await;
    let joined = join_by(broker.bootstrap(), 2, "").await;
    assert_eq!(joined.error_code, i16::from(ErrorCode::None));
    assert_eq!(joined.leader, joined.member_id);
    broker.shutdown().await.unwrap();
}
