//! A mapping file: how the rows of somebody's log become events.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use siji_schemas::catalogue::Column;
use siji_schemas::validate::Reference;

use super::condition::Condition;
use super::document::{Document, Section};
use super::ids::IdRule;
use super::suggest::did_you_mean;
use super::times::Clock;
use super::value::{Scope, ValueRule, read_clock, read_map};

mod check;
mod events;
mod input;

pub(super) use check::is_instant;
use input::{read_ids, read_input, read_reference};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Separated values.
    Csv,
    /// A spreadsheet.
    Xlsx,
    /// One JSON object a line.
    Ndjson,
}

/// `[input]`: how the files are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputOptions {
    /// What they are; `None` = by the ending of the name.
    pub format: Option<Format>,
    /// Between fields; `None` = a tab in `.tsv`, else a comma.
    pub delimiter: Option<u8>,
    /// Around fields that hold delimiters or line breaks.
    pub quote: Option<u8>,
    /// Line or row of the column names; 0 = there is none.
    pub header_row: u64,
    /// Column names of files without a header.
    pub columns: Vec<String>,
    /// Name of the sheet; `None` = the first.
    pub sheet: Option<String>,
    /// Columns that the mapping uses.
    pub used: BTreeSet<String>,
}

impl InputOptions {
    /// What a file is.
    pub fn format_of(&self, path: &Path) -> Option<Format> {
        if self.format.is_some() {
            return self.format;
        }
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "csv" | "tsv" | "txt" => Some(Format::Csv),
            "xlsx" | "xlsm" => Some(Format::Xlsx),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            _ => None,
        }
    }

    pub(super) fn delimiter_of(&self, path: &Path) -> u8 {
        let is_tsv = || path.extension().is_some_and(|ending| ending == "tsv");
        self.delimiter
            .unwrap_or_else(|| if is_tsv() { b'\t' } else { b',' })
    }
}

/// `[reference]`: areas and zone that the log belongs to, where neither command line nor configuration names others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferenceChoice {
    /// Built-in registries.
    pub cities: Option<Vec<String>>,
    /// Directory with the city's own areas and catalogue; a relative one lies beside the mapping file.
    pub catalogue: Option<PathBuf>,
    /// Zone of local days, a fixed offset.
    pub zone: Option<String>,
}

/// A person, by a kind of number and the number.
#[derive(Debug, Clone)]
pub(super) struct PersonRule {
    pub kind: String,
    pub id: ValueRule,
}

/// How one event of a row is made.
#[derive(Debug, Clone)]
pub(super) struct EventRule {
    pub line: u64,
    /// Tells the events of a row apart; part of the id.
    pub name: String,
    pub event_type: String,
    pub when: Vec<Condition>,
    pub set: Vec<(Column, ValueRule)>,
    pub attrs: Vec<(String, ValueRule)>,
    pub resident: Option<PersonRule>,
    pub actor: Option<PersonRule>,
    /// Columns that make a changed row another event.
    pub id_columns: Vec<String>,
}

/// A mapping that makes sense.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// How the files are written.
    pub input: InputOptions,
    /// What makes a row the same row.
    pub ids: IdRule,
    pub(super) clock: Clock,
    pub(super) values: BTreeMap<String, ValueRule>,
    /// Each a set of conditions that all hold for a row that is none.
    pub(super) skip: Vec<Vec<Condition>>,
    pub(super) events: Vec<EventRule>,
}

/// One thing that is wrong in a mapping file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingProblem {
    /// Line, from 1.
    pub line: u64,
    /// What is wrong and what was expected.
    pub reason: String,
}

/// Everything that is wrong with a mapping file, in its order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct MappingProblems {
    /// The file as the user knows it.
    pub file: PathBuf,
    /// The problems.
    pub problems: Vec<MappingProblem>,
}

impl fmt::Display for MappingProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (at, MappingProblem { line, reason }) in self.problems.iter().enumerate() {
            let lead = if at == 0 { "" } else { "\n" };
            write!(f, "{lead}{file}:{line}: {reason}")?;
        }
        Ok(())
    }
}

/// A mapping file that was read, not yet checked against areas and catalogue: it may name them itself.
#[derive(Debug)]
pub struct Draft {
    file: PathBuf,
    mapping: Mapping,
    reference: ReferenceChoice,
    problems: Vec<MappingProblem>,
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// The file cannot be read or is not UTF-8.
    pub fn draft(file: &Path) -> std::io::Result<Draft> {
        let text = std::fs::read_to_string(file)?;
        Ok(Mapping::draft_of(file, &text))
    }

