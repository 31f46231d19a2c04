//! What needs memory of other events: whether one was accepted before (D7), and what a correction or retraction does to the
//! event that it names. Verdicts are settled in the order of records; nothing here is read or written elsewhere.

use std::collections::{HashMap, HashSet};

use siji_schemas::{Code, Refusal};

use crate::amend::{Amends, Place, Target};
use crate::dedup::{Day, DedupIndex, Seen, Turn};
use crate::judge::{Disposition, Verdict};
use crate::parked::{Parked, Waiting};
use crate::position::Partition;

/// Targets kept in memory.
const TARGETS: usize = 100_000;

/// What has been accepted, as far as it is in memory, and who waits.
#[derive(Debug)]
pub struct History {
    /// Ids of accepted events.
    pub accepted: DedupIndex,
    /// Who waits for a target.
    pub parked: Parked,
    targets: HashMap<(Partition, Day, u64), Held>,
    /// How long one may wait.
    wait_ms: i64,
}

/// An event that others name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its `home_area_code`.
    pub home: Box<str>,
    /// `None`: it is a correction or retraction itself.
    pub target: Option<Target>,
}

/// [`Known`], in memory.
#[derive(Debug)]
struct Held {
    known: Known,
    touched: Turn,
}

/// A decision about a record that has its row already, or gets it at the same time: a row of its own in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    /// The record.
    pub record: Place,
    /// What becomes of it.
    pub disposition: Disposition,
    /// Why it is refused.
    pub refusal: Option<Refusal>,
}

impl Later {
    fn reversed(record: Place) -> Later {
        Later {
            record,
            disposition: Disposition::Reversed,
            refusal: None,
        }
    }
}

/// Which records are settled, and when.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Their partition.
    pub partition: Partition,
    /// Its life.
    pub epoch: i32,
    /// The batch.
    pub turn: Turn,
    /// When they are taken in, milliseconds UTC.
    pub now_ms: i64,
}

/// A day that should have been loaded was not: a fault of the program, not of the data.
#[derive(Debug, thiserror::Error)]
#[error(
    "the duplicates of partition {partition}, day {day} (days since 1970) were judged before they were loaded"
)]
pub struct NotLoaded {
    partition: i32,
    day: Day,
}

/// What becomes of a correction or retraction.
enum Amended {
    Accepted {
        reversed: Option<Place>,
    },
    Duplicate,
    Refused(Refusal),
    /// Its target has not arrived.
    Unknown,
}

/// A good event, as far as it is to be settled.
struct Event<'e> {
    place: Place,
    day: Day,
    id: u64,
    body: i64,
    home: &'e str,
}

impl History {
    /// Nothing yet. The index of ids tries to stay under `dedup_bytes`; at most `parked` wait, for `wait_ms` milliseconds.
    pub fn new(dedup_bytes: usize, parked: usize, wait_ms: i64) -> History {
        History {
            accepted: DedupIndex::new(dedup_bytes),
            parked: Parked::new(parked),
            targets: HashMap::new(),
            wait_ms,
        }
    }

    /// The partition is not ours any more, or others may have taken records of it since.
    pub fn forget(&mut self, partition: Partition) {
        self.accepted.forget(partition);
        self.parked.forget(partition);
        self.targets.retain(|(of, _, _), _| *of != partition);
    }

    /// Frees memory, except of what the ledger does not hold yet; see [`DedupIndex::shrink`].
    pub fn shrink(&mut self, committed: Turn) {
        self.accepted.shrink(committed);
        if self.targets.len() > TARGETS {
            self.targets.retain(|_, held| held.touched > committed);
        }
    }

