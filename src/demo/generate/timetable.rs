//! When things happen: the shape of days and weeks, laid over the days of a run so that exactly so many fit in.

use super::calendar::{DAY, HOUR, WEEK, ZONE, hour_of_week};
use super::dice::{Dice, mix};

/// Intensity by hour of the week; the mean is 1.
#[derive(Debug, Clone)]
pub(super) struct Rhythm(pub [f64; WEEK]);

impl Rhythm {
    /// Hours of working days and of weekends, and what Mondays, Saturdays and Sundays have of them.
    pub fn new(
        hours: &[f64; 24],
        weekend: &[f64; 24],
        monday: f64,
        saturday: f64,
        sunday: f64,
    ) -> Rhythm {
        let mut week = [0.0; WEEK];
        for (i, slot) in week.iter_mut().enumerate() {
            let (hours, part) = match i / 24 {
                0 => (hours, monday),
                5 => (weekend, saturday),
                6 => (weekend, sunday),
                _ => (hours, 1.0),
            };
            *slot = hours[i % 24] * part;
        }
        let mean = week.iter().sum::<f64>() / WEEK as f64;
        if mean > 0.0 {
            week.iter_mut().for_each(|slot| *slot /= mean);
        }
        Rhythm(week)
    }
}

/// Gives each of a known number of events its instant, in order.
#[derive(Debug, Clone)]
pub(super) struct Timetable {
    /// Beginning of each stretch and the weight before it; the last entry closes the run.
    stretches: Vec<(i64, u64)>,
    at: usize,
    events: u64,
}

/// Parts a stretch's weight is counted in.
const PARTS: f64 = 1_000_000.0;

impl Timetable {
    /// A run from `start_ms` to `end_ms`: what begins by itself, and what follows from it at once, goes by `openings`; what
    /// follows later is `later.0` times as much, goes by the other rhythm and grows to its level over the first days.
    pub fn new(
        start_ms: i64,
        end_ms: i64,
        events: u64,
        openings: &[f64; WEEK],
        later: (f64, &Rhythm),
        seed: u64,
    ) -> Timetable {
        let mut stretches = Vec::new();
        let (mut begin, mut weight) = (start_ms, 0u64);
        while begin < end_ms {
            stretches.push((begin, weight));
            let end = (begin.div_euclid(HOUR) * HOUR + HOUR).min(end_ms);
            let week = hour_of_week(begin);
            // Half of it is there after two days, nearly all after a week: as counted in runs.
            let age = (begin - start_ms) as f64 / (2 * DAY) as f64;
            let grown = 1.0 - 1.0 / (1.0 + age * age);
            let mood =
                Dice::new(mix(seed, u64::from(ZONE.day_of(begin).0.unsigned_abs()))).factor(0.12);
            let intensity = openings[week] + later.0 * grown * later.1.0[week];
            let hours = (end - begin) as f64 / HOUR as f64;
            weight += 1 + (intensity * mood * hours * PARTS) as u64;
            begin = end;
        }
        stretches.push((end_ms, weight));
        Timetable {
            stretches,
            at: 0,
            events,
        }
    }

    /// The instant of the k-th event; `k` must not go back.
    pub fn slot(&mut self, k: u64, dice: &mut Dice) -> i64 {
        let total = self.stretches.last().map_or(0, |(_, weight)| *weight);
        let jitter = dice.bits() >> 32;
        // (k + jitter) / events of the whole weight, exactly.
        let position = ((u128::from(k) << 32 | u128::from(jitter)) * u128::from(total)
            / (u128::from(self.events.max(1)) << 32)) as u64;
        while self.at + 2 < self.stretches.len() && self.stretches[self.at + 1].1 <= position {
            self.at += 1;
        }
        let [(begin, from), (end, to), ..] = self.stretches[self.at..] else {
            return self.stretches[self.at].0;
        };
        let part = u128::from(position.clamp(from, to) - from) * u128::from(begin.abs_diff(end))
            / u128::from((to - from).max(1));
        (begin + part as i64).min(end - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: i64 = 1_772_300_000_123;

    #[test]
    fn every_event_has_its_instant_in_order_and_within_the_run() {
        let rhythm = Rhythm::new(&[1.0; 24], &[1.0; 24], 1.0, 0.5, 0.25);
        for events in [1, 2, 7, 1000, 100_000] {
            let mut timetable =
                Timetable::new(END - 10 * DAY, END, events, &rhythm.0, (1.0, &rhythm), 1);
            let mut dice = Dice::new(1);
            let slots: Vec<i64> = (0..events).map(|k| timetable.slot(k, &mut dice)).collect();
            assert!(slots.is_sorted());
            assert!(
                slots
                    .iter()
                    .all(|slot| (END - 10 * DAY..END).contains(slot))
            );
        }
    }

    #[test]
    fn busy_hours_get_their_share() {
        let mut hours = [0.0; 24];
        hours[10] = 3.0;
        hours[20] = 1.0;
        let rhythm = Rhythm::new(&hours, &hours, 1.0, 1.0, 1.0);
        assert!((rhythm.0.iter().sum::<f64>() - WEEK as f64).abs() < 1e-9);
        let start = 1_772_380_800_000; // a local midnight
        let mut timetable = Timetable::new(
            start,
            start + 28 * DAY,
            40_000,
            &rhythm.0,
            (0.0, &rhythm),
            1,
        );
        let mut dice = Dice::new(1);
        let mut counts = [0u32; 24];
        (0..40_000).for_each(|k| counts[hour_of_week(timetable.slot(k, &mut dice)) % 24] += 1);
        assert!(
            counts[10].abs_diff(30_000) < 600 && counts[20].abs_diff(10_000) < 600,
            "{counts:?}"
        );
        assert!(
            counts
                .iter()
                .enumerate()
                .all(|(hour, n)| hour == 10 || hour == 20 || *n < 30)
        );
    }
}
