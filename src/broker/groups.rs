//! Consumer groups: members and their partitions in memory ([`group`]), committed offsets in the engine.
//!
//! Tansu has a coordinator of its own. It begins a generation with whoever asks first and lets the rest find out; what
//! they are told by then may be of the generation before, under the same number (`docs/adr/0011-own-groups.md`). Here
//! a round waits for all members, as it does in Kafka. A broker that starts anew knows no members: they are told so and
//! join again.

mod describe;
mod group;
mod join;
mod member;
mod membership;
mod offsets;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tansu_sans_io::ErrorCode;
use tansu_storage::StorageContainer;
use tokio::sync::Notify;

pub(super) use describe::{DescribeGroups, ListGroups};
use group::Group;
pub(super) use join::JoinGroup;
pub(super) use membership::{Heartbeat, LeaveGroup, SyncGroup};
pub(super) use offsets::{CommitOffsets, DeleteGroups, FetchOffsets};

/// How long a waiting member goes without a look at its group, whatever happens.
const LONGEST_NAP: Duration = Duration::from_secs(5);
/// How often groups that nobody asks about are looked at.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// All groups of the broker.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    groups: Arc<Mutex<HashMap<String, Group>>>,
    changed: Arc<Notify>,
    storage: StorageContainer,
}

impl Groups {
    pub(super) fn new(storage: StorageContainer) -> Groups {
        Groups {
            groups: Arc::default(),
            changed: Arc::default(),
            storage,
        }
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

    /// Lets time pass for all groups.
    fn sweep(&self) {
        let now = Instant::now();
        self.lock().retain(|_, group| {
            group.advance(now);
            !group.deserted()
        });
        self.changed.notify_waiters();
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

fn code_of<T>(result: &Result<T, ErrorCode>) -> i16 {
    match result {
        Ok(_) => ErrorCode::None.into(),
        Err(code) => i16::from(*code),
    }
}

/// Takes whoever fell silent out of its group, and groups that nobody is left in out of memory, until dropped. Groups with
/// live members need no such thing: a heartbeat looks after its group.
pub(super) async fn forget_the_silent(groups: Groups) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        groups.sweep();
    }
}