    /// The days whose accepted events settling these verdicts asks for, with repetitions.
    pub fn days(
        &self,
        partition: Partition,
        verdicts: &[Verdict<'_>],
    ) -> impl Iterator<Item = Day> {
        verdicts.iter().flat_map(move |verdict| {
            let own = accepted_day(verdict);
            let asked = own.filter(|_| !self.parked.is_empty()).zip(verdict.hashes);
            let released = asked.map(|(day, (id, _))| self.parked.for_target(partition, (day, id)));
            own.into_iter()
                .chain(released.into_iter().flatten().map(|waiting| waiting.day))
        })
    }

    /// The targets, by local day and hash of id, of which must be known before these verdicts are settled whether and
    /// how they stand in the ledger.
    pub fn targets_to_load(
        &self,
        partition: Partition,
        verdicts: &[Verdict<'_>],
    ) -> HashSet<(Day, u64)> {
        verdicts
            .iter()
            .filter(|verdict| verdict.disposition == Disposition::Accepted)
            .filter_map(|verdict| verdict.amends.as_ref())
            .map(|amends| amends.target())
            .filter(|(day, id)| !self.targets.contains_key(&(partition, *day, *id)))
            .filter(|(day, id)| self.accepted.may_know(partition, *day, *id))
            .collect()
    }

    /// Takes targets that the ledger holds.
    pub fn load_targets(
        &mut self,
        partition: Partition,
        found: impl IntoIterator<Item = ((Day, u64), Known)>,
        turn: Turn,
    ) {
        self.targets
            .extend(found.into_iter().map(|((day, id), known)| {
                let held = Held {
                    known,
                    touched: turn,
                };
                ((partition, day, id), held)
            }));
    }

    /// Settles the verdicts of records at these offsets, in order. Returns what else is decided thereby, in order.
    ///
    /// # Errors
    /// One of [`Self::days`] was not loaded.
    pub fn settle(
        &mut self,
        moment: Moment,
        offsets: &[i64],
        verdicts: &mut [Verdict<'_>],
    ) -> Result<Vec<Later>, NotLoaded> {
        let mut later = self.expire(moment);
        for row in 0..verdicts.len() {
            let (before, rest) = verdicts.split_at_mut(row);
            let Some((verdict, offset)) = rest.first_mut().zip(offsets.get(row)) else {
                break;
            };
            let (Disposition::Accepted, Some(judged), Some((id, body))) =
                (verdict.disposition, verdict.judged, verdict.hashes)
            else {
                continue;
            };
            let event = Event {
                place: Place {
                    epoch: moment.epoch,
                    offset: *offset,
                },
                day: judged.day.0,
                id,
                body,
                home: judged.home_area_code,
            };
            match verdict.amends.clone() {
                None => {
                    self.assertion(moment, &event, verdict)?;
                    if verdict.disposition == Disposition::Accepted {
                        later.extend(self.release(moment, &event)?);
                    }
                }
                Some(amends) => {
                    self.note_target(moment, &amends, before, offsets);
                    let amended = self.amendment(moment, &event, &amends)?;
                    later.extend(self.settled(moment, &event, amends, amended, verdict));
                }
            }
        }
        Ok(later)
    }

    fn assertion(
        &mut self,
        moment: Moment,
        event: &Event<'_>,
        verdict: &mut Verdict<'_>,
    ) -> Result<(), NotLoaded> {
        match self.judge(moment, event)? {
            Seen::New => {}
            Seen::Same => verdict.disposition = Disposition::Duplicate,
            Seen::Other => {
                verdict.disposition = Disposition::Quarantined;
                verdict.refusal = Some(other_body());
            }
        }
        Ok(())
    }

    fn judge(&mut self, moment: Moment, event: &Event<'_>) -> Result<Seen, NotLoaded> {
        let Moment {
            partition, turn, ..
        } = moment;
        self.accepted
            .judge(partition, event.day, event.id, event.body, turn)
            .ok_or(NotLoaded {
                partition: partition.0,
                day: event.day,
            })
    }

    /// Knows the target of an amendment that was accepted a few records before it.
    fn note_target(
        &mut self,
        moment: Moment,
        amends: &Amends,
        before: &[Verdict<'_>],
        offsets: &[i64],
    ) {
        let Moment {
            partition, epoch, ..
        } = moment;
        let (day, id) = amends.target();
        if self.targets.contains_key(&(partition, day, id)) {
            return;
        }
        let there = |verdict: &Verdict<'_>| {
            verdict.disposition == Disposition::Accepted
                && verdict.hashes.is_some_and(|(its, _)| its == id)
                && accepted_day(verdict) == Some(day)
        };
        let found = before
            .iter()
            .zip(offsets)
            .find(|(verdict, _)| there(verdict));
        if let Some((verdict, offset)) = found
            && let Some(judged) = verdict.judged
        {
            let place = Place {
                epoch,
                offset: *offset,
            };
            let known = Known {
                home: judged.home_area_code.into(),
                target: verdict.amends.is_none().then(|| Target::original(place)),
            };
            self.load_targets(partition, [((day, id), known)], moment.turn);
        }
    }

    fn amendment(
        &mut self,
        moment: Moment,
        event: &Event<'_>,
        amends: &Amends,
    ) -> Result<Amended, NotLoaded> {
        let Moment {
            partition, turn, ..
        } = moment;
        match self
            .accepted
            .seen(partition, event.day, event.id, event.body)
        {
            Some(Seen::New) => {}
            Some(Seen::Same) => return Ok(Amended::Duplicate),
            Some(Seen::Other) => return Ok(Amended::Refused(other_body())),
            None => {
                return Err(NotLoaded {
                    partition: partition.0,
                    day: event.day,
                });
            }
        }
        let (target_day, target_id) = amends.target();
        let Some(held) = self.targets.get_mut(&(partition, target_day, target_id)) else {
            return Ok(Amended::Unknown);
        };
        held.touched = turn;
        if *held.known.home != *event.home {
            let reason = format!(
                "its target lies in another area: set home_area_code to the target's, {}",
                held.known.home
            );
            return Ok(Amended::Refused(Refusal::of(
                Code::V11,
                "home_area_code",
                reason,
            )));
        }
        let Some(target) = &mut held.known.target else {
            let reason =
                "its target is a correction or retraction itself: name the event that it is about";
            return Ok(Amended::Refused(Refusal::of(
                Code::V11,
                "target_event_id",
                reason,
            )));
        };
        let reversed = target.amend(amends.op, amends.rank.clone(), event.place);
        self.judge(moment, event)?;
        Ok(Amended::Accepted { reversed })
    }

    /// What was decided about an amendment whose record has just come.
    fn settled(
        &mut self,
        moment: Moment,
        event: &Event<'_>,
        amends: Box<Amends>,
        amended: Amended,
        verdict: &mut Verdict<'_>,
    ) -> Option<Later> {
        match amended {
            Amended::Accepted { reversed } => return reversed.map(Later::reversed),
            Amended::Duplicate => verdict.disposition = Disposition::Duplicate,
            Amended::Refused(refusal) => {
                verdict.disposition = Disposition::Quarantined;
                verdict.refusal = Some(refusal);
            }
            Amended::Unknown if self.parked.has_room(moment.partition, amends.target()) => {
                verdict.disposition = Disposition::Parked;
                verdict.refusal = Some(not_there("waits for its target, which has not arrived"));
                let waiting = Waiting {
                    place: event.place,
                    since_ms: moment.now_ms,
                    day: event.day,
                    id: event.id,
                    body: event.body,
                    home: event.home.into(),
                    amends,
                };
                self.parked.park(moment.partition, waiting);
            }
            Amended::Unknown => {
                verdict.disposition = Disposition::Quarantined;
                verdict.refusal = Some(not_there(
                    "its target has not arrived, and too many wait for theirs: replay it later",
                ));
            }
        }
        None
    }

    /// Who has waited for an event that was accepted just now.
    fn release(&mut self, moment: Moment, event: &Event<'_>) -> Result<Vec<Later>, NotLoaded> {
        let mut later = Vec::new();
        let target = (event.day, event.id);
        let released = self.parked.release(moment.partition, target);
        if !released.is_empty() {
            // Nobody could have amended it before it was there.
            let known = Known {
                home: event.home.into(),
                target: Some(Target::original(event.place)),
            };
            self.load_targets(moment.partition, [(target, known)], moment.turn);
        }
        for waiting in released {
            let waited = Event {
                place: waiting.place,
                day: waiting.day,
                id: waiting.id,
                body: waiting.body,
                home: &waiting.home,
            };
            let (disposition, refusal, reversed) =
                match self.amendment(moment, &waited, &waiting.amends)? {
                    Amended::Accepted { reversed } => (Disposition::Accepted, None, reversed),
                    Amended::Refused(refusal) => (Disposition::Quarantined, Some(refusal), None),
                    // Its target is known: it was put there above.
                    Amended::Duplicate | Amended::Unknown => (Disposition::Duplicate, None, None),
                };
            later.push(Later {
                record: waiting.place,
                disposition,
                refusal,
            });
            later.extend(reversed.map(Later::reversed));
        }
        Ok(later)
    }

    fn expire(&mut self, moment: Moment) -> Vec<Later> {
        if self.parked.is_empty() {
            return Vec::new();
        }
        let since = moment.now_ms.saturating_sub(self.wait_ms);
        let expired = self.parked.expire(moment.partition, since);
        expired
            .into_iter()
            .map(|waiting| Later {
                record: waiting.place,
                disposition: Disposition::Quarantined,
                refusal: Some(not_there("its target did not arrive in time")),
            })
            .collect()
    }
}

/// The local day of a record that is accepted unless it is a duplicate.
pub fn accepted_day(verdict: &Verdict<'_>) -> Option<Day> {
    let accepted = verdict.disposition == Disposition::Accepted;
    verdict
        .judged
        .filter(|_| accepted)
        .map(|judged| judged.day.0)
}

fn not_there(reason: &str) -> Refusal {
    Refusal::of(Code::V11, "target_event_id", reason)
}

fn other_body() -> Refusal {
    let reason = "the id was used before with another body; to change an event send op=correct with a new id";
    Refusal::of(Code::V10, "event_id", reason)
}
