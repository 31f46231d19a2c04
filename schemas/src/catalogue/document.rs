//! Reading TOML files so that every mistake is found, with its line.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::LoadProblems;
use crate::area::Day;

/// A parsed file that collects what is wrong with it.
pub(super) struct Document<'d> {
    file: &'d str,
    text: &'d str,
    problems: RefCell<LoadProblems>,
}

impl<'d> Document<'d> {
    /// Parses a file. Syntax errors are collected; what could be understood is in the table.
    pub fn parse(file: &'d str, text: &'d str) -> (Document<'d>, Spanned<DeTable<'d>>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let document = Document {
            file,
            text,
            problems: RefCell::default(),
        };
        for error in errors {
            document.problem(error.span().unwrap_or(0..0), error.message().to_owned());
        }
        (document, table)
    }

    /// Notes a problem at a place.
    pub fn problem(&self, span: Range<usize>, reason: impl Into<String>) {
        self.problems
            .borrow_mut()
            .add(self.file, self.line_of(span.start), reason);
    }

    /// The line of a byte position, from 1.
    pub fn line_of(&self, at: usize) -> u64 {
        let before = self
            .text
            .as_bytes()
            .get(..at)
            .unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// Everything found wrong.
    pub fn into_problems(self) -> LoadProblems {
        self.problems.into_inner()
    }
}

/// One table of a file. Keys are asked for by name; [`Section::finish`] reports those nobody asked for.
pub(super) struct Section<'a, 'd> {
    document: &'a Document<'d>,
    table: Option<&'a DeTable<'d>>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'a, 'd> Section<'a, 'd> {
    /// The whole file.
    pub fn root(document: &'a Document<'d>, table: &'a Spanned<DeTable<'d>>) -> Section<'a, 'd> {
        Section {
            document,
            table: Some(table.get_ref()),
            span: table.span(),
            asked: Vec::new(),
        }
    }

    /// Notes a problem of this section as a whole.
    pub fn problem(&self, reason: impl Into<String>) {
        self.document.problem(self.span.clone(), reason);
    }

    /// Notes a problem of one key of this section.
    pub fn problem_at(&self, key: &str, reason: impl Into<String>) {
        let span = self
            .table
            .and_then(|table| table.get(key))
            .map_or(self.span.clone(), Spanned::span);
        self.document.problem(span, reason);
    }

    /// Notes a problem of one entry of a table of this section.
    pub fn problem_in(&self, key: &str, entry: &str, reason: impl Into<String>) {
        let inner = self
            .table
            .and_then(|table| table.get(key))
            .and_then(|value| value.get_ref().as_table());
        match inner.and_then(|inner| inner.get_key_value(entry)) {
            Some((name, _)) => self.document.problem(name.span(), reason),
            None => self.problem_at(key, reason),
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'d>>> {
        self.asked.push(key);
        self.table?.get(key)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'d>>, expected: &str) {
        let is = value.get_ref().type_str();
        self.document
            .problem(value.span(), format!("{key} is {is}: expected {expected}"));
    }

    /// A text, when there.
    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong(key, value, "a text");
        }
        text
    }

    /// A text that must be there and not empty.
    pub fn need_text(&mut self, key: &'static str) -> String {
        let there = self.table.is_some_and(|table| table.contains_key(key));
        let text = self.text(key).unwrap_or_default();
        if !there || text.trim().is_empty() {
            self.problem_at(key, format!("{key} is missing"));
        }
        text.to_owned()
    }

    /// true or false; false when absent.
    pub fn flag(&mut self, key: &'static str) -> bool {
        let Some(value) = self.value(key) else {
            return false;
        };
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(key, value, "true or false");
        }
        flag.unwrap_or(false)
    }

    /// A list of texts; empty when absent.
    pub fn texts(&mut self, key: &'static str) -> Vec<&'a str> {
        self.value(key)
            .map(|value| self.list(key, value))
            .unwrap_or_default()
    }

    /// A list of lists of texts; empty when absent.
    pub fn text_lists(&mut self, key: &'static str) -> Vec<Vec<&'a str>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(lists) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of lists of texts");
            return Vec::new();
        };
        lists.iter().map(|list| self.list(key, list)).collect()
    }

