//! Corrections and retractions whose target has not arrived.
//!
//! They wait in memory by what the ledger calls them; their rows stand in the ledger as `parked`. The oldest of a partition
//! is marked in the ledger's log, so that whoever takes the partition over knows from where to read.

use std::collections::{BTreeMap, HashMap};

use crate::amend::{Amends, Place};
use crate::dedup::Day;
use crate::position::Partition;

/// At most so many wait for one event, and at most so many are given up at once: each is read back as a row.
const AT_ONCE: usize = 500;

/// One that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its record.
    pub place: Place,
    /// When it was taken in, milliseconds UTC.
    pub since_ms: i64,
    /// Its own local day.
    pub day: Day,
    /// Hash of its id.
    pub id: u64,
    /// Hash of its body.
    pub body: i64,
    /// `home_area_code`
    pub home: Box<str>,
    /// What it waits for.
    pub amends: Box<Amends>,
}

/// All that wait.
#[derive(Debug, Default)]
pub struct Parked {
    partitions: BTreeMap<Partition, Lot>,
    len: usize,
    /// At most so many.
    cap: usize,
}

#[derive(Debug, Default)]
struct Lot {
    waiting: BTreeMap<Place, Waiting>,
    by_target: HashMap<(Day, u64), Vec<Place>>,
}

impl Parked {
    /// None; at most `cap`.
    pub fn new(cap: usize) -> Parked {
        Parked {
            cap,
            ..Parked::default()
        }
    }

    /// Whether one more fits that waits for this event.
    pub fn has_room(&self, partition: Partition, target: (Day, u64)) -> bool {
        self.len < self.cap && self.for_target(partition, target).count() < AT_ONCE
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One more. One that is there already stays.
    pub fn park(&mut self, partition: Partition, waiting: Waiting) {
        let lot = self.partitions.entry(partition).or_default();
        let (place, target) = (waiting.place, waiting.amends.target());
        if lot.waiting.insert(place, waiting).is_none() {
            lot.by_target.entry(target).or_default().push(place);
            self.len += 1;
        }
    }

    /// Those that wait for an event, by its local day and the hash of its id.
    pub fn for_target(
        &self,
        partition: Partition,
        target: (Day, u64),
    ) -> impl Iterator<Item = &Waiting> {
        let lot = self.partitions.get(&partition);
        let places = lot.and_then(|lot| lot.by_target.get(&target));
        let places = places.map(Vec::as_slice).unwrap_or_default();
        places
            .iter()
            .filter_map(move |place| lot.and_then(|lot| lot.waiting.get(place)))
    }

    /// The same, who wait no longer; in the order of their records.
    pub fn release(&mut self, partition: Partition, target: (Day, u64)) -> Vec<Waiting> {
        let Some(lot) = self.partitions.get_mut(&partition) else {
            return Vec::new();
        };
        let mut places = lot.by_target.remove(&target).unwrap_or_default();
        places.sort_unstable();
        let released: Vec<Waiting> = places
            .iter()
            .filter_map(|place| lot.waiting.remove(place))
            .collect();
        self.len -= released.len();
        released
    }

    /// Those of a partition that have waited since before `since_ms`, or the first of them; they wait no longer.
    pub fn expire(&mut self, partition: Partition, since_ms: i64) -> Vec<Waiting> {
        let Some(lot) = self.partitions.get_mut(&partition) else {
            return Vec::new();
        };
        let mut expired = Vec::new();
        // In the order of records, which is that of time but for clocks that were set back.
        while expired.len() < AT_ONCE
            && let Some(first) = lot.waiting.first_entry()
            && first.get().since_ms < since_ms
        {
            let waiting = first.remove();
            let target = waiting.amends.target();
            if let Some(places) = lot.by_target.get_mut(&target) {
                places.retain(|place| *place != waiting.place);
                if places.is_empty() {
                    lot.by_target.remove(&target);
                }
            }
            expired.push(waiting);
        }
        self.len -= expired.len();
        expired
    }

    /// The oldest record of a partition that waits.
    pub fn oldest(&self, partition: Partition) -> Option<Place> {
        let lot = self.partitions.get(&partition)?;
        lot.waiting.keys().next().copied()
    }

    /// The partition is not ours any more.
    pub fn forget(&mut self, partition: Partition) {
        if let Some(lot) = self.partitions.remove(&partition) {
            self.len -= lot.waiting.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amend::{Op, Rank};

    const P: Partition = Partition(3);

    fn waiting(offset: i64, since_ms: i64, target: u64) -> Waiting {
        Waiting {
            place: Place { epoch: 0, offset },
            since_ms,
            day: 0,
            id: offset as u64,
            body: 0,
            home: "330502".into(),
            amends: Box::new(Amends {
                op: Op::Correct,
                target_id: target,
                target_day: 0,
                rank: Rank::new(0, "x"),
            }),
        }
    }

    fn offsets(of: &[Waiting]) -> Vec<i64> {
        of.iter().map(|waiting| waiting.place.offset).collect()
    }

    #[test]
    fn who_waits_is_released_with_its_target_in_order_and_once() {
        let mut parked = Parked::new(10);
        for (offset, target) in [(7, 1), (5, 1), (6, 2), (5, 1)] {
            parked.park(P, waiting(offset, 0, target));
        }
        assert_eq!(parked.len(), 3);
        assert_eq!(parked.for_target(P, (0, 1)).count(), 2);
        assert_eq!(offsets(&parked.release(P, (0, 1))), [5, 7]);
        assert_eq!(parked.release(P, (0, 1)), []);
        assert_eq!(parked.oldest(P).map(|place| place.offset), Some(6));
        parked.forget(P);
        assert!(parked.is_empty() && parked.oldest(P).is_none());
    }

    #[test]
    fn who_waited_too_long_is_given_up_and_not_released_later() {
        let mut parked = Parked::new(10);
        for (offset, since_ms) in [(1, 100), (2, 200), (3, 300)] {
            parked.park(P, waiting(offset, since_ms, 1));
        }
        assert_eq!(offsets(&parked.expire(P, 201)), [1, 2]);
        assert_eq!(offsets(&parked.release(P, (0, 1))), [3]);
        assert!(parked.is_empty());
    }
}
