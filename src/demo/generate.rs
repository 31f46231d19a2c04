//! Believable days of a real city, from a seed.
//!
//! [`Generator`] is an iterator over events in the order in which clients send them: cases with their whole life, daily
//! services, deliberation, money, reports; by the hours of days and weeks, with differences between districts. A known
//! number of them is late, sent twice or wrong, and each says what must become of it ([`Fate`]).
//!
//! It is a pure function of its configuration, the area tree and the catalogue, and needs the same memory for any number
//! of events. What happens is data: `data/days.toml`; only the life of a case is code.

mod calendar;
mod case;
mod city;
mod config;
mod dice;
mod echo;
mod emission;
mod fault;
mod flight;
mod ident;
mod matter;
mod plan;
mod record;
mod tally;
mod timetable;

pub use config::{GeneratorConfig, GeneratorError};
pub use emission::{Emission, Fate, Source};
pub(super) use ident::uuid;
#[cfg(test)]
pub use tally::DistrictSummary;
pub use tally::Summary;

use siji_schemas::area::AreaTree;
use siji_schemas::catalogue::Catalogue;
use siji_schemas::{Code, Event};

use calendar::{DAY, HOUR, MINUTE, ZONE};
use case::Case;
use city::City;
use dice::{Dice, mix, of_text};
use echo::Echo;
use fault::Faults;
use flight::{Flight, Life};
use ident::Ident;
use matter::Matter;
use plan::{Begin, Plan};
use timetable::Timetable;

/// One event in 200 is sent twice.
const DUPLICATE_EVERY: u64 = 200;
/// One in 100 is entered late.
const LATE_EVERY: u64 = 100;
/// Three in 1000 are wrong.
const FAULT_EVERY: u64 = 333;
/// Late events lie at most so far back.
const LATEST: i64 = 6 * DAY;
/// An event is recorded within so many milliseconds; shorter than any step of a case.
const LAG: u64 = 45_000;

/// The days of a city; see the module.
#[derive(Debug, Clone)]
pub struct Generator {
    events: u64,
    sent: u64,
    serial: u64,
    city: City,
    plan: Plan,
    ident: Ident,
    dice: Dice,
    timetable: Timetable,
    flight: Flight,
    echo: Echo,
    faults: Faults,
    /// Last case opened at each place.
    latest: Vec<u64>,
    next_duplicate: u64,
    next_late: u64,
    next_fault: u64,
    summary: Summary,
}

/// What the writers of events work with.
struct Scene<'a> {
    city: &'a City,
    plan: &'a Plan,
    ident: &'a Ident,
    dice: &'a mut Dice,
    latest: &'a mut [u64],
}

/// An event before it is sent.
struct Draft {
    event: Event,
    place: u32,
    occurred_ms: i64,
    recorded_ms: i64,
}

impl Generator {
    /// The days of the area `root` and everything below it.
    ///
    /// # Errors
    /// If there is no such area on those days, or the numbers are out of range.
    pub fn new(
        config: &GeneratorConfig,
        tree: &AreaTree,
        catalogue: &Catalogue,
        root: &str,
    ) -> Result<Generator, GeneratorError> {
        let GeneratorConfig {
            seed,
            events,
            end_ms,
            days,
        } = *config;
        if !(1..=3660).contains(&days) {
            return Err(GeneratorError::Range("days must be 1 to 3660"));
        }
        if events > 1 << 40 {
            return Err(GeneratorError::Range("events must be at most 2^40"));
        }
        let start_ms = end_ms.saturating_sub(i64::from(days) * DAY);
        // From 2000-02-01 to 2200-01-01: late events are to stay within the range of believable times.
        if start_ms < 949_334_400_000 || end_ms > 7_258_118_400_000 {
            return Err(GeneratorError::Range(
                "the days must lie between 2000-02-01 and 2200-01-01",
            ));
        }
        // Wrong events may lie some days ahead and must be wrong in that alone.
        let (first, last) = (
            ZONE.day_of(start_ms - LATEST - DAY),
            ZONE.day_of(end_ms + 4 * DAY),
        );
        let city = City::new(tree, root, first, last, seed)?;
        let plan = Plan::new(catalogue, first, last)?;
        let key = [
            of_text(root),
            seed,
            events,
            end_ms.unsigned_abs(),
            u64::from(days),
        ]
        .into_iter()
        .fold(0, mix);
        let mut dice = Dice::new(key);
        let faults = Faults::new(&plan, &city, tree, first, last, &mut dice);
        Ok(Generator {
            events,
            sent: 0,
            serial: 0,
            timetable: Timetable::new(
                start_ms,
                end_ms,
                events,
                &plan.volume,
                (plan.later, &plan.desk),
                seed,
            ),
            flight: Flight::new(end_ms),
            echo: Echo::default(),
            faults,
            latest: vec![0; city.places.len()],
            ident: Ident::new(key),
            next_duplicate: DUPLICATE_EVERY / 2 + dice.below(DUPLICATE_EVERY),
            next_late: LATE_EVERY / 2 + dice.below(LATE_EVERY),
            next_fault: FAULT_EVERY / 2 + dice.below(FAULT_EVERY),
            summary: Summary::of(&city.districts),
            city,
            plan,
            dice,
        })
    }

