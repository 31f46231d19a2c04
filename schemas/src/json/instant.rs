//! Instants as text.

use chrono::DateTime;

const DAY_MS: i64 = 86_400_000;

/// An instant in milliseconds UTC from RFC 3339 text, whose zone is not optional. Anything below a millisecond is cut.
pub fn parse_instant(text: &str) -> Result<i64, String> {
    if let Some(ms) = usual(text.as_bytes()) {
        return Ok(ms);
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .map_err(|_| "expected RFC 3339 with a zone, such as 2026-03-01T08:00:00+08:00".to_owned())
}

/// The form that nearly every instant has, read without a general parser: `2026-03-01T08:00:00.123+08:00`, with or
/// without milliseconds, or `Z`. `None`: not of this form, which says nothing about whether it is right.
pub(super) fn usual(text: &[u8]) -> Option<i64> {
    let number = |from: usize, digits: usize| {
        text.get(from..from + digits)?
            .iter()
            .try_fold(0, |n, byte| {
                byte.is_ascii_digit()
                    .then(|| n * 10 + i64::from(byte - b'0'))
            })
    };
    let is = |at: usize, byte: u8| (text.get(at) == Some(&byte)).then_some(());
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    is(4, b'-')?;
    is(7, b'-')?;
    is(10, b'T')?;
    is(13, b':')?;
    is(16, b':')?;
    // Leap seconds are left to the general parser.
    if !(1..=12).contains(&month)
        || !(1..=days_of(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let (millis, zone) = match text.get(19)? {
        b'.' => (number(20, 3)?, 23),
        _ => (0, 19),
    };
    let offset_minutes = match text.get(zone)? {
        b'Z' if text.len() == zone + 1 => 0,
        sign @ (b'+' | b'-') if text.len() == zone + 6 => {
            is(zone + 3, b':')?;
            let (hours, minutes) = (number(zone + 1, 2)?, number(zone + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 60 + minutes;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let seconds = (hour * 60 + minute - offset_minutes) * 60 + second;
    Some(days_from_civil(year, month, day) * DAY_MS + seconds * 1000 + millis)
}

/// Days of a month, Gregorian.
fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a Gregorian date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, SecondsFormat, TimeZone};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_days_of_a_month_take_the_quick_way_too() {
        for (day, there) in [
            ("2026-01-31", true),
            ("2026-04-30", true),
            ("2026-04-31", false),
            ("2026-02-29", false),
            ("2024-02-29", true),
            ("2000-02-29", true),
            ("2100-02-29", false),
        ] {
            let text = format!("{day}T08:00:00.123+08:00");
            assert_eq!(usual(text.as_bytes()).is_some(), there, "{day}");
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_says_what_the_general_parser_says(
            ms in -62_167_219_200_000i64..253_402_300_800_000,
            zone in -1439i32..=1439,
            form in 0usize..3,
        ) {
            let zone = FixedOffset::east_opt(zone * 60).unwrap();
            let time = zone.timestamp_millis_opt(ms).unwrap();
            let form = [SecondsFormat::Secs, SecondsFormat::Millis, SecondsFormat::Micros][form];
            let text = time.to_rfc3339_opts(form, true);
            let general = DateTime::parse_from_rfc3339(&text).map(|time| time.timestamp_millis());
            prop_assert_eq!(parse_instant(&text).ok(), general.ok(), "{}", text);
        }

        #[test]
        fn what_the_general_parser_refuses_the_quick_way_refuses(text in "[0-9]{4}[-x][0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,4})?(Z|z|[+-][0-9]{2}:?[0-9]{2}|)") {
            let general = DateTime::parse_from_rfc3339(&text).map(|time| time.timestamp_millis());
            prop_assert_eq!(parse_instant(&text).ok(), general.ok(), "{}", text);
        }
    }
}
