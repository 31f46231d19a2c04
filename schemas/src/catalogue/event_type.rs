//! The event types (`event_types.toml`): what each must carry, may carry and must not exceed.

use super::document::{Document, Section};
use super::files::Text;
use super::lookup::Table;
use super::words::{Words, is_name};
use super::{Column, Columns, LoadProblems, holds_on};
use crate::area::Day;

/// Columns and attrs keys that belong together in a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirement {
    /// Columns.
    pub columns: Columns,
    /// Keys of attrs.
    pub attrs: Vec<String>,
}

impl Requirement {
    /// Names for a message: columns, then `attrs.<key>`.
    pub fn names(&self) -> Vec<String> {
        let columns = self.columns.iter().map(|column| column.name().to_owned());
        columns
            .chain(self.attrs.iter().map(|key| format!("attrs.{key}")))
            .collect()
    }
}

/// Bounds of a numeric column, both included, in whole units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The column.
    pub column: Column,
    /// Least value.
    pub low: i64,
    /// Greatest value.
    pub high: i64,
}

/// A key that attrs may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttrKey {
    /// The key.
    pub key: String,
    /// What its value means.
    pub meaning: String,
}

/// One event type, with what it takes over from its family and from the common part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventType {
    /// Dotted name.
    pub name: String,
    /// The part before the dot.
    pub family: String,
    /// Chinese label.
    pub zh: String,
    /// English label.
    pub en: String,
    /// What every record of the type must have, retractions included.
    pub envelope: Requirement,
    /// What an assertion or correction must have besides (V02).
    pub required: Requirement,
    /// Of each of these groups, at least one must be there (V02).
    pub required_any: Vec<Requirement>,
    /// What good records have; absence is a question of quality, not a reason to refuse.
    pub expected: Requirement,
    /// Columns that may be absent when the figure is damaged.
    pub measures: Columns,
    /// Columns that must not be below 0 (V06).
    pub not_negative: Columns,
    /// Bounds (V07).
    pub ranges: Vec<Range>,
    /// Pairs of which the first must not exceed the second (V07).
    pub at_most: Vec<(Column, Column)>,
    /// Keys that attrs may have (V13), sorted.
    pub attrs: Vec<AttrKey>,
    /// Columns that hold a pseudonym or identify a person.
    pub personal: Columns,
    /// Outcomes it may have (V03); empty = any word of the dictionary.
    pub outcomes: Vec<String>,
    /// Units it may have (V16); empty = any, or the register's.
    pub units: Vec<String>,
    /// What its subject may be; the first is usual.
    pub subject_kinds: Vec<String>,
    /// Whether records without such a subject are refused (V09), because they are folded by it.
    pub folded: bool,
    /// Whether `subject_id` is the code of a register (V08) that gives the unit (V16).
    pub of_register: bool,
    /// Whether `value` is a level at a moment, never to be added up over time.
    pub level: bool,
    /// First local day on which it may be used; `None` = always.
    pub valid_from: Option<Day>,
    /// First local day on which it may be used no more.
    pub valid_to: Option<Day>,
    allowed_attrs: Table<Box<str>, ()>,
}

impl EventType {
    /// Whether it may be used on a day.
    pub fn holds_on(&self, day: Day) -> bool {
        holds_on(self.valid_from, self.valid_to, day)
    }

    /// Whether attrs may have a key.
    pub fn allows(&self, key: &str) -> bool {
        self.allowed_attrs.contains_key(key)
    }
}

#[derive(Debug, Clone)]
pub(super) struct EventTypes {
    all: Vec<EventType>,
    index: Table<Box<str>, usize>,
}

impl EventTypes {
    pub fn get(&self, name: &str) -> Option<&EventType> {
        self.all.get(*self.index.get(name)?)
    }

    pub fn all(&self) -> &[EventType] {
        &self.all
    }
}

