//! What has begun and goes on: the next step of each, earliest first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::case::Case;
use super::matter::Matter;

/// Most things under way at once. With more, new ones stay where they began: a backlog.
const MOST: usize = 1 << 18;

/// Something that goes on.
#[derive(Debug, Clone)]
pub(super) enum Life {
    Case(Case),
    Matter(Matter),
}

#[derive(Debug, Clone)]
struct Entry {
    at_ms: i64,
    /// Which came first, among those of one instant.
    order: u64,
    life: Life,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// Reversed: the heap gives the greatest, which is to be the earliest.
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.at_ms, other.order).cmp(&(self.at_ms, self.order))
    }
}

/// A queue of bounded length, by time.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    heap: BinaryHeap<Entry>,
    order: u64,
    end_ms: i64,
}

impl Flight {
    /// An empty queue; what would go on only at `end_ms` or later is left as it is.
    pub fn new(end_ms: i64) -> Flight {
        Flight {
            heap: BinaryHeap::new(),
            order: 0,
            end_ms,
        }
    }

    /// Plans the next step of something.
    pub fn push(&mut self, at_ms: i64, life: Life) {
        if at_ms < self.end_ms && self.heap.len() < MOST {
            self.order += 1;
            self.heap.push(Entry {
                at_ms,
                order: self.order,
                life,
            });
        }
    }

    /// When the next step is due.
    pub fn due(&self) -> Option<i64> {
        self.heap.peek().map(|entry| entry.at_ms)
    }

    /// The next step, if it is due by then.
    pub fn pop_due(&mut self, by_ms: i64) -> Option<(i64, Life)> {
        if self.due()? > by_ms {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at_ms, entry.life))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::generate::calendar::HOUR;
    use crate::demo::generate::tests::some_matter;

    #[test]
    fn steps_come_in_order_of_time_and_those_beyond_the_end_never() {
        let mut flight = Flight::new(10 * HOUR);
        for hour in [7, 3, 12, 9, 3, 10] {
            flight.push(hour * HOUR, Life::Matter(some_matter()));
        }
        assert_eq!(flight.due(), Some(3 * HOUR));
        assert!(flight.pop_due(2 * HOUR).is_none());
        let times: Vec<i64> = std::iter::from_fn(|| flight.pop_due(i64::MAX))
            .map(|(at, _)| at / HOUR)
            .collect();
        assert_eq!(times, [3, 3, 7, 9]);
    }

    #[test]
    fn the_queue_stays_within_its_bound() {
        let mut flight = Flight::new(i64::MAX);
        let matter = some_matter();
        for n in 0..MOST as i64 + 1000 {
            flight.push(n, Life::Matter(matter.clone()));
        }
        assert_eq!(flight.heap.len(), MOST);
    }
}
