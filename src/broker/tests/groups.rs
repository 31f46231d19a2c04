//! Consumer groups whose members leave at bad moments.

use tansu_sans_io::join_group_request::JoinGroupRequestProtocol;
use tansu_sans_io::leave_group_request::MemberIdentity;
use tansu_sans_io::{
    ErrorCode, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
};

use super::raw::ask;
use super::*;

async fn join(bootstrap: &str, member: &str) -> JoinGroupResponse {
    let protocol = JoinGroupRequestProtocol::default()
        .name("range".into())
        .metadata(bytes::Bytes::from_static(b"t"));
    let request = JoinGroupRequest::default()
        .group_id("g".into())
        .session_timeout_ms(6_000)
        .rebalance_timeout_ms(Some(6_000))
        .member_id(member.into())
        .protocol_type("consumer".into())
        .protocols(Some(vec![protocol]));
    JoinGroupResponse::try_from(ask(bootstrap, 5, request).await).unwrap()
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
