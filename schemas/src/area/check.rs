//! What must hold between the rows of a registry.

use std::collections::{BTreeMap, HashMap};

use super::changes::AreaChange;
use super::row::{Area, Placed};
use super::{Day, Tier, code};
use crate::catalogue::LoadProblems;

/// Rows by code, each list sorted by the start of its period.
type ByCode<'a> = BTreeMap<&'a str, Vec<&'a Placed<Area>>>;

/// Reports everything that keeps the rows from being a forest of dated areas.
pub(super) fn check(
    rows: &[Placed<Area>],
    changes: &[Placed<AreaChange>],
    problems: &mut LoadProblems,
) {
    let mut by_code = ByCode::new();
    for placed in rows {
        by_code.entry(&placed.row.code).or_default().push(placed);
    }
    for same in by_code.values_mut() {
        same.sort_by_key(|placed| placed.row.from());
    }
    periods(&by_code, problems);
    padded_forms(&by_code, problems);
    parents(rows, &by_code, problems);
    roots(rows, problems);
    cycles(&by_code, problems);
    for change in changes {
        for (column, code) in [
            ("from_code", &change.row.from_code),
            ("to_code", &change.row.to_code),
        ] {
            if !by_code.contains_key(code.as_str()) {
                problems.add(
                    &change.file,
                    change.line,
                    format!("{column} {code} is in no registry"),
                );
            }
        }
    }
}

fn periods(by_code: &ByCode<'_>, problems: &mut LoadProblems) {
    for (code, same) in by_code {
        for pair in same.windows(2) {
            let (one, two) = (pair[0], pair[1]);
            if two.row.from() < one.row.to() {
                let (file, line) = (&one.file, one.line);
                problems.add(
                    &two.file,
                    two.line,
                    format!("the period of {code} overlaps that of {file}:{line}: end one before the other begins"),
                );
            }
            if one.row.tier != two.row.tier {
                let (was, is) = (one.row.tier, two.row.tier);
                problems.add(
                    &two.file,
                    two.line,
                    format!(
                        "{code} is a {is} here and a {was} in {}:{}",
                        one.file, one.line
                    ),
                );
            }
        }
    }
}

fn padded_forms(by_code: &ByCode<'_>, problems: &mut LoadProblems) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for (code, same) in by_code {
        let full = code::padded(code).unwrap_or_else(|| (*code).to_owned());
        if let Some(other) = seen.insert(full.clone(), code) {
            let at = same[0];
            problems.add(
                &at.file,
                at.line,
                format!("{code} and {other} have the same 12-digit form {full}: change one code"),
            );
        }
    }
}

fn parents(rows: &[Placed<Area>], by_code: &ByCode<'_>, problems: &mut LoadProblems) {
    for Placed { file, line, row } in rows {
        let Some(parent) = &row.parent else { continue };
        let Some(above) = by_code.get(parent.as_str()) else {
            problems.add(
                file,
                *line,
                format!("parent {parent} of {} is in no registry", row.code),
            );
            continue;
        };
        let tier = above[0].row.tier;
        if tier <= row.tier {
            let (own, code) = (row.tier, &row.code);
            problems.add(
                file,
                *line,
                format!("wrong tier order: {code} is a {own}, its parent {parent} a {tier}"),
            );
        }
        if let Some(gap) = first_gap(row, above) {
            let since = if gap == Day::MIN {
                "from the beginning".to_owned()
            } else {
                format!("from {gap}")
            };
            problems.add(
                file,
                *line,
                format!(
                    "parent {parent} is not valid for all the life of {}: {since}",
                    row.code
                ),
            );
        }
    }
}

/// First day of `row` on which none of `above` (sorted, not overlapping) holds.
fn first_gap(row: &Area, above: &[&Placed<Area>]) -> Option<Day> {
    let mut covered = row.from();
    for parent in above {
        if parent.row.from() <= covered && covered < parent.row.to() {
            covered = parent.row.to();
        }
        if covered >= row.to() {
            return None;
        }
    }
    Some(covered)
}

/// Provinces and cities may stand alone; a lower row without a parent, below the top of its file, has rather lost it.
fn roots(rows: &[Placed<Area>], problems: &mut LoadProblems) {
    let mut top: HashMap<&str, Tier> = HashMap::new();
    for placed in rows {
        let tier = top.entry(&placed.file).or_insert(placed.row.tier);
        *tier = (*tier).max(placed.row.tier);
    }
    for placed in rows.iter().filter(|placed| placed.row.parent.is_none()) {
        let highest = top[placed.file.as_str()];
        if placed.row.tier < highest.min(Tier::City) {
            let (code, tier) = (&placed.row.code, placed.row.tier);
            let reason = format!(
                "{code} is a {tier} without a parent, in a file that reaches up to {highest}"
            );
            problems.add(&placed.file, placed.line, reason);
        }
    }
}

fn cycles(by_code: &ByCode<'_>, problems: &mut LoadProblems) {
    // Parents of each code; a code is done when no cycle passes through it.
    let mut done: HashMap<&str, bool> = HashMap::new();
    for start in by_code.keys() {
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((code, next)) = path.last_mut() {
            let (code, turn) = (*code, *next);
            *next += 1;
            if turn == 0 && done.insert(code, false) == Some(true) {
                done.insert(code, true);
                path.pop();
                continue;
            }
            let rows = by_code.get(code).map_or(&[][..], Vec::as_slice);
            let Some(placed) = rows.get(turn) else {
                done.insert(code, true);
                path.pop();
                continue;
            };
            let Some(parent) = placed.row.parent.as_deref() else {
                continue;
            };
            match done.get(parent) {
                Some(true) => {}
                Some(false) => {
                    let from = path.iter().position(|(on, _)| *on == parent).unwrap_or(0);
                    let names: Vec<&str> = path[from..]
                        .iter()
                        .map(|(on, _)| *on)
                        .chain([parent])
                        .collect();
                    problems.add(
                        &placed.file,
                        placed.line,
                        format!("a cycle of parents: {}", names.join(" under ")),
                    );
                }
                None if by_code.contains_key(parent) => path.push((parent, 0)),
                None => {}
            }
        }
    }
}
