//! Whether an event was accepted before (D7).
//!
//! One set for each (partition, local day of `occurred_at`): hash of the id to hash of the body, 16 bytes an event. A
//! set is loaded from the ledger when it is first touched, so the horizon is all of the ledger, and the least
//! recently touched sets are dropped to stay under a cap. Two events are taken for the same only if both 64-bit hashes agree, which
//! does not happen by chance; if only the ids' hashes agree the later one is refused (V10), which is seen and can be
//! replayed. So no event is ever dropped by mistake.

use hashbrown::HashMap as FastMap;

use crate::position::Partition;

/// A local day as days since 1970-01-01.
pub type Day = i32;

/// What the index knows about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Never accepted before; it is now.
    New,
    /// Accepted before, with the same body.
    Same,
    /// Another body was accepted under this id.
    Other,
}

/// Turn of the pipeline's clock: rises with every sealed batch.
pub type Turn = u64;

#[derive(Debug, Default)]
struct DaySet {
    bodies: FastMap<u64, i64>,
    touched: Turn,
}

impl DaySet {
    /// What the set holds in memory: the table keeps an eighth free and one control byte an entry.
    fn bytes(&self) -> usize {
        self.bodies.capacity() * 8 / 7 * (16 + 1) + 64
    }
}

/// Events accepted so far.
#[derive(Debug)]
pub struct DedupIndex {
    sets: FastMap<(Partition, Day), DaySet>,
    cap_bytes: usize,
}

impl DedupIndex {
    /// An empty index that tries to stay under `cap_bytes`.
    pub fn new(cap_bytes: usize) -> Self {
        Self {
            sets: FastMap::new(),
            cap_bytes,
        }
    }

    /// Whether a day is in memory; if not, [`Self::load`] it before judging.
    pub fn holds(&self, partition: Partition, day: Day) -> bool {
        self.sets.contains_key(&(partition, day))
    }

    /// Puts a day in memory: the (id hash, body hash) of every event the ledger has accepted there.
    pub fn load(
        &mut self,
        partition: Partition,
        day: Day,
        accepted: impl IntoIterator<Item = (u64, i64)>,
        turn: Turn,
    ) {
        let set = self.sets.entry((partition, day)).or_default();
        set.bodies.extend(accepted);
        set.touched = turn;
    }

    /// Judges an event that is otherwise good, and remembers it if it is new. `None`: the day is not in memory.
    pub fn judge(
        &mut self,
        partition: Partition,
        day: Day,
        id: u64,
        body: i64,
        turn: Turn,
    ) -> Option<Seen> {
        let set = self.sets.get_mut(&(partition, day))?;
        set.touched = turn;
        Some(match set.bodies.entry(id) {
            hashbrown::hash_map::Entry::Vacant(free) => {
                free.insert(body);
                Seen::New
            }
            hashbrown::hash_map::Entry::Occupied(known) if *known.get() == body => Seen::Same,
            hashbrown::hash_map::Entry::Occupied(_) => Seen::Other,
        })
    }

    /// The judgement of an event, without remembering it. `None`: the day is not in memory.
    pub fn seen(&self, partition: Partition, day: Day, id: u64, body: i64) -> Option<Seen> {
        let set = self.sets.get(&(partition, day))?;
        Some(match set.bodies.get(&id) {
            None => Seen::New,
            Some(known) if *known == body => Seen::Same,
            Some(_) => Seen::Other,
        })
    }

    /// False: such an event was never accepted. True: it was, or the day is not in memory.
    pub fn may_know(&self, partition: Partition, day: Day, id: u64) -> bool {
        let set = self.sets.get(&(partition, day));
        set.is_none_or(|set| set.bodies.contains_key(&id))
    }

    /// Drops all sets of a partition.
    pub fn forget(&mut self, partition: Partition) {
        self.sets.retain(|(of, _), _| *of != partition);
    }

    /// Drops the sets touched longest ago until the index is under its cap. A set touched after `committed` stays:
    /// the ledger does not hold all of it yet, so loading it again would miss events.
    pub fn shrink(&mut self, committed: Turn) {
        let mut bytes = self.bytes();
        if bytes <= self.cap_bytes {
            return;
        }
        let mut oldest: Vec<_> = self
            .sets
            .iter()
            .map(|(key, set)| (set.touched, *key))
            .collect();
        oldest.sort_unstable();
        for (touched, key) in oldest {
            if bytes <= self.cap_bytes || touched > committed {
                return;
            }
            bytes -= self.sets.remove(&key).map_or(0, |set| set.bytes());
        }
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.sets.values().map(DaySet::bytes).sum()
    }
}

#[cfg(test)]
mod tests;
