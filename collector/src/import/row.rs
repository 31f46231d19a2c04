//! A row of an input file, whatever the file is.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mapping::{Format, InputOptions};
use super::{csv, ndjson, xlsx};

/// Why a row is not taken. Quotes nothing of the row: its values may be personal, and they stand beside it anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRefusal {
    /// `M01` to `M07` of the import, or `V01` to `V16` of the event model.
    pub code: &'static str,
    /// Column of the event, or of the file, at fault.
    pub field: String,
    /// What was expected.
    pub reason: String,
}

impl RowRefusal {
    pub(super) fn new(
        code: &'static str,
        field: impl Into<String>,
        reason: impl Into<String>,
    ) -> RowRefusal {
        RowRefusal {
            code,
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// The columns of a file, or of one line of JSON.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Names in the order of the file.
    pub names: Vec<String>,
    index: HashMap<String, usize>,
    /// Positions in the order of the names.
    sorted: Vec<usize>,
}

impl Header {
    /// A header of these names. Of names that stand twice, the first is found.
    pub fn new(names: Vec<String>) -> Header {
        let mut index = HashMap::new();
        for (at, name) in names.iter().enumerate() {
            index.entry(name.clone()).or_insert(at);
        }
        let mut sorted: Vec<usize> = (0..names.len()).collect();
        sorted.sort_by(|a, b| names[*a].cmp(&names[*b]).then(a.cmp(b)));
        Header {
            names,
            index,
            sorted,
        }
    }

    /// Where a column stands.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Positions in the order of the names.
    pub(super) fn sorted(&self) -> &[usize] {
        &self.sorted
    }
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Line or row as in the file a person would open, from 1.
    pub number: u64,
    /// First byte after the row, for files that are read by bytes; 0 for others.
    pub end: u64,
    /// The fields as they stand in the file; of JSON the whole line.
    pub fields: Vec<Vec<u8>>,
    pub(super) header: Arc<Header>,
    /// The fields as text, in the order of the header.
    pub(super) cells: Result<Vec<String>, RowRefusal>,
}

impl Row {
    /// The text of a column, without space around it. Nothing where the row has no such column.
    pub(super) fn get(&self, column: &str) -> &str {
        let cell = self.header.position(column);
        let cell = cell.and_then(|at| self.cells.as_ref().ok()?.get(at));
        cell.map_or("", |text| trimmed(text))
    }

    /// Name and text of every field that is not empty, in the order of the names.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let cells = self.cells.as_deref().unwrap_or_default();
        let pair = move |at: &usize| {
            let name = self.header.names.get(*at)?;
            let text = trimmed(cells.get(*at)?);
            (!text.is_empty()).then_some((name.as_str(), text))
        };
        self.header.sorted().iter().filter_map(pair)
    }

    /// Bytes of memory it takes, about.
    pub fn size(&self) -> usize {
        let fields = self.fields.iter().map(|field| field.len() + 24);
        let cells = self.cells.as_deref().unwrap_or_default();
        fields.chain(cells.iter().map(|cell| cell.len() + 24)).sum()
    }

    /// Whether nothing stands in it.
    pub(super) fn is_blank(&self) -> bool {
        let blank =
            |field: &Vec<u8>| std::str::from_utf8(field).is_ok_and(|text| trimmed(text).is_empty());
        self.fields.iter().all(blank)
    }
}

/// Without white space around it, ideographic spaces and invisible marks included.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}' | '\0'))
}

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {reason}", .file.display(), .row.map(|row| format!(":{row}")).unwrap_or_default())]
pub struct InputError {
    /// The file.
    pub file: PathBuf,
    /// Where in it, if anywhere.
    pub row: Option<u64>,
    /// What is wrong and what to do.
    pub reason: String,
}

impl InputError {
    pub(super) fn new(file: &Path, row: Option<u64>, reason: impl Into<String>) -> InputError {
        InputError {
            file: file.to_owned(),
            row,
            reason: reason.into(),
        }
    }

    pub(super) fn io(file: &Path, error: &std::io::Error) -> InputError {
        InputError::new(file, None, error.to_string())
    }
}

/// The rows of a file, one after the other.
pub trait RowSource: Send {
    /// The next row that is not blank; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read on.
    fn next_row(&mut self) -> Result<Option<Row>, InputError>;

    /// The columns, where the file says them once.
    fn header(&self) -> Option<&Arc<Header>>;

    /// How much was read and how much there is: bytes, or rows of a sheet.
    fn progress(&self) -> (u64, u64);

    /// Bytes and lines read so far: where [`open_from`] goes on after the last row. (0, 0) of a sheet.
    fn position(&self) -> (u64, u64) {
        (0, 0)
    }

    /// Whether the last row was ended by a line break: else more of it may still come.
    fn last_row_ended(&self) -> bool {
        true
    }
}

/// Opens a file to read all of it.
///
/// # Errors
/// The file cannot be read, or has no usable header.
pub fn open(path: &Path, options: &InputOptions) -> Result<Box<dyn RowSource>, InputError> {
    open_from(path, options, 0, 0)
}

/// Opens a file and goes on after `offset` bytes, whose last row ended on line `line`. Sheets are always read whole.
///
/// # Errors
/// As [`open`].
pub fn open_from(
    path: &Path,
    options: &InputOptions,
    offset: u64,
    line: u64,
) -> Result<Box<dyn RowSource>, InputError> {
    let failed = |error: std::io::Error| InputError::io(path, &error);
    let format = options.format_of(path).ok_or_else(|| {
        let reason = "what is in the file cannot be told from its name: set `format` in [input] to csv, xlsx or ndjson";
        InputError::new(path, None, reason)
    })?;
    if format == Format::Xlsx {
        return Ok(Box::new(xlsx::Sheet::open(path, options)?));
    }
    let mut file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(InputError::new(path, None, "is no plain file"));
    }
    refuse_archives(path, &mut file)?;
    Ok(match format {
        Format::Ndjson => Box::new(ndjson::Lines::open(path, file, offset, line)?),
        _ => Box::new(csv::Table::open(path, file, options, offset, line)?),
    })
}

/// Spreadsheets and packed files under the name of a text file are common, and their bytes make no sense as text.
fn refuse_archives(path: &Path, file: &mut File) -> Result<(), InputError> {
    let failed = |error: std::io::Error| InputError::io(path, &error);
    let mut head = [0; 4];
    let mut read = 0;
    while read < head.len() {
        match file.read(&mut head[read..]).map_err(failed)? {
            0 => break,
            more => read += more,
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let what = match &head[..read] {
        [b'P', b'K', 3, 4] => "is a spreadsheet or a zip file: name it .xlsx, or unpack it",
        [0x1f, 0x8b, ..] => "is packed with gzip: unpack it first",
        [0x28, 0xb5, 0x2f, 0xfd] => "is packed with zstd: unpack it first",
        [0xd0, 0xcf, 0x11, 0xe0] => "is an old .xls spreadsheet: save it as .xlsx or CSV",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "is UTF-16: save it as UTF-8",
        _ => return Ok(()),
    };
    Err(InputError::new(path, None, what))
}
