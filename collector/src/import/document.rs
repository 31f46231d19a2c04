//! Reading a mapping file so that every mistake is found, with its line.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mapping::MappingProblem;
use super::suggest::did_you_mean;

/// A parsed file that collects what is wrong with it.
pub(super) struct Document<'d> {
    text: &'d str,
    problems: RefCell<Vec<MappingProblem>>,
}

impl<'d> Document<'d> {
    /// Parses a file. Syntax errors are collected; what could be understood is in the table.
    pub fn parse(text: &'d str) -> (Document<'d>, Spanned<DeTable<'d>>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let document = Document {
            text,
            problems: RefCell::default(),
        };
        for error in errors {
            document.problem(&error.span().unwrap_or(0..0), error.message());
        }
        (document, table)
    }

    /// Notes a problem at a place.
    pub fn problem(&self, span: &Range<usize>, reason: impl Into<String>) {
        self.problems.borrow_mut().push(MappingProblem {
            line: self.line_of(span),
            reason: reason.into(),
        });
    }

    /// The line of a place, from 1.
    pub fn line_of(&self, span: &Range<usize>) -> u64 {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// Everything found wrong, in the order of the file.
    pub fn into_problems(self) -> Vec<MappingProblem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems.dedup();
        problems
    }
}

/// A text and where it stands.
#[derive(Clone)]
pub(super) struct Text<'d> {
    pub text: &'d str,
    pub span: Range<usize>,
}

/// One table of a file. Keys are asked for by name; [`Section::finish`] reports those nobody asked for.
pub(super) struct Section<'a, 'd> {
    pub document: &'a Document<'d>,
    table: &'a DeTable<'d>,
    pub span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'a, 'd> Section<'a, 'd> {
    /// The whole file.
    pub fn root(document: &'a Document<'d>, table: &'a Spanned<DeTable<'d>>) -> Section<'a, 'd> {
        Section {
            document,
            table: table.get_ref(),
            span: table.span(),
            asked: Vec::new(),
        }
    }

    /// A value as a table; notes a problem where it is none.
    pub fn of(
        document: &'a Document<'d>,
        name: &str,
        value: &'a Spanned<DeValue<'d>>,
    ) -> Option<Section<'a, 'd>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let is = value.get_ref().type_str();
            document.problem(
                &value.span(),
                format!("{name} is a {is}: expected a table, `{{ … }}`"),
            );
        }
        Some(Section {
            document,
            table: table?,
            span: value.span(),
            asked: Vec::new(),
        })
    }

    /// Notes a problem of this table as a whole.
    pub fn problem(&self, reason: impl Into<String>) {
        self.document.problem(&self.span, reason);
    }

    /// Notes a problem of one key.
    pub fn problem_at(&self, key: &str, reason: impl Into<String>) {
        let span = match self.table.get(key) {
            Some(value) => value.span(),
            None => self.span.clone(),
        };
        self.document.problem(&span, reason);
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of a key, whatever it is.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'d>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'d>>, expected: &str) {
        let is = value.get_ref().type_str();
        self.document.problem(
            &value.span(),
            format!("{key} is a {is}: expected {expected}"),
        );
    }

    /// A text, when there.
    pub fn text(&mut self, key: &'static str) -> Option<Text<'a>> {
        let value = self.value(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong(key, value, "a text in quotation marks");
            return None;
        };
        Some(Text {
            text,
            span: value.span(),
        })
    }

    /// true or false, when there.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(key, value, "true or false");
        }
        flag
    }

    /// A whole number, when there.
    pub fn integer(&mut self, key: &'static str) -> Option<i64> {
        let value = self.value(key)?;
        let number = value.get_ref().as_integer();
        let number = number.and_then(|number| number.as_str().parse().ok());
        if number.is_none() {
            self.wrong(key, value, "a whole number");
        }
        number
    }

    /// One of the words, when there.
    pub fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let given = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == given.text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.document.problem(
                &given.span,
                format!(
                    "{key} is \"{}\": expected one of {}{}",
                    given.text,
                    known.join(", "),
                    did_you_mean(given.text, known.iter().copied())
                ),
            );
        }
        found.map(|(_, value)| *value)
    }

    /// A list of texts, or one text; `None` when absent.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<Text<'a>>> {
        let value = self.value(key)?;
        if let Some(text) = value.get_ref().as_str() {
            let span = value.span();
            return Some(vec![Text { text, span }]);
        }
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of texts");
            return None;
        };
        let text = |item: &'a Spanned<DeValue<'d>>| {
            let text = item.get_ref().as_str();
            if text.is_none() {
                self.wrong(key, item, "a text in quotation marks");
            }
            text.map(|text| Text {
                text,
                span: item.span(),
            })
        };
        Some(items.iter().filter_map(text).collect())
    }

    /// A table, when there.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a, 'd>> {
        let value = self.value(key)?;
        Section::of(self.document, key, value)
    }

    /// A list of tables, or one table; empty when absent.
    pub fn tables(&mut self, key: &'static str) -> Vec<Section<'a, 'd>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        match value.get_ref().as_array() {
            Some(items) => items
                .iter()
                .filter_map(|item| Section::of(self.document, key, item))
                .collect(),
            None => Section::of(self.document, key, value).into_iter().collect(),
        }
    }

    /// The entries of the table of that key; empty when absent.
    pub fn entries(&mut self, key: &'static str) -> Vec<(Text<'a>, &'a Spanned<DeValue<'d>>)> {
        match self.section(key) {
            Some(section) => section.all(),
            None => Vec::new(),
        }
    }

    /// All entries of this table, in the order of the file.
    pub fn all(&self) -> Vec<(Text<'a>, &'a Spanned<DeValue<'d>>)> {
        let table: &'a DeTable<'d> = self.table;
        let mut entries: Vec<_> = table
            .iter()
            .map(|(name, value)| {
                let text: &'a str = name.get_ref().as_ref();
                let span = name.span();
                (Text { text, span }, value)
            })
            .collect();
        entries.sort_by_key(|(name, _)| name.span.start);
        entries
    }

    /// Reports the keys nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.all() {
            if !self.asked.contains(&key.text) {
                self.document.problem(
                    &key.span,
                    format!(
                        "unknown key {}: expected one of {}{}",
                        key.text,
                        self.asked.join(", "),
                        did_you_mean(key.text, self.asked.iter().copied())
                    ),
                );
            }
        }
    }
}
