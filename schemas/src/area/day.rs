//! Local days and the zone that makes them.

use std::fmt;

use chrono::{Datelike, NaiveDate};

/// Days of 1970-01-01 in the proleptic Gregorian calendar as chrono counts them (day 1 = 0001-01-01).
const EPOCH_FROM_CE: i32 = 719_163;
const MS_PER_DAY: i64 = 86_400_000;

/// A local calendar day, as days since 1970-01-01 (Arrow's `date32`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// Before every day of a registry.
    pub const MIN: Day = Day(i32::MIN);
    /// After every day of a registry.
    pub const MAX: Day = Day(i32::MAX);

    /// Reads `YYYY-MM-DD`, exactly.
    pub fn parse(text: &str) -> Option<Day> {
        if text.len() != 10
            || !text.bytes().enumerate().all(|(i, b)| {
                if i == 4 || i == 7 {
                    b == b'-'
                } else {
                    b.is_ascii_digit()
                }
            })
        {
            return None;
        }
        let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
        let date =
            NaiveDate::from_ymd_opt(text.get(..4)?.parse().ok()?, number(5..7)?, number(8..10)?)?;
        Some(Day(date.num_days_from_ce() - EPOCH_FROM_CE))
    }

    /// The calendar date, where chrono can express it.
    pub fn to_date(self) -> Option<NaiveDate> {
        NaiveDate::from_num_days_from_ce_opt(self.0.checked_add(EPOCH_FROM_CE)?)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_date() {
            Some(date) => write!(f, "{}", date.format("%Y-%m-%d")),
            None => write!(f, "day {}", self.0),
        }
    }
}

/// The zone whose days are the local days of a city: a fixed offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone {
    offset_ms: i64,
}

impl Zone {
    /// UTC+08:00, all of China.
    pub const CHINA: Zone = Zone {
        offset_ms: 8 * 3_600_000,
    };
    /// UTC.
    pub const UTC: Zone = Zone { offset_ms: 0 };

    /// Reads `+08:00`, `-05:30` or `Z`; at most 18 hours either way.
    pub fn parse(text: &str) -> Option<Zone> {
        if text == "Z" {
            return Some(Zone::UTC);
        }
        let (sign, rest) = match text.as_bytes().first()? {
            b'+' => (1, &text[1..]),
            b'-' => (-1, &text[1..]),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let two_digits = |part: &str| {
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()))
                .then(|| part.parse::<i64>().ok())?
        };
        let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
        (hours <= 18 && minutes < 60).then(|| Zone {
            offset_ms: sign * (hours * 60 + minutes) * 60_000,
        })
    }

    /// Milliseconds to add to UTC to get local time.
    pub fn offset_ms(self) -> i64 {
        self.offset_ms
    }

    /// The local day of an instant in milliseconds UTC. Instants beyond the calendar saturate, below
    /// [`Day::MAX`], so that what is valid for ever holds on every day.
    pub fn day_of(self, ms: i64) -> Day {
        let days = ms.saturating_add(self.offset_ms).div_euclid(MS_PER_DAY);
        let days = days.clamp(i64::from(Day::MIN.0), i64::from(Day::MAX.0) - 1);
        Day(i32::try_from(days).unwrap_or(Day::MIN.0))
    }

    /// The first instant of a local day, in milliseconds UTC.
    pub fn start_of(self, day: Day) -> i64 {
        i64::from(day.0) * MS_PER_DAY - self.offset_ms
    }
}

impl Default for Zone {
    fn default() -> Self {
        Zone::CHINA
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.offset_ms.abs() / 60_000;
        let sign = if self.offset_ms < 0 { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}
