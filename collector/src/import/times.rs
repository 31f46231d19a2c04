//! Local times as instants, daylight saving included.

use chrono::format::{Fixed, Item, StrftimeItems};
use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use siji_schemas::area::Zone;

use super::row::RowRefusal;

/// Forms that are understood besides those the mapping lists: they have one meaning only.
const USUAL: [&str; 4] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
];
/// Longest change of a zone's offset, and the steps in which its ends are looked for.
const LONGEST_GAP_MINUTES: i64 = 25 * 60;
const STEP_MINUTES: i64 = 15;

/// What to make of a local time that stands twice on the clock, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The earlier of the two instants it can mean.
    Earlier,
    /// The later one.
    Later,
    /// The row is refused.
    Refuse,
}

/// A zone: its offset may change with the seasons, or not.
#[derive(Debug, Clone, Copy)]
enum AnyZone {
    Named(chrono_tz::Tz),
    Fixed(Zone),
}

/// How a mapping's times are read.
#[derive(Debug, Clone)]
pub struct Clock {
    zone: Option<AnyZone>,
    formats: Vec<String>,
    /// For times that stand twice on the clock, when it is set back.
    pub twice: Choice,
    /// For times that the clock skips, when it is set forward.
    pub skipped: Choice,
}

impl Clock {
    /// A clock without a zone: reads only times that say theirs.
    pub fn new() -> Clock {
        Clock {
            zone: None,
            formats: Vec::new(),
            twice: Choice::Refuse,
            skipped: Choice::Refuse,
        }
    }

    /// Sets the zone: a name of the tz database (`America/Toronto`) or an offset (`+08:00`).
    ///
    /// # Errors
    /// What was expected.
    pub fn set_zone(&mut self, name: &str) -> Result<(), String> {
        let named = name.parse::<chrono_tz::Tz>().map(AnyZone::Named).ok();
        let zone = named.or_else(|| Zone::parse(name).map(AnyZone::Fixed));
        if zone.is_none() {
            let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            return Err(format!(
                "no zone is called \"{name}\": expected a name such as Asia/Shanghai or an offset such as +08:00{}",
                super::suggest::did_you_mean(name, known)
            ));
        }
        self.zone = zone;
        Ok(())
    }

