//! Committed offsets, which the engine keeps.

use std::collections::BTreeMap;

use rama::{Context, Service};
use tansu_broker::Error;
use tansu_sans_io::delete_groups_response::DeletableGroupResult;
use tansu_sans_io::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use tansu_sans_io::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use tansu_sans_io::{
    DeleteGroupsRequest, DeleteGroupsResponse, ErrorCode, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use tansu_storage::{OffsetCommitRequest as Offset, Storage, Topition};

use super::Groups;
use crate::broker::error::brief;

/// What clients try again after, without giving up what they hold.
const LATER: ErrorCode = ErrorCode::CoordinatorNotAvailable;

/// Offsets by topic and partition.
type Offsets = BTreeMap<String, BTreeMap<i32, i64>>;

#[derive(Clone, Debug)]
pub(in crate::broker) struct CommitOffsets(pub(in crate::broker) Groups);

impl Service<(), OffsetCommitRequest> for CommitOffsets {
    type Response = OffsetCommitResponse;
    type Error = Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: OffsetCommitRequest,
    ) -> Result<Self::Response, Self::Error> {
        let member = request.member_id.as_deref().unwrap_or_default();
        let instance = request.group_instance_id.as_deref();
        let generation = request.generation_id_or_member_epoch.unwrap_or(-1);
        let may = self.0.with(&request.group_id, |group, now| {
            // Without members, offsets are a notebook of whoever assigns partitions to itself.
            if group.members.is_empty() && generation < 0 {
                return Ok(());
            }
            group.may_commit(now, member, instance, generation)
        });
        let mut offsets = Vec::new();
        for topic in request.topics.unwrap_or_default() {
            for partition in topic.partitions.unwrap_or_default() {
                let at = Topition::new(topic.name.clone(), partition.partition_index);
                offsets.push((at, Offset::try_from(&partition)?));
            }
        }
        let told = match may {
            Ok(()) => {
                let kept = self
                    .0
                    .storage
                    .offset_commit(&request.group_id, None, &offsets);
                kept.await.unwrap_or_else(|error| {
                    let error = brief(&error);
                    tracing::warn!(error, "offsets were not committed");
                    all(&offsets, LATER)
                })
            }
            Err(code) => all(&offsets, code),
        };
        let mut topics: BTreeMap<String, Vec<OffsetCommitResponsePartition>> = BTreeMap::new();
        for (at, code) in told {
            let partition = OffsetCommitResponsePartition::default()
                .partition_index(at.partition())
                .error_code(code.into());
            topics
                .entry(at.topic().to_owned())
                .or_default()
                .push(partition);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            OffsetCommitResponseTopic::default()
                .name(name)
                .partitions(Some(partitions))
        });
        Ok(OffsetCommitResponse::default()
            .throttle_time_ms(Some(0))
            .topics(Some(topics.collect())))
    }
}

fn all(offsets: &[(Topition, Offset)], code: ErrorCode) -> Vec<(Topition, ErrorCode)> {
    offsets.iter().map(|(at, _)| (at.clone(), code)).collect()
}

/// Committed offsets of one group up to version 7, of several from version 8 on.
#[derive(Clone, Debug)]
pub(in crate::broker) struct FetchOffsets(pub(in crate::broker) Groups);

