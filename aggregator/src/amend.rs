//! What corrections and retractions do to the event they name. Pure: a target as it stands, and what becomes of it.
//!
//! Of one event at most one version counts: the event itself, or the greatest of its corrections by (`recorded_at`,
//! `event_id`), or none once a retraction was accepted. What counts no more gets a reversal, a row of its own in the ledger, so
//! that sums over the ledger follow without deciding anything again. In whatever order an event's corrections and
//! retractions arrive, the same version is left.

use crate::dedup::Day;

/// What an event says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// It happened.
    Assert,
    /// It happened otherwise: the whole new record.
    Correct,
    /// It did not happen.
    Retract,
}

impl Op {
    /// From the event's column.
    pub fn parse(word: &str) -> Option<Op> {
        match word {
            "assert" => Some(Op::Assert),
            "correct" => Some(Op::Correct),
            "retract" => Some(Op::Retract),
            _ => None,
        }
    }
}

/// What a correction or retraction names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amends {
    /// What it does.
    pub op: Op,
    /// Hash of its target's id.
    pub target_id: u64,
    /// Local day of its target.
    pub target_day: Day,
    /// Its place among others of the same target.
    pub rank: Rank,
}

impl Amends {
    /// What its target is found by.
    pub fn target(&self) -> (Day, u64) {
        (self.target_day, self.target_id)
    }
}

/// Where the record of an event lies in Kafka: names it for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Life of the topic.
    pub epoch: i32,
    /// Offset in its partition.
    pub offset: i64,
}

/// What corrections of one event are ordered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Milliseconds UTC.
    pub recorded_at: i64,
    /// In lower case, for ids are the same in either.
    pub event_id: Box<str>,
}

impl Rank {
    /// Of a correction.
    pub fn new(recorded_at: i64, event_id: &str) -> Rank {
        Rank {
            recorded_at,
            event_id: event_id.to_ascii_lowercase().into(),
        }
    }
}

/// An accepted event that others name as their target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This version of it counts.
    Counts {
        /// Its record.
        version: Place,
        /// `None`: the event itself, which any correction replaces.
        rank: Option<Rank>,
    },
    /// A retraction is final.
    Retracted,
}

impl Target {
    /// An event that nothing was said about yet.
    pub fn original(version: Place) -> Target {
        Target::Counts {
            version,
            rank: None,
        }
    }

    /// Takes an accepted correction or retraction whose record lies at `version`. Returns the version that counts no more
    /// (or, of a correction that comes too late, does not count at all).
    pub fn amend(&mut self, op: Op, rank: Rank, version: Place) -> Option<Place> {
        match (op, &mut *self) {
            // Says what the target is, not what it should be.
            (Op::Assert, _) => None,
            (Op::Retract, Target::Retracted) => None,
            (Op::Retract, Target::Counts { version: last, .. }) => {
                let last = *last;
                *self = Target::Retracted;
                Some(last)
            }
            (Op::Correct, Target::Retracted) => Some(version),
            (
                Op::Correct,
                Target::Counts {
                    rank: Some(best),
                    version: last,
                },
                // Of the same rank, as an id that was used on two days, the later record.
            ) if (&*best, *last) >= (&rank, version) => Some(version),
            (Op::Correct, Target::Counts { version: last, .. }) => {
                let last = *last;
                *self = Target::Counts {
                    version,
                    rank: Some(rank),
                };
                Some(last)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn at(offset: i64) -> Place {
        Place { epoch: 0, offset }
    }

    /// What counts after some amendments: +1 and -1 by record, without zeros.
    fn counted(amendments: &[(Op, Rank, Place)]) -> BTreeMap<Place, i32> {
        let mut counted = BTreeMap::from([(at(0), 1)]);
        let mut target = Target::original(at(0));
        for (op, rank, version) in amendments {
            if *op == Op::Correct {
                *counted.entry(*version).or_default() += 1;
            }
            if let Some(reversed) = target.amend(*op, rank.clone(), *version) {
                *counted.entry(reversed).or_default() -= 1;
            }
        }
        counted.retain(|_, n| *n != 0);
        counted
    }

    fn amendments() -> impl Strategy<Value = Vec<(Op, Rank, Place)>> {
        let one = (prop::bool::weighted(0.15), 0i64..4);
        prop::collection::vec(one, 0..8).prop_map(|all| {
            let number = all.into_iter().zip(1i64..);
            number
                .map(|((retracts, recorded_at), n)| {
                    let op = if retracts { Op::Retract } else { Op::Correct };
                    (op, Rank::new(recorded_at, &format!("id-{n}")), at(n))
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn in_any_order_the_same_version_counts_and_it_counts_once(
            (given, shuffled) in amendments().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let counts = counted(&given);
            prop_assert_eq!(&counts, &counted(&shuffled));
            let best = given.iter().max_by_key(|(_, rank, _)| rank.clone());
            let expected = match best {
                _ if given.iter().any(|(op, _, _)| *op == Op::Retract) => BTreeMap::new(),
                Some((_, _, version)) => [(*version, 1)].into(),
                None => [(at(0), 1)].into(),
            };
            prop_assert_eq!(counts, expected);
        }
    }

    #[test]
    fn ids_of_either_case_rank_alike() {
        assert_eq!(Rank::new(1, "AB"), Rank::new(1, "ab"));
    }
}
