//! Rows of a file of separated values.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::columns;
use super::mapping::InputOptions;
use super::records::{Quoting, Records, fields};
use super::row::{Header, InputError, Row, RowSource};

/// A CSV file.
pub(super) struct Table {
    records: Records,
    quoting: Quoting,
    header: Arc<Header>,
}

impl Table {
    /// Opens the file and reads its header, wherever it goes on after that.
    pub fn open(
        path: &Path,
        file: File,
        options: &InputOptions,
        offset: u64,
        lines: u64,
    ) -> Result<Table, InputError> {
        let quoting = Quoting {
            delimiter: options.delimiter_of(path),
            quote: options.quote,
        };
        let again = file
            .try_clone()
            .map_err(|error| InputError::io(path, &error))?;
        let mut records = Records::open(path, file, Some(quoting), 0, 0)?;
        let header = match options.header_row {
            0 => columns::given(path, options)?,
            row => read_header(&PathBuf::from(path), &mut records, quoting, row, options)?,
        };
        if offset > records.progress().0 {
            records = Records::open(path, again, Some(quoting), offset, lines)?;
        } else if options.header_row == 0 {
            records = Records::open(path, again, Some(quoting), 0, 0)?;
        }
        Ok(Table {
            records,
            quoting,
            header,
        })
    }
}

/// Reads up to and with the header: the first record that is not above line `row`.
fn read_header(
    path: &Path,
    records: &mut Records,
    quoting: Quoting,
    row: u64,
    options: &InputOptions,
) -> Result<Arc<Header>, InputError> {
    let mut record = Vec::new();
    while let Some(place) = records.next(&mut record)? {
        if place.line >= row {
            let (fields, torn) = fields(&record, quoting);
            if torn {
                let reason = format!("in the column names, {}", columns::TORN);
                return Err(InputError::new(path, Some(place.line), reason));
            }
            return columns::header(path, place.line, &fields, options);
        }
    }
    let reason = if row == 1 {
        "is empty: expected a row of column names".to_owned()
    } else {
        format!("ends before line {row}, where the mapping says the column names stand")
    };
    Err(InputError::new(path, None, reason))
}

impl RowSource for Table {
    fn next_row(&mut self) -> Result<Option<Row>, InputError> {
        let mut record = Vec::new();
        loop {
            let Some(place) = self.records.next(&mut record)? else {
                return Ok(None);
            };
            let (fields, torn) = fields(&record, self.quoting);
            let breaks = record.iter().filter(|byte| **byte == b'\n').count() as u64;
            let lines = (place.line, place.line + breaks);
            let cells = if torn {
                Err(columns::torn(lines))
            } else {
                columns::cells(&fields, &self.header, Some(lines))
            };
            let row = Row {
                number: place.line,
                end: place.end,
                cells,
                fields,
                header: Arc::clone(&self.header),
            };
            if !row.is_blank() {
                return Ok(Some(row));
            }
        }
    }

    fn header(&self) -> Option<&Arc<Header>> {
        Some(&self.header)
    }

    fn progress(&self) -> (u64, u64) {
        self.records.progress()
    }

    fn position(&self) -> (u64, u64) {
        self.records.position()
    }

    fn last_row_ended(&self) -> bool {
        self.records.ended
    }
}