    fn list(&self, key: &str, value: &'a Spanned<DeValue<'d>>) -> Vec<&'a str> {
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of texts");
            return Vec::new();
        };
        let text = |item: &'a Spanned<DeValue<'d>>| {
            let text = item.get_ref().as_str();
            if text.is_none() {
                self.wrong(key, item, "a text");
            }
            text
        };
        items.iter().filter_map(text).collect()
    }

    /// A pair of integers, the first not above the second.
    pub fn range(&mut self, key: &'static str) -> Option<(i64, i64)> {
        self.value(key).and_then(|value| self.pair(key, value))
    }

    /// A table of such pairs, with the keys.
    pub fn ranges(&mut self, key: &'static str) -> Vec<(&'a str, (i64, i64))> {
        let entries = self.entries(key);
        entries
            .into_iter()
            .filter_map(|(name, value)| Some((name, self.pair(name, value)?)))
            .collect()
    }

    fn pair(&self, key: &str, value: &'a Spanned<DeValue<'d>>) -> Option<(i64, i64)> {
        let number =
            |item: &Spanned<DeValue<'d>>| item.get_ref().as_integer()?.as_str().parse::<i64>().ok();
        let numbers: Option<Vec<i64>> = value
            .get_ref()
            .as_array()
            .and_then(|list| list.iter().map(number).collect());
        match numbers.as_deref() {
            Some([low, high]) if low <= high => Some((*low, *high)),
            _ => {
                self.wrong(key, value, "two integers, the lower first");
                None
            }
        }
    }

    /// A table of texts, with the keys.
    pub fn text_table(&mut self, key: &'static str) -> Vec<(&'a str, &'a str)> {
        let mut found = Vec::new();
        for (name, value) in self.entries(key) {
            match value.get_ref().as_str() {
                Some(text) => found.push((name, text)),
                None => self.wrong(name, value, "a text"),
            }
        }
        found
    }

    /// A date, when there.
    pub fn day(&mut self, key: &'static str) -> Option<Day> {
        let value = self.value(key)?;
        let text = match value.get_ref() {
            DeValue::Datetime(date) => date.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        let day = Day::parse(&text);
        if day.is_none() {
            self.wrong(key, value, "a date like 2020-01-31");
        }
        day
    }

    /// The table of that key as a section; empty when absent.
    pub fn section(&mut self, key: &'static str) -> Section<'a, 'd> {
        let document = self.document;
        let absent = Section {
            document,
            table: None,
            span: self.span.clone(),
            asked: Vec::new(),
        };
        let Some(value) = self.value(key) else {
            return absent;
        };
        self.enter(key, value).unwrap_or(absent)
    }

    /// The tables of the table of that key, with their names, in the order of the file.
    pub fn sections(&mut self, key: &'static str) -> Vec<(&'a str, Section<'a, 'd>)> {
        let mut found: Vec<_> = self
            .entries(key)
            .into_iter()
            .filter_map(|(name, value)| Some((name, self.enter(name, value)?)))
            .collect();
        found.sort_by_key(|(_, section)| section.span.start);
        found
    }

    fn enter(&self, key: &str, value: &'a Spanned<DeValue<'d>>) -> Option<Section<'a, 'd>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong(key, value, "a table");
        }
        Some(Section {
            document: self.document,
            table: Some(table?),
            span: value.span(),
            asked: Vec::new(),
        })
    }

    fn entries(&mut self, key: &'static str) -> Vec<(&'a str, &'a Spanned<DeValue<'d>>)> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(key, value, "a table");
            return Vec::new();
        };
        table
            .iter()
            .map(|(name, value)| (name.get_ref().as_ref(), value))
            .collect()
    }

    /// Reports the keys nobody asked for.
    pub fn finish(self) {
        let Some(table) = self.table else { return };
        for (key, _) in table.iter() {
            let name: &str = key.get_ref().as_ref();
            if !self.asked.contains(&name) {
                let expected = self.asked.join(", ");
                self.document.problem(
                    key.span(),
                    format!("unknown key {name}: expected one of {expected}"),
                );
            }
        }
    }
}
