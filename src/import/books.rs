//! What became of every row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use siji_collector::import::{Header, RejectsFile, Row, RowRefusal, rejects_path};

use crate::failure::Failure;

/// The fate of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// At least one of its events is new to the ledger.
    Accepted,
    /// The ledger had all of its events before.
    Duplicate,
    /// A collector has it; the ledger will judge.
    Sent,
    /// Refused, by the mapping, the rules, a collector or the ledger.
    Refused(RowRefusal),
}

/// Sums over rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows that are not blank and not skipped by the mapping.
    pub rows: u64,
    /// Events sent for them.
    pub events: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub sent: u64,
    pub refused: u64,
    /// Rows that the mapping skips: not among `rows`.
    pub skipped: u64,
}

impl Tally {
    fn add(&mut self, fate: &Fate, events: u64) {
        self.rows += 1;
        self.events += events;
        match fate {
            Fate::Accepted => self.accepted += 1,
            Fate::Duplicate => self.duplicate += 1,
            Fate::Sent => self.sent += 1,
            Fate::Refused(_) => self.refused += 1,
        }
    }
}

/// Reasons of one code and field that are counted each for itself: many quote the row, and differ in every one.
const REASONS: usize = 3;

/// Refusals for one reason; or, without one, for all that came after the first few.
#[derive(Debug)]
struct Refusals {
    rows: u64,
    reason: Option<String>,
    first: (usize, u64),
}

/// Counts a refusal under its reason, or under that of the rest.
fn count(kinds: &mut Vec<Refusals>, reason: &str, at: (usize, u64)) {
    let room = kinds.len() < REASONS;
    let same = |it: &&mut Refusals| it.reason.as_deref().is_none_or(|known| known == reason);
    match kinds.iter_mut().find(same) {
        Some(known) => known.rows += 1,
        None => kinds.push(Refusals {
            rows: 1,
            reason: room.then(|| reason.to_owned()),
            first: at,
        }),
    }
}

#[derive(Debug)]
struct FileBook {
    path: PathBuf,
    tally: Tally,
    rejects: Option<RejectsFile>,
    rejects_path: Option<PathBuf>,
}

/// The account of an import.
#[derive(Debug)]
pub struct Books {
    files: Vec<FileBook>,
    total: Tally,
    refusals: BTreeMap<(&'static str, String), Vec<Refusals>>,
    /// `None`: no rejects files are written.
    directory: Option<Option<PathBuf>>,
}

impl Books {
    /// Of these files; rejects files go beside them or into a directory.
    pub fn new(files: &[PathBuf], rejects: Option<&Path>) -> Books {
        Books {
            directory: Some(rejects.map(Path::to_owned)),
            ..Books::without_rejects(files)
        }
    }

    /// Of these files, without rejects files.
    pub fn without_rejects(files: &[PathBuf]) -> Books {
        let book = |path: &PathBuf| FileBook {
            path: path.clone(),
            tally: Tally::default(),
            rejects: None,
            rejects_path: None,
        };
        Books {
            files: files.iter().map(book).collect(),
            total: Tally::default(),
            refusals: BTreeMap::new(),
            directory: None,
        }
    }

    /// A file begins.
    pub fn begin(&mut self, file: usize, header: Option<&Header>) {
        let Some(book) = self.files.get_mut(file) else {
            return;
        };
        book.rejects = self.directory.as_ref().map(|directory| {
            RejectsFile::new(&rejects_path(&book.path, directory.as_deref()), header)
        });
    }

    /// A file goes on: its rejects are added to those that are there.
    pub fn go_on(&mut self, file: usize, header: Option<&Header>) {
        if let (Some(book), Some(directory)) = (self.files.get_mut(file), &self.directory) {
            let path = rejects_path(&book.path, directory.as_deref());
            book.rejects = Some(RejectsFile::go_on(&path, header));
        }
    }

    /// A row's fate is known. Rows of a file come in their order.
    pub fn settle(
        &mut self,
        file: usize,
        row: &Row,
        events: u64,
        fate: &Fate,
    ) -> Result<(), Failure> {
        let Some(book) = self.files.get_mut(file) else {
            return Ok(());
        };
        book.tally.add(fate, events);
        self.total.add(fate, events);
        let Fate::Refused(refusal) = fate else {
            return Ok(());
        };
        let key = (refusal.code, refusal.field.clone());
        let kinds = self.refusals.entry(key).or_default();
        count(kinds, &refusal.reason, (file, row.number));
        if let Some(rejects) = &mut book.rejects {
            rejects.add(row, refusal).map_err(|error| {
                Failure::new(format!(
                    "rejects file of {}: {error}; name another directory by --rejects",
                    book.path.display()
                ))
            })?;
        }
        Ok(())
    }

    /// A row that is none.
    pub fn skip(&mut self, file: usize) {
        self.total.skipped += 1;
        if let Some(book) = self.files.get_mut(file) {
            book.tally.skipped += 1;
        }
    }