    /// Reads the text of a mapping file.
    pub fn draft_of(file: &Path, text: &str) -> Draft {
        let (document, table) = Document::parse(text);
        let mut root = Section::root(&document, &table);
        let used = RefCell::default();
        let mut input = read_input(&mut root);
        let beside = file.parent().unwrap_or(Path::new(""));
        let reference = read_reference(&mut root, beside);
        let clock = match root.section("time") {
            Some(mut time) => {
                let clock = read_clock(&mut time, &Clock::new());
                time.finish();
                clock.unwrap_or_default()
            }
            None => Clock::new(),
        };
        let ids = read_ids(&mut root, &used);
        let maps = root.entries("maps").into_iter().filter_map(|(name, map)| {
            let entries = Section::of(&document, name.text, map)?.all();
            Some((name.text.to_owned(), Arc::new(read_map(&document, entries))))
        });
        let maps = maps.collect();
        let entries = root.entries("values");
        let scope = |values| Scope {
            maps: &maps,
            values,
            used: &used,
            clock: &clock,
        };
        let values = entries.iter().filter_map(|(name, value)| {
            let rule = ValueRule::read(&document, name.text, value, &scope(&[]))?;
            Some((name.text.to_owned(), rule))
        });
        let values: BTreeMap<String, ValueRule> = values.collect();
        // Also those that cannot be understood: who uses them makes no mistake of their own.
        let names: Vec<String> = entries
            .iter()
            .map(|(name, _)| name.text.to_owned())
            .collect();
        let scope = scope(&names);
        let skip = root.tables("skip").into_iter().map(|mut rule| {
            let conditions = read_conditions(&mut rule, &scope);
            if conditions.is_empty() {
                rule.problem("skip needs `when`: without a condition it would skip every row");
            }
            rule.finish();
            conditions
        });
        let skip = skip.collect();
        let events = events::read(&mut root, &scope);
        root.finish();
        input.used = used.into_inner();
        Draft {
            file: file.to_owned(),
            reference,
            problems: document.into_problems(),
            mapping: Mapping {
                input,
                ids,
                clock,
                values,
                skip,
                events,
            },
        }
    }
}

impl Mapping {
    /// Whether any event names a person, for whose pseudonym a key is needed.
    pub fn names_people(&self) -> bool {
        let names = |event: &EventRule| event.resident.is_some() || event.actor.is_some();
        self.events.iter().any(names)
    }
}

impl Draft {
    /// The mapping as far as it could be read, whatever is wrong with it. For tests.
    #[doc(hidden)]
    pub fn into_unchecked(self) -> Mapping {
        self.mapping
    }

    /// The areas and the zone that the file names.
    pub fn reference(&self) -> &ReferenceChoice {
        &self.reference
    }

    /// The mapping, checked against areas and catalogue.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn finish(self, reference: &Reference) -> Result<Mapping, MappingProblems> {
        let mut problems = self.problems;
        // What could not be read cannot be missed.
        let whole = problems.is_empty();
        check::check(&self.mapping, reference, whole, &mut problems);
        if problems.is_empty() {
            return Ok(self.mapping);
        }
        problems.sort_by(|a, b| (a.line, &a.reason).cmp(&(b.line, &b.reason)));
        problems.dedup();
        Err(MappingProblems {
            file: self.file,
            problems,
        })
    }
}

fn read_conditions(table: &mut Section<'_, '_>, scope: &Scope<'_>) -> Vec<Condition> {
    let conditions = table.tables("when").into_iter();
    conditions
        .filter_map(|condition| Condition::read(condition, scope))
        .collect()
}

/// Columns of an event that a mapping may set; the others are made by the import or by the collector.
pub(super) fn may_be_set(column: Column) -> bool {
    !matches!(
        column,
        Column::event_id
            | Column::schema_version
            | Column::event_type
            | Column::op
            | Column::target_event_id
            | Column::target_occurred_at
            | Column::source_id
            | Column::incarnation
            | Column::source_seq
    )
}

/// The column of that name, or what is wrong with it.
pub(super) fn settable(name: &str) -> Result<Column, String> {
    let settable = Column::ALL
        .iter()
        .copied()
        .filter(|column| may_be_set(*column));
    match Column::parse(name) {
        Some(column) if may_be_set(column) => Ok(column),
        Some(_) => Err(format!("{name} is not for a mapping to set")),
        None => Err(format!(
            "an event has no column {name}{}",
            did_you_mean(name, settable.map(Column::name))
        )),
    }
}
