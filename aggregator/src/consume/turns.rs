//! Whose turn it is among partitions that all have records waiting.
//!
//! Partitions are never equally large, so a backlog read evenly is read at different times of its past: each batch then
//! touches many more hours, and the roll-up has twice the rows. Therefore the partition whose records are oldest goes
//! first (as in Kafka Streams). A producer with a clock in the future must not wait for all others, so every few turns go
//! round.

/// Every so many turns go round instead of to the oldest.
const ROUND_EVERY: usize = 16;

/// Partitions in some order, each with the time of the last record taken of it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    newest_ms: Vec<i64>,
    turn: usize,
    order: Vec<usize>,
}

impl Turns {
    /// So many partitions, nothing taken of any yet.
    pub(super) fn new(partitions: usize) -> Turns {
        Turns {
            newest_ms: vec![i64::MIN; partitions],
            turn: 0,
            order: Vec::with_capacity(partitions),
        }
    }

    /// All partitions in the order in which they are to be asked for records.
    pub(super) fn next(&mut self) -> &[usize] {
        self.turn = self.turn.wrapping_add(1);
        self.order.clear();
        self.order.extend(0..self.newest_ms.len());
        self.order.sort_by_key(|place| self.newest_ms[*place]);
        if self.turn.is_multiple_of(ROUND_EVERY) && !self.order.is_empty() {
            let first = self.turn / ROUND_EVERY % self.newest_ms.len();
            self.order.retain(|place| *place != first);
            self.order.insert(0, first);
        }
        &self.order
    }

    /// A record was taken. One that is older than the last, or has no time, changes nothing.
    pub(super) fn took(&mut self, place: usize, ms: Option<i64>) {
        if let (Some(newest), Some(ms)) = (self.newest_ms.get_mut(place), ms) {
            *newest = (*newest).max(ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partitions with records at regular times, all waiting: how far in time each one has come when `records` are
    /// taken.
    fn times(steps: &[i64], records: usize) -> Vec<i64> {
        let mut turns = Turns::new(steps.len());
        let mut at = vec![0; steps.len()];
        for _ in 0..records {
            let place = turns.next()[0];
            at[place] += steps[place];
            turns.took(place, Some(at[place]));
        }
        at
    }

    #[test]
    fn partitions_of_different_density_stay_at_the_same_time() {
        let at = times(&[10, 13, 40], 10_000);
        let (least, most) = (at.iter().min().unwrap(), at.iter().max().unwrap());
        assert!(most - least < most / 10, "{at:?}");
    }

    #[test]
    fn a_partition_far_ahead_in_time_still_gets_turns() {
        let mut turns = Turns::new(3);
        turns.took(1, Some(i64::MAX));
        let firsts: Vec<usize> = (0..480).map(|_| turns.next()[0]).collect();
        assert_eq!(firsts.iter().filter(|place| **place == 1).count(), 10);
    }

    #[test]
    fn all_partitions_are_asked_in_every_turn() {
        let mut turns = Turns::new(4);
        turns.took(2, Some(5));
        for _ in 0..100 {
            let mut asked = turns.next().to_vec();
            asked.sort_unstable();
            assert_eq!(asked, [0, 1, 2, 3]);
        }
        assert!(Turns::new(0).next().is_empty());
    }
}
