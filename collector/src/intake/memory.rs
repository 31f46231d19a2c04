//! How much memory requests may hold together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes to be shared out. A share is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Memory {
    free: Arc<Semaphore>,
    all: u32,
    wait: Duration,
}

impl Memory {
    /// `wait` is how long a request waits for its share.
    pub fn new(bytes: usize, wait: Duration) -> Memory {
        let all = u32::try_from(bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Memory {
            free: Arc::new(Semaphore::new(all as usize)),
            all,
            wait,
        }
    }

    /// A share of that many bytes, as soon as they are free; `None` if they are not in time. A request for more than
    /// there is gets everything, alone.
    pub async fn share(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.all);
        let share = Arc::clone(&self.free).acquire_many_owned(bytes);
        tokio::time::timeout(self.wait, share).await.ok()?.ok()
    }

    /// Adds bytes to a share if they are free now. A share never grows beyond the whole.
    pub fn add_at_once(&self, share: &mut OwnedSemaphorePermit, bytes: usize) -> bool {
        let left = self.all as usize - share.num_permits().min(self.all as usize);
        let bytes = u32::try_from(bytes.min(left)).unwrap_or(u32::MAX);
        match Arc::clone(&self.free).try_acquire_many_owned(bytes) {
            Ok(more) => {
                share.merge(more);
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn shares_are_never_more_than_the_whole_and_come_back() {
        let memory = Memory::new(100, MOMENT);
        let first = memory.share(60).await;
        assert!(first.is_some());
        assert!(memory.share(60).await.is_none(), "not in time");
        let second = memory.share(40).await;
        assert!(second.is_some());
        drop(first);
        assert!(memory.share(60).await.is_some());
    }

    #[tokio::test]
    async fn who_asks_for_more_than_there_is_waits_for_all_of_it() {
        let memory = Memory::new(100, MOMENT);
        let one = memory.share(1).await;
        assert!(memory.share(1_000_000).await.is_none());
        drop(one);
        let all = memory.share(1_000_000).await;
        assert!(all.is_some() && memory.share(1).await.is_none());
    }
}