impl Service<(), OffsetFetchRequest> for FetchOffsets {
    type Response = OffsetFetchResponse;
    type Error = Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: OffsetFetchRequest,
    ) -> Result<Self::Response, Self::Error> {
        let response = OffsetFetchResponse::default().throttle_time_ms(Some(0));
        if let Some(groups) = request.groups {
            let mut answers = Vec::new();
            for group in groups {
                let wanted = group.topics.map(|topics| {
                    let pairs = topics.into_iter().map(|it| (it.name, it.partition_indexes));
                    pairs.collect::<Vec<_>>()
                });
                let (offsets, code) = self.offsets(&group.group_id, wanted).await;
                answers.push(group_answer(group.group_id, offsets, code));
            }
            return Ok(response.groups(Some(answers)));
        }
        let wanted = request.topics.map(|topics| {
            let pairs = topics.into_iter().map(|it| (it.name, it.partition_indexes));
            pairs.collect::<Vec<_>>()
        });
        let group_id = request.group_id.unwrap_or_default();
        let (offsets, code) = self.offsets(&group_id, wanted).await;
        let topics = offsets.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(partition, offset)| {
                OffsetFetchResponsePartition::default()
                    .partition_index(partition)
                    .committed_offset(offset)
                    .committed_leader_epoch(Some(-1))
                    .metadata(Some(String::new()))
                    .error_code(code.into())
            });
            OffsetFetchResponseTopic::default()
                .name(name)
                .partitions(Some(partitions.collect()))
        });
        Ok(response
            .topics(Some(topics.collect()))
            .error_code(Some(code.into())))
    }
}

fn group_answer(group_id: String, offsets: Offsets, code: ErrorCode) -> OffsetFetchResponseGroup {
    let topics = offsets.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition, offset)| {
            OffsetFetchResponsePartitions::default()
                .partition_index(partition)
                .committed_offset(offset)
                .committed_leader_epoch(-1)
                .metadata(Some(String::new()))
                .error_code(code.into())
        });
        OffsetFetchResponseTopics::default()
            .name(name)
            .partitions(Some(partitions.collect()))
    });
    OffsetFetchResponseGroup::default()
        .group_id(group_id)
        .topics(Some(topics.collect()))
        .error_code(code.into())
}

impl FetchOffsets {
    /// The offsets of what is wanted, of everything if nothing is named; -1 where there is none.
    async fn offsets(
        &self,
        group_id: &str,
        wanted: Option<Vec<(String, Option<Vec<i32>>)>>,
    ) -> (Offsets, ErrorCode) {
        let storage = &self.0.storage;
        let found = match wanted {
            None => storage.committed_offset_topitions(group_id).await,
            Some(topics) => {
                let partitions = topics.into_iter().flat_map(|(name, partitions)| {
                    let partitions = partitions.unwrap_or_default().into_iter();
                    partitions.map(move |it| Topition::new(name.clone(), it))
                });
                let partitions: Vec<Topition> = partitions.collect();
                storage
                    .offset_fetch(Some(group_id), &partitions, None)
                    .await
            }
        };
        match found {
            Ok(found) => {
                let mut offsets = Offsets::new();
                for (at, offset) in found {
                    let topic = offsets.entry(at.topic().to_owned()).or_default();
                    topic.insert(at.partition(), offset);
                }
                (offsets, ErrorCode::None)
            }
            Err(error) => {
                let error = brief(&error);
                tracing::warn!(group_id, error, "committed offsets could not be read");
                (Offsets::new(), LATER)
            }
        }
    }
}

/// Forgets the offsets of groups that nobody is in.
#[derive(Clone, Debug)]
pub(in crate::broker) struct DeleteGroups(pub(in crate::broker) Groups);

impl Service<(), DeleteGroupsRequest> for DeleteGroups {
    type Response = DeleteGroupsResponse;
    type Error = Error;

    async fn serve(
        &self,
        _ctx: Context<()>,
        request: DeleteGroupsRequest,
    ) -> Result<Self::Response, Self::Error> {
        self.0.sweep();
        let (used, unused): (Vec<String>, Vec<String>) = {
            let groups = self.0.lock();
            let named = request.groups_names.unwrap_or_default().into_iter();
            named.partition(|it| groups.contains_key(it))
        };
        let used = used.into_iter().map(|id| {
            DeletableGroupResult::default()
                .group_id(id)
                .error_code(ErrorCode::NonEmptyGroup.into())
        });
        let mut results: Vec<_> = used.collect();
        results.extend(self.0.storage.delete_groups(Some(&unused)).await?);
        Ok(DeleteGroupsResponse::default()
            .throttle_time_ms(0)
            .results(Some(results)))
    }
}
