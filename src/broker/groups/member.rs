//! Who is in a group, and what it is told.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// A member as it asked to join. `protocols`: names of assignors with the member's metadata for each, the ones it likes
/// best first.
#[derive(Clone, Debug)]
pub(super) struct Application {
    pub(super) client: String,
    pub(super) instance: Option<String>,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    pub(super) kind: String,
    pub(super) protocols: Vec<(String, Bytes)>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) application: Application,
    /// Last heard of, which counts unless it waits.
    pub(super) seen: Instant,
    /// Waits for an answer: in a round for its end, afterwards for what the leader hands out.
    pub(super) waits: bool,
    pub(super) share: Bytes,
}

/// What a member is told when its round has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) member: String,
    pub(super) generation: i32,
    pub(super) kind: String,
    pub(super) protocol: String,
    pub(super) leader: String,
    /// Member, instance and metadata of everybody: for the leader alone.
    pub(super) everybody: Vec<(String, Option<String>, Bytes)>,
}

/// Where an application leads: into the round under way, or back to the place the member has.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Admission {
    /// Wait until the group's generation is past this one.
    Wait {
        member: String,
        past: i32,
    },
    Place(Place),
}

impl Member {
    pub(super) fn knows(&self, protocol: &str) -> bool {
        let mut protocols = self.application.protocols.iter();
        protocols.any(|(name, _)| name == protocol)
    }

    /// What the member says of itself to the leader, for one assignor.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let mut protocols = self.application.protocols.iter();
        let found = protocols.find(|(name, _)| name == protocol);
        found.map(|(_, it)| it.clone()).unwrap_or_default()
    }
}
