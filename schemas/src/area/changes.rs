//! Changes of areas: what a code became, and in which share.

use super::row::Placed;
use super::{Day, code};
use crate::catalogue::{LoadProblems, each_record};

/// What happened to an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// Same area, new code or name.
    Rename,
    /// Same code, new parent.
    Move,
    /// One area into several.
    Split,
    /// Several areas into one.
    Merge,
}

impl ChangeKind {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Rename => "rename",
            ChangeKind::Move => "move",
            ChangeKind::Split => "split",
            ChangeKind::Merge => "merge",
        }
    }

    fn parse(text: &str) -> Option<ChangeKind> {
        [
            ChangeKind::Rename,
            ChangeKind::Move,
            ChangeKind::Split,
            ChangeKind::Merge,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
    }
}

/// One line of `area_changes.csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AreaChange {
    /// First local day of the new state.
    pub date: Day,
    /// What happened.
    pub kind: ChangeKind,
    /// Code before.
    pub from_code: String,
    /// Code after; the same for a move.
    pub to_code: String,
    /// Part of `from_code` that goes to `to_code`, in millionths.
    pub share_micros: u32,
    /// Remark for people.
    pub note: String,
}

pub(super) const HEADER: [&str; 6] = ["date", "kind", "from_code", "to_code", "share", "note"];

pub(super) fn read(
    file: &str,
    bytes: &[u8],
    problems: &mut LoadProblems,
) -> Vec<Placed<AreaChange>> {
    let mut changes = Vec::new();
    each_record(file, bytes, &HEADER, problems, |line, fields, problems| {
        let field = |i: usize| fields.get(i).unwrap_or_default();
        let (date, kind, share) = (
            Day::parse(field(0)),
            ChangeKind::parse(field(1)),
            parse_share(field(4)),
        );
        if date.is_none() {
            problems.add(
                file,
                line,
                format!("date {:?} is no date: expected YYYY-MM-DD", field(0)),
            );
        }
        if kind.is_none() {
            problems.add(
                file,
                line,
                format!(
                    "kind {:?} is unknown: expected rename, move, split or merge",
                    field(1)
                ),
            );
        }
        if share.is_none() {
            problems.add(
                file,
                line,
                format!(
                    "share {:?} is not above 0 and at most 1, with at most 6 decimals",
                    field(4)
                ),
            );
        }
        for (column, text) in [("from_code", field(2)), ("to_code", field(3))] {
            if code::pack(text).is_none() {
                problems.add(
                    file,
                    line,
                    format!("{column} {text:?} is no code: expected 1 to 12 of 0-9 and A-Z"),
                );
            }
        }
        if let (Some(date), Some(kind), Some(share_micros)) = (date, kind, share) {
            let (from_code, to_code, note) = (
                field(2).to_owned(),
                field(3).to_owned(),
                field(5).to_owned(),
            );
            let row = AreaChange {
                date,
                kind,
                from_code,
                to_code,
                share_micros,
                note,
            };
            changes.push(Placed {
                file: file.to_owned(),
                line,
                row,
            });
        }
    });
    changes
}

/// `1`, `0.25`, … as millionths.
fn parse_share(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 1
        || fraction.len() > 6
        || !digits(whole)
        || !digits(fraction)
    {
        return None;
    }
    let share =
        whole.parse::<u32>().ok()? * 1_000_000 + format!("{fraction:0<6}").parse::<u32>().ok()?;
    (1..=1_000_000).contains(&share).then_some(share)
}
