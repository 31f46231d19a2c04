//! Local hours: when offices are open, how far deadlines are, where an instant lies in its week.

use chrono::Datelike;
use siji_schemas::area::Zone;

use super::dice::Dice;

/// The zone whose clocks people live by.
pub(super) const ZONE: Zone = Zone::CHINA;
/// Milliseconds of a minute.
pub(super) const MINUTE: i64 = 60_000;
/// Milliseconds of an hour.
pub(super) const HOUR: i64 = 60 * MINUTE;
/// Milliseconds of a day.
pub(super) const DAY: i64 = 24 * HOUR;
/// Hours of a week.
pub(super) const WEEK: usize = 168;

/// Offices open at 08:30 and close at 17:30.
const OPEN: i64 = 8 * HOUR + 30 * MINUTE;
const CLOSE: i64 = 17 * HOUR + 30 * MINUTE;

/// Day of the week, Monday 0, and milliseconds since local midnight.
fn local(ms: i64) -> (i64, i64) {
    let local = ms + ZONE.offset_ms();
    // 1970-01-01 was a Thursday.
    (
        (local.div_euclid(DAY) + 3).rem_euclid(7),
        local.rem_euclid(DAY),
    )
}

/// The hour of the week, Monday 00:00 is 0.
pub(super) fn hour_of_week(ms: i64) -> usize {
    let (weekday, time) = local(ms);
    (weekday * 24 + time / HOUR) as usize
}

/// Year, month and day of the month.
pub(super) fn date(ms: i64) -> (i32, u32, u32) {
    ZONE.day_of(ms)
        .to_date()
        .map_or((1970, 1, 1), |date| (date.year(), date.month(), date.day()))
}

/// That instant, or where no office works then, one on the next working day.
pub(super) fn office(ms: i64, dice: &mut Dice) -> i64 {
    let (weekday, time) = local(ms);
    let midnight = ms - time;
    let days = match (weekday, time) {
        (0..=4, OPEN..CLOSE) if time / HOUR != 12 || dice.chance(0.25) => return ms,
        (0..=4, OPEN..CLOSE) => return midnight + 13 * HOUR + 30 * MINUTE + dice.between(0, HOUR),
        (0..=4, 0..OPEN) => 0,
        (0..=3, _) => 1,
        (weekday, _) => 7 - weekday,
    };
    // Half past eight to noon, or half past one to half past four.
    let worked = dice.between(0, 6 * HOUR + 30 * MINUTE);
    let noon = if worked < 3 * HOUR + 30 * MINUTE {
        0
    } else {
        HOUR + 30 * MINUTE
    };
    midnight + days * DAY + OPEN + worked + noon
}

/// That instant, or where people sleep then, one on the next morning.
pub(super) fn daytime(ms: i64, dice: &mut Dice) -> i64 {
    let (_, time) = local(ms);
    match time / HOUR {
        0..8 => ms - time + 8 * HOUR + dice.between(0, 6 * HOUR),
        21..24 => ms - time + DAY + 8 * HOUR + dice.between(0, 6 * HOUR),
        _ => ms,
    }
}

/// A deadline so many hours away, counted around the clock or over working days of eight hours (09:00 to 17:00).
pub(super) fn deadline(ms: i64, hours: u32, working: bool) -> i64 {
    const START: i64 = 9 * HOUR;
    const LENGTH: i64 = 8 * HOUR;
    if !working {
        return ms + i64::from(hours) * HOUR;
    }
    let (mut weekday, time) = local(ms);
    let mut midnight = ms - time;
    let mut used = if weekday < 5 {
        (time - START).clamp(0, LENGTH)
    } else {
        LENGTH
    };
    let mut left = i64::from(hours) * HOUR;
    while used + left > LENGTH || weekday >= 5 {
        if weekday < 5 {
            left -= LENGTH - used;
        }
        used = 0;
        midnight += DAY;
        weekday = (weekday + 1) % 7;
    }
    midnight + START + used + left
}

#[cfg(test)]
mod tests {
    use siji_schemas::json::{format_instant, parse_instant};

    use super::*;

    fn at(text: &str) -> i64 {
        parse_instant(&format!("{text}:00+08:00")).unwrap()
    }

    #[test]
    fn hours_of_the_week_begin_on_monday_midnight_local_time() {
        assert_eq!(hour_of_week(at("2026-03-02T00:00")), 0);
        assert_eq!(hour_of_week(at("2026-03-01T23:59")), 167);
        assert_eq!(hour_of_week(at("2026-03-06T14:10")), 4 * 24 + 14);
        assert_eq!(date(at("2026-03-01T00:10")), (2026, 3, 1));
    }

    #[test]
    fn office_work_of_a_friday_night_waits_for_monday() {
        let mut dice = Dice::new(1);
        for _ in 0..50 {
            let next = office(at("2026-03-06T20:00"), &mut dice);
            assert!(
                (at("2026-03-09T08:30")..=at("2026-03-09T16:30")).contains(&next),
                "{}",
                format_instant(next)
            );
        }
        assert_eq!(
            office(at("2026-03-03T10:00"), &mut dice),
            at("2026-03-03T10:00")
        );
        assert!(office(at("2026-03-03T03:00"), &mut dice) >= at("2026-03-03T08:30"));
        assert!(daytime(at("2026-03-03T22:00"), &mut dice) >= at("2026-03-04T08:00"));
    }

    #[test]
    fn working_hours_run_from_nine_to_five_on_working_days_only() {
        assert_eq!(
            deadline(at("2026-03-02T10:00"), 4, true),
            at("2026-03-02T14:00")
        );
        assert_eq!(
            deadline(at("2026-03-02T15:00"), 4, true),
            at("2026-03-03T11:00")
        );
        assert_eq!(
            deadline(at("2026-03-06T16:00"), 8, true),
            at("2026-03-09T16:00")
        );
        assert_eq!(
            deadline(at("2026-03-07T12:00"), 8, true),
            at("2026-03-09T17:00")
        );
        assert_eq!(
            deadline(at("2026-03-02T22:00"), 40, true),
            at("2026-03-09T17:00")
        );
        assert_eq!(
            deadline(at("2026-03-07T12:00"), 24, false),
            at("2026-03-08T12:00")
        );
    }
}
