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
use super::ids::{IdRule, Repeated};
use super::suggest::did_you_mean;
use super::times::Clock;
use super::value::{Scope, ValueRule, read_clock, read_map};

mod check;
mod events;

pub(super) use check::is_instant;

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

fn read_input(root: &mut Section<'_, '_>) -> InputOptions {
    let mut options = InputOptions {
        format: None,
        delimiter: None,
        quote: Some(b'"'),
        header_row: 1,
        columns: Vec::new(),
        sheet: None,
        used: BTreeSet::new(),
    };
    let Some(mut input) = root.section("input") else {
        return options;
    };
    options.format = input.choice(
        "format",
        &[
            ("csv", Format::Csv),
            ("xlsx", Format::Xlsx),
            ("ndjson", Format::Ndjson),
        ],
    );
    if let Some(delimiter) = input.text("delimiter") {
        match delimiter.text.as_bytes() {
            [one] if one.is_ascii() && !matches!(one, b'"' | b'\n' | b'\r') => {
                options.delimiter = Some(*one);
            }
            _ if delimiter.text == "tab" => options.delimiter = Some(b'\t'),
            _ => input.problem_at(
                "delimiter",
                "delimiter is one character such as ; or the word tab",
            ),
        }
    }
    if let Some(quote) = input.text("quote") {
        match quote.text.as_bytes() {
            [] => options.quote = None,
            [one] if one.is_ascii() && Some(*one) != options.delimiter => {
                options.quote = Some(*one);
            }
            _ => input.problem_at(
                "quote",
                "quote is one character, or \"\" where fields are never quoted",
            ),
        }
    }
    input.choice("encoding", &[("utf-8", ()), ("UTF-8", ()), ("utf8", ())]);
    if let Some(row) = input.integer("header_row") {
        match u64::try_from(row) {
            Ok(row) => options.header_row = row,
            Err(_) => input.problem_at(
                "header_row",
                "header_row is the line of the column names, from 1; 0 where there are none",
            ),
        }
    }
    let columns = input.texts("columns").unwrap_or_default();
    options.columns = columns.iter().map(|name| name.text.to_owned()).collect();
    let without_header = options.header_row == 0;
    let is_json = options.format == Some(Format::Ndjson);
    if without_header && options.columns.is_empty() && !is_json {
        input.problem("header_row is 0: name the columns by `columns = [\"…\", …]`");
    }
    if !without_header && !options.columns.is_empty() {
        input.problem_at(
            "columns",
            "columns are named by the file's header; set `header_row = 0` where it has none",
        );
    }
    options.sheet = input.text("sheet").map(|sheet| sheet.text.to_owned());
    input.finish();
    options
}

fn read_reference(root: &mut Section<'_, '_>, beside: &Path) -> ReferenceChoice {
    let Some(mut section) = root.section("reference") else {
        return ReferenceChoice::default();
    };
    let owned = |text: super::document::Text<'_>| text.text.to_owned();
    let cities = section.texts("cities");
    let choice = ReferenceChoice {
        cities: cities.map(|cities| cities.into_iter().map(owned).collect()),
        catalogue: section
            .text("catalogue")
            .map(|directory| beside.join(directory.text)),
        zone: section.text("zone").map(owned),
    };
    section.finish();
    choice
}

fn read_ids(root: &mut Section<'_, '_>, used: &RefCell<BTreeSet<String>>) -> IdRule {
    let mut rule = IdRule {
        namespace: String::new(),
        columns: None,
        repeated: Repeated::Drop,
    };
    let Some(mut ids) = root.section("ids") else {
        root.problem(
            "[ids] is missing: it says what makes a row the same row when it is imported again",
        );
        return rule;
    };
    match ids.text("namespace") {
        Some(namespace) if !namespace.text.trim().is_empty() => {
            rule.namespace = namespace.text.to_owned();
        }
        _ => ids.problem_at(
            "namespace",
            "namespace is missing: a name of this log, such as \"wuxing-hotline\", that keeps its ids apart from those of others",
        ),
    }
    let all = ids
        .value("columns")
        .and_then(|value| value.get_ref().as_str())
        == Some("all");
    if !all {
        let columns = ids.texts("columns").unwrap_or_default();
        if columns.is_empty() {
            let known = "columns is missing: the columns that together are different for every record, or \"all\"";
            ids.problem_at("columns", known);
        }
        let names: Vec<String> = columns.iter().map(|name| name.text.to_owned()).collect();
        used.borrow_mut().extend(names.iter().cloned());
        rule.columns = Some(names);
    }
    let repeated = ids.choice(
        "repeated",
        &[("drop", Repeated::Drop), ("number", Repeated::Number)],
    );
    rule.repeated = repeated.unwrap_or(Repeated::Drop);
    ids.finish();
    rule
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