/// What the common part, a family and a type may each say.
#[derive(Debug, Clone, Default)]
struct Rules {
    envelope: Requirement,
    required: Requirement,
    required_any: Vec<Requirement>,
    expected: Requirement,
    measures: Columns,
    not_negative: Columns,
    ranges: Vec<Range>,
    at_most: Vec<(Column, Column)>,
    attrs: Vec<AttrKey>,
    personal: Columns,
    outcomes: Vec<String>,
    units: Vec<String>,
    subject_kinds: Vec<String>,
    folded: bool,
    of_register: bool,
    level: bool,
}

pub(super) fn read(file: &Text, words: &Words, problems: &mut LoadProblems) -> EventTypes {
    let (document, table) = Document::parse(&file.name, &file.text);
    let mut root = Section::root(&document, &table);
    let mut common = root.section("common");
    let shared = read_rules(&mut common, words);
    common.finish();

    let mut families: Table<&str, Rules> = Table::default();
    for (name, mut section) in root.sections("family") {
        if !is_name(name) {
            section.problem(format!("{name:?} is no family: expected a-z, 0-9 and _"));
        }
        families.insert(name, shared.clone().and(read_rules(&mut section, words)));
        section.finish();
    }

    let mut all = Vec::new();
    for (name, mut section) in root.sections("type") {
        let (family, rest) = name.split_once('.').unwrap_or((name, ""));
        if !is_name(family) || !is_name(rest) {
            section.problem(format!("{name:?} is no event type: expected family.verb"));
        }
        let base = families.get(family).cloned();
        if base.is_none() {
            section.problem(format!("there is no [family.{family}]"));
        }
        let (zh, en) = (section.need_text("zh"), section.need_text("en"));
        let (valid_from, valid_to) = (section.day("valid_from"), section.day("valid_to"));
        let rules = base
            .unwrap_or_default()
            .and(read_rules(&mut section, words));
        for key in rules
            .required
            .attrs
            .iter()
            .chain(rules.required_any.iter().flat_map(|any| &any.attrs))
        {
            if !rules.attrs.iter().any(|attr| attr.key == *key) {
                section.problem_at(
                    "required",
                    format!("attrs.{key} is required but not listed under attrs"),
                );
            }
        }
        section.finish();
        all.push(rules.into_type(name, family, zh, en, valid_from, valid_to));
    }
    if all.is_empty() {
        root.problem("no event types: expected tables like [type.\"visit.made\"]");
    }
    root.finish();
    problems.extend(document.into_problems());
    let index = all
        .iter()
        .enumerate()
        .map(|(i, kind)| (kind.name.clone().into_boxed_str(), i))
        .collect();
    EventTypes { all, index }
}

impl Rules {
    /// These rules, and more: lists grow, except those of choices, where the closer one counts.
    fn and(mut self, closer: Rules) -> Rules {
        self.envelope.extend(closer.envelope);
        self.required.extend(closer.required);
        self.required_any.extend(closer.required_any);
        self.expected.extend(closer.expected);
        self.measures = self.measures.union(closer.measures);
        self.not_negative = self.not_negative.union(closer.not_negative);
        for range in closer.ranges {
            self.ranges.retain(|known| known.column != range.column);
            self.ranges.push(range);
        }
        self.at_most.extend(closer.at_most);
        for attr in closer.attrs {
            self.attrs.retain(|known| known.key != attr.key);
            self.attrs.push(attr);
        }
        self.personal = self.personal.union(closer.personal);
        let closest = |known: Vec<String>, closer: Vec<String>| {
            if closer.is_empty() { known } else { closer }
        };
        self.outcomes = closest(self.outcomes, closer.outcomes);
        self.units = closest(self.units, closer.units);
        self.subject_kinds = closest(self.subject_kinds, closer.subject_kinds);
        self.folded |= closer.folded;
        self.of_register |= closer.of_register;
        self.level |= closer.level;
        self
    }

