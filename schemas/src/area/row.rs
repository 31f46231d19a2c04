//! Rows of a registry and how they are read from CSV.

use super::{Day, Tier, code};
use crate::catalogue::{LoadProblems, each_record};

/// One row of a registry: an area under one parent during one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// Code in the registry's own form.
    pub code: String,
    /// Code of the parent; `None` for a root.
    pub parent: Option<String>,
    /// Administrative tier.
    pub tier: Tier,
    /// Name as the registry prints it. Not unique.
    pub name: String,
    /// `urban`, `rural`, `old`, `new` or empty.
    pub kind: String,
    /// First local day; `None` = always.
    pub valid_from: Option<Day>,
    /// First local day on which it holds no more; `None` = still valid.
    pub valid_to: Option<Day>,
}

impl Area {
    /// First day, open periods as [`Day::MIN`].
    pub fn from(&self) -> Day {
        self.valid_from.unwrap_or(Day::MIN)
    }

    /// First day on which it holds no more, open periods as [`Day::MAX`].
    pub fn to(&self) -> Day {
        self.valid_to.unwrap_or(Day::MAX)
    }

    /// Whether the row holds on a day.
    pub fn holds_on(&self, day: Day) -> bool {
        self.from() <= day && day < self.to()
    }
}

/// A row and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub file: String,
    pub line: u64,
    pub row: T,
}

/// Header of a registry file.
pub(super) const HEADER: [&str; 7] = [
    "area_code",
    "parent_code",
    "tier",
    "name",
    "kind",
    "valid_from",
    "valid_to",
];
const KINDS: [&str; 5] = ["", "urban", "rural", "old", "new"];

/// Reads the rows of one registry file; what is wrong goes to `problems` and the row is left out.
pub(super) fn read(file: &str, bytes: &[u8], problems: &mut LoadProblems) -> Vec<Placed<Area>> {
    let mut rows = Vec::new();
    each_record(file, bytes, &HEADER, problems, |line, fields, problems| {
        if let Some(row) = parse(file, line, fields, problems) {
            rows.push(Placed {
                file: file.to_owned(),
                line,
                row,
            });
        }
    });
    rows
}

fn parse(
    file: &str,
    line: u64,
    fields: &csv::StringRecord,
    problems: &mut LoadProblems,
) -> Option<Area> {
    let before = problems.len();
    let field = |i: usize| fields.get(i).unwrap_or_default();
    for (column, text, may_be_empty) in [
        ("area_code", field(0), false),
        ("parent_code", field(1), true),
    ] {
        if !(may_be_empty && text.is_empty()) && code::pack(text).is_none() {
            problems.add(
                file,
                line,
                format!("{column} {text:?} is no code: expected 1 to 12 of 0-9 and A-Z"),
            );
        }
    }
    let tier = Tier::parse(field(2));
    if tier.is_none() {
        problems.add(
            file,
            line,
            format!(
                "tier {:?} is unknown: expected province, city, district, street or community",
                field(2)
            ),
        );
    }
    if field(3).trim().is_empty() || field(3).trim() != field(3) {
        problems.add(file, line, "name is empty or has spaces around it");
    }
    if !KINDS.contains(&field(4)) {
        problems.add(
            file,
            line,
            format!(
                "kind {:?} is unknown: expected urban, rural, old, new or nothing",
                field(4)
            ),
        );
    }
    let valid_from = read_day(file, line, "valid_from", field(5), problems);
    let valid_to = read_day(file, line, "valid_to", field(6), problems);
    if let (Some(from), Some(to)) = (valid_from, valid_to)
        && from >= to
    {
        problems.add(
            file,
            line,
            format!("valid_from {from} is not before valid_to {to}: the row never holds"),
        );
    }
    if problems.len() > before {
        return None;
    }
    Some(Area {
        code: field(0).to_owned(),
        parent: (!field(1).is_empty()).then(|| field(1).to_owned()),
        tier: tier?,
        name: field(3).to_owned(),
        kind: field(4).to_owned(),
        valid_from,
        valid_to,
    })
}

fn read_day(
    file: &str,
    line: u64,
    column: &str,
    text: &str,
    problems: &mut LoadProblems,
) -> Option<Day> {
    if text.is_empty() {
        return None;
    }
    let day = Day::parse(text);
    if day.is_none() {
        problems.add(
            file,
            line,
            format!("{column} {text:?} is no date: expected YYYY-MM-DD or nothing"),
        );
    }
    day
}