    /// The collectors, the centre's first, which may send for the whole city.
    pub fn sources(&self) -> &[Source] {
        &self.city.sources
    }

    /// What is true of the events sent so far; of all, once the iterator has ended.
    pub fn expected(&self) -> Summary {
        let mut summary = self.summary.clone();
        summary.districts.retain(|row| row.generated > 0);
        summary.districts.sort_by(|a, b| a.code.cmp(&b.code));
        summary
    }

    fn scene(&mut self) -> Scene<'_> {
        Scene {
            city: &self.city,
            plan: &self.plan,
            ident: &self.ident,
            dice: &mut self.dice,
            latest: &mut self.latest,
        }
    }

    fn emit(&mut self, slot: i64) -> (Emission, u32) {
        let now = self.flight.due().map_or(slot, |due| due.min(slot));
        if self.sent >= self.next_duplicate
            && let Some((place, emission)) = self.echo.again(self.sent, &mut self.dice)
        {
            self.next_duplicate =
                self.sent + 1 + DUPLICATE_EVERY / 2 + self.dice.below(DUPLICATE_EVERY - 1);
            return (emission, place);
        }
        if self.sent >= self.next_fault {
            self.next_fault = self.sent + 1 + FAULT_EVERY / 2 + self.dice.below(FAULT_EVERY - 1);
            if let Some((code, shape)) = self.faults.next(&mut self.dice) {
                return self.wrong(code, shape, now);
            }
        }
        if self.sent >= self.next_late {
            self.next_late = self.sent + 1 + LATE_EVERY / 2 + self.dice.below(LATE_EVERY - 1);
            let back = (14.0 * self.dice.factor(1.1) * HOUR as f64) as i64;
            let mut occurred_ms = now - back.clamp(3 * HOUR, LATEST);
            // What is entered afterwards happened by day.
            while !(8..21).contains(&(calendar::hour_of_week(occurred_ms) % 24)) {
                occurred_ms -= HOUR;
            }
            self.summary.late += 1;
            let draft = self.begin(now, occurred_ms, true);
            return self.send(draft);
        }
        let draft = match self.flight.pop_due(slot) {
            Some((at, life)) => self.go_on(at, life),
            None => {
                let lag = self.lag();
                self.begin(slot, slot - lag, false)
            }
        };
        self.send(draft)
    }

    fn lag(&mut self) -> i64 {
        self.dice.below(LAG) as i64
    }

    /// Something new.
    fn begin(&mut self, recorded_ms: i64, occurred_ms: i64, late: bool) -> Draft {
        let leaf = self.city.leaf(&mut self.dice);
        self.serial += 1;
        let serial = self.ident.number(self.serial);
        match self.choose(occurred_ms, late) {
            Begin::Case(opening) => {
                let case = Case::begin(opening, leaf, serial, &mut self.scene());
                self.play(case, recorded_ms, occurred_ms)
            }
            Begin::Matter(shape) => {
                let matter = Matter::begin(shape, leaf, serial, occurred_ms, &mut self.scene());
                self.write(matter, recorded_ms, occurred_ms)
            }
        }
    }

    /// What begins in that hour: late only what people enter by hand, monthly work mostly in the first days of a month.
    fn choose(&mut self, occurred_ms: i64, late: bool) -> Begin {
        let hour = calendar::hour_of_week(occurred_ms);
        let mut begin = self.plan.begin(hour, &mut self.dice);
        for _ in 0..64 {
            let fits = match begin {
                Begin::Case(_) => !late,
                Begin::Matter(shape) => {
                    let shape = &self.plan.shapes[usize::from(shape)];
                    let in_time =
                        shape.first_days == 0 || calendar::date(occurred_ms).2 <= shape.first_days;
                    (shape.late || !late) && (in_time || self.dice.chance(0.06))
                }
            };
            if fits {
                break;
            }
            begin = self.plan.begin(hour, &mut self.dice);
        }
        begin
    }

    fn go_on(&mut self, at_ms: i64, life: Life) -> Draft {
        let occurred_ms = at_ms - self.lag();
        match life {
            Life::Case(case) => self.play(case, at_ms, occurred_ms),
            Life::Matter(matter) => self.write(matter, at_ms, occurred_ms),
        }
    }

    fn play(&mut self, mut case: Case, recorded_ms: i64, occurred_ms: i64) -> Draft {
        let (event, next) = case.play(recorded_ms, &mut self.scene());
        let place = case.leaf();
        if let Some(at) = next {
            self.flight.push(at, Life::Case(case));
        }
        Draft {
            event,
            place,
            occurred_ms,
            recorded_ms,
        }
    }

    fn write(&mut self, mut matter: Matter, recorded_ms: i64, occurred_ms: i64) -> Draft {
        let (event, place) = matter.write(occurred_ms, &mut self.scene());
        if let Some((at, matter)) = matter.next(recorded_ms, &mut self.scene()) {
            self.flight.push(at, Life::Matter(matter));
        }
        Draft {
            event,
            place,
            occurred_ms,
            recorded_ms,
        }
    }

    fn wrong(&mut self, code: Code, shape: u16, recorded_ms: i64) -> (Emission, u32) {
        let occurred_ms = recorded_ms - MINUTE;
        let leaf = self.city.leaf(&mut self.dice);
        self.serial += 1;
        let serial = self.ident.number(self.serial);
        let mut matter = Matter::begin(shape, leaf, serial, occurred_ms, &mut self.scene());
        let (event, place) = matter.write(occurred_ms, &mut self.scene());
        let (mut emission, place) = self.send(Draft {
            event,
            place,
            occurred_ms,
            recorded_ms,
        });
        let always = self.city.place(place).always;
        self.faults.spoil(
            code,
            &mut emission.event,
            &mut emission.source,
            always,
            &self.city,
            &mut self.dice,
        );
        emission.fate = Fate::Quarantined(code);
        (emission, place)
    }

    fn send(&mut self, draft: Draft) -> (Emission, u32) {
        let Draft {
            mut event,
            place,
            occurred_ms,
            recorded_ms,
        } = draft;
        event.event_id = Some(self.ident.event(self.sent));
        event.occurred_at = Some(occurred_ms);
        event.recorded_at = Some(recorded_ms);
        let source = self.city.place(place).source;
        (
            Emission {
                source,
                event,
                fate: Fate::Accepted,
            },
            place,
        )
    }
}

impl Iterator for Generator {
    type Item = Emission;

    fn next(&mut self) -> Option<Emission> {
        if self.sent == self.events {
            return None;
        }
        let slot = self.timetable.slot(self.sent, &mut self.dice);
        let (emission, place) = self.emit(slot);
        let day = ZONE.day_of(emission.event.occurred_at.unwrap_or_default());
        self.summary.add(
            emission.fate,
            &emission.event,
            self.city.district(place, day),
        );
        if emission.fate == Fate::Accepted {
            self.echo.show(self.sent, place, &emission, &mut self.dice);
        }
        self.sent += 1;
        Some(emission)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.events - self.sent).ok();
        (left.unwrap_or(usize::MAX), left)
    }
}

#[cfg(test)]
mod tests;