    fn into_type(
        mut self,
        name: &str,
        family: &str,
        zh: String,
        en: String,
        valid_from: Option<Day>,
        valid_to: Option<Day>,
    ) -> EventType {
        self.attrs.sort_by(|a, b| a.key.cmp(&b.key));
        EventType {
            allowed_attrs: self
                .attrs
                .iter()
                .map(|attr| (attr.key.as_str().into(), ()))
                .collect(),
            name: name.to_owned(),
            family: family.to_owned(),
            zh,
            en,
            envelope: self.envelope,
            required: self.required,
            required_any: self.required_any,
            expected: self.expected,
            measures: self.measures,
            not_negative: self.not_negative,
            ranges: self.ranges,
            at_most: self.at_most,
            attrs: self.attrs,
            personal: self.personal,
            outcomes: self.outcomes,
            units: self.units,
            subject_kinds: self.subject_kinds,
            folded: self.folded,
            of_register: self.of_register,
            level: self.level,
            valid_from,
            valid_to,
        }
    }
}

impl Requirement {
    fn extend(&mut self, more: Requirement) {
        self.columns = self.columns.union(more.columns);
        self.attrs.extend(more.attrs);
    }
}

fn read_rules(section: &mut Section<'_, '_>, words: &Words) -> Rules {
    let mut attrs = Vec::new();
    for (key, meaning) in section.text_table("attrs") {
        if !is_name(key) {
            section.problem_in(
                "attrs",
                key,
                format!("{key:?} is no attrs key: expected a-z, 0-9 and _, at most 40"),
            );
        }
        attrs.push(AttrKey {
            key: key.to_owned(),
            meaning: meaning.to_owned(),
        });
    }
    let mut ranges = Vec::new();
    for (name, (low, high)) in section.ranges("range") {
        match Column::parse(name).filter(|column| column.is_number()) {
            Some(column) => ranges.push(Range { column, low, high }),
            None => section.problem_in(
                "range",
                name,
                format!("range of {name}: there is no column of numbers of that name"),
            ),
        }
    }
    let mut at_most = Vec::new();
    for pair in section.text_lists("at_most") {
        let columns: Vec<Column> = pair
            .iter()
            .filter_map(|name| Column::parse(name))
            .filter(|c| c.is_number())
            .collect();
        match (columns.as_slice(), pair.len()) {
            ([less, more], 2) => at_most.push((*less, *more)),
            _ => section.problem_at("at_most", "at_most: expected pairs of columns of numbers"),
        }
    }
    let any = section.text_lists("required_any");
    Rules {
        envelope: requirement(section, "envelope"),
        required: requirement(section, "required"),
        required_any: any
            .into_iter()
            .map(|names| requirement_of(section, "required_any", names))
            .collect(),
        expected: requirement(section, "expected"),
        measures: requirement(section, "measures").columns,
        not_negative: requirement(section, "not_negative").columns,
        ranges,
        at_most,
        attrs,
        personal: requirement(section, "personal").columns,
        outcomes: known_words(section, "outcomes", Column::outcome, words),
        units: known_words(section, "units", Column::unit, words),
        subject_kinds: known_words(section, "subject_kinds", Column::subject_kind, words),
        folded: section.flag("folded"),
        of_register: section.flag("of_register"),
        level: section.flag("level"),
    }
}

fn requirement(section: &mut Section<'_, '_>, key: &'static str) -> Requirement {
    let names = section.texts(key);
    requirement_of(section, key, names)
}

fn requirement_of(section: &Section<'_, '_>, key: &str, names: Vec<&str>) -> Requirement {
    let mut requirement = Requirement::default();
    for name in names {
        match (name.strip_prefix("attrs."), Column::parse(name)) {
            (Some(attr), _) => requirement.attrs.push(attr.to_owned()),
            (None, Some(column)) => requirement.columns.insert(column),
            (None, None) => section.problem_at(key, format!("{key}: there is no column {name}")),
        }
    }
    requirement
}

fn known_words(
    section: &mut Section<'_, '_>,
    key: &'static str,
    column: Column,
    words: &Words,
) -> Vec<String> {
    let names = section.texts(key);
    for name in names.iter().filter(|name| !words.has(column, name)) {
        section.problem_at(
            key,
            format!(
                "{key}: {name} is not a word of {} in words.toml",
                column.name()
            ),
        );
    }
    names.into_iter().map(str::to_owned).collect()
}