    /// All rows of a file are settled.
    pub fn end(&mut self, file: usize) -> Result<(), Failure> {
        let Some(book) = self.files.get_mut(file) else {
            return Ok(());
        };
        if let Some(rejects) = book.rejects.take() {
            book.rejects_path = rejects.finish().map_err(|error| {
                Failure::new(format!("rejects file of {}: {error}", book.path.display()))
            })?;
        }
        Ok(())
    }

    /// Sums over all files.
    pub fn total(&self) -> Tally {
        self.total
    }

    /// As `--output json` prints it; `fates` are the words of the way that was taken.
    pub fn to_json(&self, fates: &[(&'static str, u64)]) -> Value {
        let mut object = json!({
            "rows": self.total.rows,
            "events": self.total.events,
            "refused": self.total.refused,
            "skipped": self.total.skipped,
            "rejects_files": self.rejects_files(),
            "refusals": self.refusals.iter().flat_map(|((code, field), kinds)| kinds.iter().map(move |kind| json!({
                "code": code, "field": field, "rows": kind.rows, "reason": kind.reason,
                "first": {"file": self.name(kind.first.0), "row": kind.first.1},
            }))).collect::<Vec<_>>(),
            "files": self.files.iter().map(|book| json!({
                "file": book.path.display().to_string(), "rows": book.tally.rows,
                "accepted": book.tally.accepted, "duplicate": book.tally.duplicate, "sent": book.tally.sent,
                "refused": book.tally.refused, "skipped": book.tally.skipped,
            })).collect::<Vec<_>>(),
        });
        for (name, number) in fates {
            object[*name] = (*number).into();
        }
        object
    }

    fn rejects_files(&self) -> Vec<String> {
        let paths = self
            .files
            .iter()
            .filter_map(|book| book.rejects_path.as_ref());
        paths.map(|path| path.display().to_string()).collect()
    }

    fn name(&self, file: usize) -> String {
        let book = self.files.get(file);
        book.map_or(String::new(), |book| book.path.display().to_string())
    }

    /// For people: a line a file, the sum, and why rows were refused.
    pub fn to_text(&self, fates: &[&'static str]) -> String {
        let of = |tally: &Tally, word: &str| match word {
            "accepted" => tally.accepted,
            "duplicate" => tally.duplicate,
            "sent" | "would send" => tally.sent,
            _ => tally.refused,
        };
        let mut words = vec!["file", "rows"];
        words.extend(fates);
        words.push("refused");
        let mut table: Vec<Vec<String>> = vec![words.iter().map(|w| (*w).to_owned()).collect()];
        let line = |name: String, tally: &Tally| {
            let mut cells = vec![name, tally.rows.to_string()];
            cells.extend(words.iter().skip(2).map(|word| of(tally, word).to_string()));
            cells
        };
        table.extend(
            self.files
                .iter()
                .map(|book| line(book.path.display().to_string(), &book.tally)),
        );
        if self.files.len() > 1 {
            table.push(line("all".to_owned(), &self.total));
        }
        let mut out = aligned(&table);
        if self.total.skipped > 0 {
            out.push_str(&format!(
                "\n{} rows skipped by the mapping\n",
                self.total.skipped
            ));
        }
        if !self.refusals.is_empty() {
            out.push_str("\nrefused\n");
            for ((code, field), kinds) in &self.refusals {
                let field = if field.is_empty() { "row" } else { field };
                for kind in kinds {
                    out.push_str(&format!(
                        "  {:>6} {code} {field}: {} (first: {}:{})\n",
                        kind.rows,
                        kind.reason.as_deref().unwrap_or("other reasons"),
                        self.name(kind.first.0),
                        kind.first.1
                    ));
                }
            }
        }
        for path in self.rejects_files() {
            out.push_str(&format!("\nrejects      {path}"));
        }
        out
    }
}

/// Columns under each other, numbers to the right.
fn aligned(table: &[Vec<String>]) -> String {
    use unicode_width::UnicodeWidthStr;
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = table.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in table {
        let mut text = String::new();
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            if at == 0 {
                text.push_str(&format!("{cell}{padding}"));
            } else {
                text.push_str(&format!("  {padding}{cell}"));
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_each_for_itself_and_the_rest_together() {
        let mut kinds = Vec::new();
        for (row, reason) in ["a", "b", "a", "c", "d", "e", "b", "d"].iter().enumerate() {
            count(&mut kinds, reason, (0, row as u64));
        }
        let counted: Vec<_> = kinds
            .iter()
            .map(|it| (it.reason.as_deref(), it.rows, it.first.1))
            .collect();
        let expected = [
            (Some("a"), 2, 0),
            (Some("b"), 2, 1),
            (Some("c"), 1, 3),
            (None, 3, 4),
        ];
        assert_eq!(counted, expected);
    }

    #[test]
    fn a_table_has_its_numbers_under_each_other() {
        let table = [
            vec!["file".to_owned(), "rows".to_owned()],
            vec!["热线.csv".to_owned(), "12".to_owned()],
        ];
        assert_eq!(aligned(&table), "file      rows\n热线.csv    12\n");
    }
}