    /// Sets the forms times are written in.
    ///
    /// # Errors
    /// The first form that cannot be read, and why.
    pub fn set_formats<'f>(
        &mut self,
        formats: impl IntoIterator<Item = &'f str>,
    ) -> Result<(), (usize, String)> {
        self.formats.clear();
        for (at, format) in formats.into_iter().enumerate() {
            let broken = StrftimeItems::new(format).any(|item| matches!(item, Item::Error));
            if broken || !format.contains('%') {
                let reason = format!(
                    "\"{format}\" is no form of times: expected one such as %Y-%m-%d %H:%M:%S or %d/%m/%Y"
                );
                return Err((at, reason));
            }
            // The name would be read and forgotten: CST is one in China, another in America.
            if StrftimeItems::new(format)
                .any(|item| matches!(item, Item::Fixed(Fixed::TimezoneName)))
            {
                let reason = format!(
                    "\"{format}\" has %Z, and the name of a zone does not say which it is: use %z where times have an offset, else write the name as it stands there (EST) and set `zone` to a fixed one such as -05:00"
                );
                return Err((at, reason));
            }
            self.formats.push(format.to_owned());
        }
        Ok(())
    }

    /// Whether times without a zone can be read.
    pub fn has_zone(&self) -> bool {
        self.zone.is_some()
    }

    /// Milliseconds UTC of a time as it is written.
    pub(super) fn read(&self, field: &str, text: &str) -> Result<i64, RowRefusal> {
        let refuse = |reason: String| RowRefusal::new("M04", field, reason);
        if let Ok(ms) = siji_schemas::json::parse_instant(text) {
            return Ok(ms);
        }
        let mut local = None;
        for format in self.formats.iter().map(String::as_str).chain(USUAL) {
            if let Ok(time) = DateTime::parse_from_str(text, format) {
                return Ok(time.timestamp_millis());
            }
            let time = NaiveDateTime::parse_from_str(text, format).ok();
            let date = || {
                NaiveDate::parse_from_str(text, format)
                    .ok()?
                    .and_hms_opt(0, 0, 0)
            };
            local = time.or_else(date);
            if local.is_some() {
                break;
            }
        }
        let Some(local) = local else {
            let listed = match self.formats.as_slice() {
                [] => "2014-01-31 08:15:00".to_owned(),
                formats => formats.join(" or "),
            };
            return Err(refuse(format!(
                "no time that can be read: expected {listed}"
            )));
        };
        match self.zone {
            None => Err(refuse(
                "the time says no zone, and the mapping has none: set `zone` in [time]".to_owned(),
            )),
            Some(AnyZone::Fixed(zone)) => Ok(local.and_utc().timestamp_millis() - zone.offset_ms()),
            Some(AnyZone::Named(zone)) => self.in_zone(zone, local).map_err(refuse),
        }
    }

    fn in_zone(&self, zone: chrono_tz::Tz, local: NaiveDateTime) -> Result<i64, String> {
        let found = match zone.from_local_datetime(&local) {
            chrono::LocalResult::Single(time) => return Ok(time.timestamp_millis()),
            chrono::LocalResult::Ambiguous(earlier, later) => match self.twice {
                Choice::Earlier => Some(earlier.timestamp_millis()),
                Choice::Later => Some(later.timestamp_millis()),
                Choice::Refuse => {
                    return Err(format!(
                        "the local time stands twice on the clock of {zone}, which was set back then: set `twice` in [time] to earlier or later"
                    ));
                }
            },
            // By the offset before the change a skipped time lies after it, and the other way round.
            chrono::LocalResult::None => match self.skipped {
                Choice::Later => by_offset_of(zone, local, -STEP_MINUTES),
                Choice::Earlier => by_offset_of(zone, local, STEP_MINUTES),
                Choice::Refuse => {
                    return Err(format!(
                        "the local time does not exist in {zone}, where the clock was set forward then: set `skipped` in [time] to earlier or later"
                    ));
                }
            },
        };
        found.ok_or_else(|| format!("the local time does not exist in {zone}"))
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

/// The instant of a skipped time by the offset that holds nearby, looked for in steps of `step` minutes.
fn by_offset_of(zone: chrono_tz::Tz, local: NaiveDateTime, step: i64) -> Option<i64> {
    let steps = LONGEST_GAP_MINUTES / STEP_MINUTES;
    let nearby = (1..=steps).find_map(|n| {
        let near: NaiveDateTime = local.checked_add_signed(TimeDelta::minutes(n * step))?;
        zone.from_local_datetime(&near).single()
    })?;
    let offset = Duration::seconds(i64::from(nearby.offset().fix().local_minus_utc()));
    Some(
        local
            .checked_sub_signed(offset)?
            .and_utc()
            .timestamp_millis(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toronto(twice: Choice, skipped: Choice) -> Clock {
        let mut clock = Clock::new();
        clock.set_zone("America/Toronto").unwrap();
        clock
            .set_formats(["%Y-%b-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%d.%m.%Y"])
            .unwrap();
        Clock {
            twice,
            skipped,
            ..clock
        }
    }

    fn read(clock: &Clock, text: &str) -> Result<String, String> {
        match clock.read("occurred_at", text) {
            Ok(ms) => Ok(siji_schemas::json::format_instant(ms)),
            Err(refusal) => Err(refusal.reason),
        }
    }

    #[test]
    fn local_times_follow_daylight_saving() {
        let clock = toronto(Choice::Refuse, Choice::Refuse);
        for (text, instant) in [
            ("2014-Jan-14 13:48:01", "2014-01-14T18:48:01.000Z"),
            ("3/8/2014 9:05", "2014-03-08T14:05:00.000Z"),
            ("3/10/2014 9:05", "2014-03-10T13:05:00.000Z"),
            ("31.12.2013", "2013-12-31T05:00:00.000Z"),
            ("2014-07-01 00:30:00", "2014-07-01T04:30:00.000Z"),
            ("2014-07-01T00:30:00+08:00", "2014-06-30T16:30:00.000Z"),
        ] {
            assert_eq!(read(&clock, text), Ok(instant.to_owned()), "{text}");
        }
        assert!(read(&clock, "14/31/2014 9:05").is_err());
        assert!(read(&clock, "2014-Feb-30 10:00:00").is_err());
    }

    #[test]
    fn a_time_that_stands_twice_or_not_at_all_is_what_the_mapping_says() {
        let (twice, skipped) = ("11/2/2014 1:30", "3/9/2014 2:30");
        let by = |choice| toronto(choice, choice);
        assert_eq!(
            read(&by(Choice::Earlier), twice),
            Ok("2014-11-02T05:30:00.000Z".to_owned())
        );
        assert_eq!(
            read(&by(Choice::Later), twice),
            Ok("2014-11-02T06:30:00.000Z".to_owned())
        );
        // Half past two by the clock before the change is half past three after it.
        assert_eq!(
            read(&by(Choice::Later), skipped),
            Ok("2014-03-09T07:30:00.000Z".to_owned())
        );
        assert_eq!(
            read(&by(Choice::Earlier), skipped),
            Ok("2014-03-09T06:30:00.000Z".to_owned())
        );
        assert!(
            read(&by(Choice::Refuse), twice)
                .unwrap_err()
                .contains("twice")
        );
        assert!(
            read(&by(Choice::Refuse), skipped)
                .unwrap_err()
                .contains("does not exist")
        );
    }

    #[test]
    fn a_zone_or_a_form_that_does_not_exist_is_named() {
        let mut clock = Clock::new();
        let error = clock.set_zone("Asia/Shangai").unwrap_err();
        assert!(error.contains("did you mean \"Asia/Shanghai\"?"), "{error}");
        clock.set_zone("+08:00").unwrap();
        assert_eq!(
            read(&clock, "2014-07-01 08:00:00"),
            Ok("2014-07-01T00:00:00.000Z".to_owned())
        );
        assert_eq!(clock.set_formats(["%Y", "%Q"]).unwrap_err().0, 1);
    }

    #[test]
    fn the_name_of_a_zone_in_a_form_is_refused_and_not_forgotten() {
        let mut clock = Clock::new();
        clock.set_zone("-05:00").unwrap();
        let (at, reason) = clock
            .set_formats(["%Y-%m-%d", "%Y-%m-%d %H:%M %Z"])
            .unwrap_err();
        assert_eq!(at, 1);
        assert!(
            reason.contains("%z") && reason.contains("`zone`"),
            "{reason}"
        );
        for (format, text) in [
            ("%Y/%m/%d %H:%M EST", "2024/03/01 09:05 EST"),
            ("%Y/%m/%d %H:%M %z", "2024/03/01 22:05 +0800"),
        ] {
            clock.set_formats([format]).unwrap();
            assert_eq!(
                read(&clock, text),
                Ok("2024-03-01T14:05:00.000Z".to_owned())
            );
        }
        clock.set_formats(["100%% %Y-%m-%d %%Z"]).unwrap();
    }

    #[test]
    fn a_time_without_a_zone_is_refused_where_none_is_known() {
        let error = read(&Clock::new(), "2014-07-01 08:00:00").unwrap_err();
        assert!(error.contains("set `zone`"), "{error}");
    }
}
