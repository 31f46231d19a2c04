//! The registers of `stock.reported` (`registers.toml`): what a level measures and how it may be added up.

use super::document::{Document, Section};
use super::files::Text;
use super::lookup::Table;
use super::words::Words;
use super::{Column, LoadProblems, holds_on};
use crate::area::Day;

/// How values of one area at different days make one value of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeOp {
    /// Added: a flow reported per period.
    Sum,
    /// The last on or before the end: a stock.
    Last,
    /// Their mean.
    Avg,
    /// The greatest.
    Max,
}

/// How values of areas make the value of the area above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AreaOp {
    /// Added.
    Sum,
    /// Their mean: a level that must not be added (an age, a price, a share).
    Avg,
    /// The greatest.
    Max,
}

/// A register, or an open family of registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The `subject_id` of its statements; for an open family the beginning of them, up to and including the dot.
    pub code: String,
    /// Whether any code that begins with [`Register::code`] is a register of this kind.
    pub family: bool,
    /// Chinese label.
    pub zh: String,
    /// English label.
    pub en: String,
    /// Unit of its values.
    pub unit: String,
    /// Over time.
    pub time: TimeOp,
    /// Over areas.
    pub area: AreaOp,
    /// First local day on which it may be used; `None` = always.
    pub valid_from: Option<Day>,
    /// First local day on which it may be used no more.
    pub valid_to: Option<Day>,
}

impl Register {
    /// Whether it may be used on a day.
    pub fn holds_on(&self, day: Day) -> bool {
        holds_on(self.valid_from, self.valid_to, day)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Registers {
    named: Vec<Register>,
    families: Vec<Register>,
    index: Table<Box<str>, usize>,
}

impl Registers {
    pub fn get(&self, code: &str) -> Option<&Register> {
        if let Some(register) = self.index.get(code) {
            return self.named.get(*register);
        }
        self.families.iter().find(|family| {
            code.strip_prefix(family.code.as_str())
                .is_some_and(super::words::is_name)
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Register> {
        self.named.iter().chain(&self.families)
    }
}

pub(super) fn read(file: &Text, words: &Words, problems: &mut LoadProblems) -> Registers {
    let (document, table) = Document::parse(&file.name, &file.text);
    let mut root = Section::root(&document, &table);
    let read_all = |entries: Vec<(&str, Section<'_, '_>)>, family: bool| -> Vec<Register> {
        entries
            .into_iter()
            .filter_map(|(code, section)| read_one(code, section, family, words))
            .collect()
    };
    let named = read_all(root.sections("register"), false);
    let families = read_all(root.sections("family"), true);
    root.finish();
    problems.extend(document.into_problems());
    let index = named
        .iter()
        .enumerate()
        .map(|(i, register)| (register.code.clone().into_boxed_str(), i))
        .collect();
    Registers {
        named,
        families,
        index,
    }
}

fn read_one(
    code: &str,
    mut section: Section<'_, '_>,
    family: bool,
    words: &Words,
) -> Option<Register> {
    let parts = if family {
        code.strip_suffix('.').unwrap_or_default()
    } else {
        code
    };
    if !parts.split('.').all(super::words::is_name) {
        let expected = if family {
            "words joined by dots, a dot at the end"
        } else {
            "words joined by dots"
        };
        section.problem(format!("{code:?} is no register code: expected {expected}"));
    }
    let (zh, en, unit) = (
        section.need_text("zh"),
        section.need_text("en"),
        section.need_text("unit"),
    );
    if !unit.is_empty() && !words.has(Column::unit, &unit) {
        section.problem_at("unit", format!("unit {unit} is not in words.toml"));
    }
    let time = match section.need_text("time").as_str() {
        "sum" => Some(TimeOp::Sum),
        "last" => Some(TimeOp::Last),
        "avg" => Some(TimeOp::Avg),
        "max" => Some(TimeOp::Max),
        other => {
            section.problem_at(
                "time",
                format!("time {other:?} is unknown: expected sum, last, avg or max"),
            );
            None
        }
    };
    let area = match section.need_text("area").as_str() {
        "sum" => Some(AreaOp::Sum),
        "avg" => Some(AreaOp::Avg),
        "max" => Some(AreaOp::Max),
        other => {
            section.problem_at(
                "area",
                format!("area {other:?} is unknown: expected sum, avg or max"),
            );
            None
        }
    };
    let (valid_from, valid_to) = (section.day("valid_from"), section.day("valid_to"));
    section.finish();
    Some(Register {
        code: code.to_owned(),
        family,
        zh,
        en,
        unit,
        time: time?,
        area: area?,
        valid_from,
        valid_to,
    })
}
