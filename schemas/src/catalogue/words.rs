//! The words of the dictionary columns (`words.toml`).

use super::document::{Document, Section};
use super::files::Text;
use super::lookup::Table;
use super::{Column, LoadProblems};
use crate::EventRef;

/// Dictionary columns, each with the words that the code itself gives a meaning to and that must therefore exist.
const DICTIONARIES: [(&str, Column, &[&str]); 10] = [
    ("op", Column::op, &["assert", "correct", "retract"]),
    ("subject_kind", Column::subject_kind, &[]),
    ("case_kind", Column::case_kind, &[]),
    ("channel", Column::channel, &[]),
    ("actor_role", Column::actor_role, &[]),
    ("outcome", Column::outcome, &[]),
    ("unit", Column::unit, &[]),
    (
        "qualifier",
        Column::qualifier,
        &["exact", "approx", "at_least", "at_most", "damaged"],
    ),
    ("fee_mode", Column::fee_mode, &[]),
    ("fund_source", Column::fund_source, &[]),
];

/// What an event has in the dictionary columns, in the order of [`super::Catalogue::dictionaries`].
pub(crate) fn dictionary_texts<'e>(event: &EventRef<'e>) -> [Option<&'e str>; 10] {
    [
        event.op,
        event.subject_kind,
        event.case_kind,
        event.channel,
        event.actor_role,
        event.outcome,
        event.unit,
        event.qualifier,
        event.fee_mode,
        event.fund_source,
    ]
}

/// One word of a dictionary column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As it stands in events.
    pub name: String,
    /// Chinese label.
    pub zh: String,
    /// English label.
    pub en: String,
    /// For a unit: a value below 0 makes no sense (V06).
    pub not_negative: bool,
    /// For a unit: the least and greatest value that makes sense (V07), in whole units.
    pub range: Option<(i64, i64)>,
}

/// The words of one column, in the order of the file.
#[derive(Debug, Clone)]
pub struct WordList {
    /// The column.
    pub column: Column,
    /// Its words.
    pub words: Vec<Word>,
    index: Table<Box<str>, usize>,
}

impl WordList {
    /// Whether there is such a word.
    #[inline]
    pub fn has(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// The word of that name.
    pub fn get(&self, name: &str) -> Option<&Word> {
        self.words.get(*self.index.get(name)?)
    }

    /// The names, for a message.
    pub fn names(&self) -> String {
        self.words
            .iter()
            .map(|word| word.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// All dictionary columns.
#[derive(Debug, Clone)]
pub(super) struct Words(Vec<WordList>);

impl Words {
    pub fn of(&self, column: Column) -> Option<&WordList> {
        self.0.iter().find(|list| list.column == column)
    }

    pub fn iter(&self) -> impl Iterator<Item = &WordList> {
        self.0.iter()
    }

    pub fn has(&self, column: Column, name: &str) -> bool {
        self.of(column).is_some_and(|list| list.get(name).is_some())
    }
}

pub(super) fn read(file: &Text, problems: &mut LoadProblems) -> Words {
    let (document, table) = Document::parse(&file.name, &file.text);
    let mut root = Section::root(&document, &table);
    let lists = DICTIONARIES
        .iter()
        .map(|(key, column, needed)| read_list(&mut root, key, *column, needed))
        .collect();
    root.finish();
    problems.extend(document.into_problems());
    Words(lists)
}

fn read_list(
    root: &mut Section<'_, '_>,
    key: &'static str,
    column: Column,
    needed: &[&str],
) -> WordList {
    let mut words = Vec::new();
    for (name, mut section) in root.sections(key) {
        if !is_name(name) {
            section.problem(format!(
                "{name:?} is no word: expected a-z, 0-9 and _, at most 40"
            ));
        }
        let (zh, en) = (section.need_text("zh"), section.need_text("en"));
        let unit = column == Column::unit;
        let not_negative = unit && section.flag("not_negative");
        let range = if unit { section.range("range") } else { None };
        section.finish();
        words.push(Word {
            name: name.to_owned(),
            zh,
            en,
            not_negative,
            range,
        });
    }
    if words.is_empty() {
        root.problem_at(key, format!("no words for the column {key}"));
    }
    for needed in needed
        .iter()
        .filter(|needed| !words.iter().any(|word| word.name == **needed))
    {
        root.problem_at(
            key,
            format!("{key} lacks the word {needed}, which siji gives a meaning to"),
        );
    }
    let index = words
        .iter()
        .enumerate()
        .map(|(i, word)| (word.name.clone().into_boxed_str(), i))
        .collect();
    WordList {
        column,
        words,
        index,
    }
}

/// Whether a text is fit as a word: what stands in events, tables and labels.
pub(super) fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
