//! Locked months (`locks.csv`): what comes later is accepted, but it is told apart, so that a published figure can still
//! be computed as it was printed (V15).

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::area::{AreaId, AreaTree, Day};
use crate::catalogue::{LoadProblems, each_record, short_hash};
use crate::json::parse_instant;
use crate::{Code, Refusal};

/// Name of the file in a city's directory.
pub const FILE: &str = "locks.csv";

const HEADER: [&str; 3] = ["month", "area_code", "locked_at"];

/// Locks by month. A month of an area may be locked again after a restatement.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    /// In the order of days.
    months: Vec<Month>,
    version: String,
}

#[derive(Debug, Clone)]
struct Month {
    first: Day,
    last: Day,
    /// The area with everything below it, and when it was locked, milliseconds UTC.
    locks: Vec<(AreaId, i64)>,
}

impl Locks {
    /// Reads the locks in a city's directory; none where the file is not there.
    ///
    /// # Errors
    /// Everything that is wrong with the file, with line and reason.
    pub fn load(dir: Option<&Path>, tree: &AreaTree) -> Result<Locks, LoadProblems> {
        let Some(path) = dir.map(|dir| dir.join(FILE)) else {
            return Ok(Locks::default());
        };
        let file = path.display().to_string();
        match std::fs::read(&path) {
            Ok(bytes) => Locks::read(&file, &bytes, tree),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Locks::default()),
            Err(error) => {
                let mut problems = LoadProblems::default();
                problems.add(&file, 0, format!("cannot be read: {error}"));
                Err(problems)
            }
        }
    }

    /// Reads `month,area_code,locked_at` lines, such as `2019-09,330502,2019-10-15T00:00:00+08:00`.
    ///
    /// # Errors
    /// Everything that is wrong, with line and reason.
    pub fn read(file: &str, bytes: &[u8], tree: &AreaTree) -> Result<Locks, LoadProblems> {
        let mut problems = LoadProblems::default();
        let mut months: Vec<Month> = Vec::new();
        each_record(
            file,
            bytes,
            &HEADER,
            &mut problems,
            |line, fields, problems| {
                let field = |i: usize| fields.get(i).unwrap_or_default();
                let mut wrong = |i: usize, expected: &str| {
                    problems.add(
                        file,
                        line,
                        format!("{} {:?}: expected {expected}", HEADER[i], field(i)),
                    );
                };
                let days = days_of_month(field(0));
                if days.is_none() {
                    wrong(0, "a month like 2020-01");
                }
                let area = tree.id(field(1));
                if area.is_none() {
                    wrong(1, "an area of the registry");
                }
                let at = parse_instant(field(2)).ok();
                if at.is_none() {
                    wrong(
                        2,
                        "an instant with its zone, like 2020-02-10T00:00:00+08:00",
                    );
                }
                let (Some((first, last)), Some(area), Some(at)) = (days, area, at) else {
                    return;
                };
                match months.iter_mut().find(|month| month.first == first) {
                    Some(month) => month.locks.push((area, at)),
                    None => months.push(Month {
                        first,
                        last,
                        locks: vec![(area, at)],
                    }),
                }
            },
        );
        months.sort_by_key(|month| month.first);
        let version = if months.is_empty() {
            String::new()
        } else {
            short_hash(Sha256::new_with_prefix(bytes))
        };
        problems.or(Locks { months, version })
    }

    /// Whether nothing is locked.
    pub fn is_empty(&self) -> bool {
        self.months.is_empty()
    }

    /// Changes with the file; empty where nothing is locked.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The last lock before `at_ms` of the month of `day` for one of the areas that an event lies in, milliseconds UTC.
    /// `None`: it was not locked then.
    pub fn last_before(
        &self,
        day: Day,
        at_ms: i64,
        lies_in: impl Fn(AreaId) -> bool,
    ) -> Option<i64> {
        let next = self.months.partition_point(|month| month.first <= day);
        let month = self.months.get(next.checked_sub(1)?)?;
        if day > month.last {
            return None;
        }
        let before = month.locks.iter().filter(|(_, at)| *at <= at_ms);
        before
            .filter(|(area, _)| lies_in(*area))
            .map(|(_, at)| *at)
            .max()
    }
}

/// What stands with an accepted event that came after the lock of its month.
pub fn locked(locked_at_ms: i64) -> Refusal {
    let at = chrono::DateTime::from_timestamp_millis(locked_at_ms).map_or_else(
        || locked_at_ms.to_string(),
        |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    );
    let reason = format!("its month was locked at {at}: it counts from the next restatement on");
    Refusal::of(Code::V15, "occurred_at", reason)
}

/// First and last day of a month written `YYYY-MM`.
fn days_of_month(text: &str) -> Option<(Day, Day)> {
    let first = Day::parse(&format!("{text}-01"))?;
    let date = first.to_date()?;
    let next = date.checked_add_months(chrono::Months::new(1))?;
    let days = (next - date).num_days();
    Some((first, Day(first.0 + i32::try_from(days).ok()? - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area::AreaSource;

    fn huzhou() -> AreaTree {
        AreaTree::load(&AreaSource::builtin(["huzhou"])).unwrap()
    }

    fn ms(text: &str) -> i64 {
        parse_instant(text).unwrap()
    }

    #[test]
    fn an_event_came_after_the_last_lock_of_its_month_for_one_of_its_areas() {
        let tree = huzhou();
        let text = "month,area_code,locked_at\n\
                    2019-09,3305,2019-10-15T00:00:00+08:00\n\
                    2019-09,330502,2019-12-01T00:00:00+08:00\n\
                    2019-11,3305,2019-12-15T00:00:00+08:00\n";
        let locks = Locks::read("locks.csv", text.as_bytes(), &tree).unwrap();
        let after = |area: &str, day: &str, at: &str| {
            let day = Day::parse(day).unwrap();
            let lineage = tree.lineage(area, day).unwrap();
            locks.last_before(day, ms(at), |area| lineage.is_within(area))
        };
        let (first, second) = ("2019-10-15T00:00:00+08:00", "2019-12-01T00:00:00+08:00");
        let community = "330502001005";
        assert_eq!(
            after(community, "2019-09-30", "2019-10-14T23:59:59+08:00"),
            None
        );
        assert_eq!(after(community, "2019-09-01", first), Some(ms(first)));
        assert_eq!(
            after(community, "2019-09-30", "2020-01-01T00:00:00+08:00"),
            Some(ms(second))
        );
        assert_eq!(
            after("3305", "2019-09-30", "2020-01-01T00:00:00+08:00"),
            Some(ms(first))
        );
        assert_eq!(
            after(community, "2019-10-01", "2020-01-01T00:00:00+08:00"),
            None
        );
        assert_eq!(
            after(community, "2019-08-31", "2020-01-01T00:00:00+08:00"),
            None
        );
        assert!(after(community, "2019-11-30", "2020-01-01T00:00:00+08:00").is_some());
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text =
            "month,area_code,locked_at\n2019-13,999999,yesterday\n2019-02-01,3305,2019-10-15\n";
        let problems = Locks::read("locks.csv", text.as_bytes(), &huzhou()).unwrap_err();
        let told = problems.to_string();
        for expected in [
            "locks.csv:2: month \"2019-13\": expected a month like 2020-01",
            "locks.csv:2: area_code \"999999\": expected an area of the registry",
            "locks.csv:2: locked_at \"yesterday\": expected an instant with its zone",
            "locks.csv:3: month \"2019-02-01\"",
            "locks.csv:3: locked_at \"2019-10-15\"",
        ] {
            assert!(told.contains(expected), "{expected} in {told}");
        }
    }
}
