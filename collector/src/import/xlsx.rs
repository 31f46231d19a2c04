//! Rows of a sheet of a spreadsheet. The sheet is held in memory.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use calamine::{Cell, Data, DataRef, Range, Reader, Xlsx, XlsxError};

use super::columns;
use super::mapping::InputOptions;
use super::row::{Header, InputError, Row, RowSource};
use super::suggest::did_you_mean;

/// Largest file: unpacked, a sheet is many times as large.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Most cells between the first and the last row and column: all of them are held in memory, empty ones too.
const MAX_CELLS: u64 = 20_000_000;

/// A sheet.
pub(super) struct Sheet {
    range: Range<Data>,
    header: Arc<Header>,
    /// Row of the sheet at which the range begins, from 0.
    first: u64,
    /// Column of the sheet at which the range begins.
    left: usize,
    /// Rows of the range that were read.
    read: usize,
}

impl Sheet {
    pub fn open(path: &Path, options: &InputOptions) -> Result<Sheet, InputError> {
        let whole = |reason: String| InputError::new(path, None, reason);
        let file = File::open(path).map_err(|error| InputError::io(path, &error))?;
        let length = file
            .metadata()
            .map_err(|error| InputError::io(path, &error))?
            .len();
        if length > MAX_FILE_BYTES {
            let limit = MAX_FILE_BYTES >> 20;
            return Err(whole(format!(
                "is larger than {limit} MiB: save it as CSV, which is read row by row"
            )));
        }
        let mut book: Xlsx<_> =
            Xlsx::new(BufReader::new(file)).map_err(|error| unreadable(path, &error))?;
        let names = book.sheet_names();
        let name = match &options.sheet {
            None => names.first(),
            Some(wanted) => names.iter().find(|name| *name == wanted),
        };
        let Some(name) = name.cloned() else {
            let wanted = options.sheet.as_deref().unwrap_or_default();
            return Err(whole(format!(
                "has no sheet \"{wanted}\": it has {}{}",
                names.join(", "),
                did_you_mean(wanted, names.iter().map(String::as_str))
            )));
        };
        let range = cells(path, &mut book, &name)?;
        let Some((first, left)) = range.start() else {
            return Err(whole(format!("sheet \"{name}\" is empty")));
        };
        let mut sheet = Sheet {
            range,
            header: Arc::default(),
            first: u64::from(first),
            left: left as usize,
            read: 0,
        };
        sheet.header = match options.header_row {
            0 => columns::given(path, options)?,
            row => loop {
                let Some((number, fields)) = sheet.next_fields() else {
                    return Err(whole(format!(
                        "sheet \"{name}\" ends before row {row}, where the column names stand"
                    )));
                };
                if number >= row && fields.iter().any(|field| !field.is_empty()) {
                    break columns::header(path, number, &fields, options)?;
                }
            },
        };
        Ok(sheet)
    }

    fn next_fields(&mut self) -> Option<(u64, Vec<Vec<u8>>)> {
        if self.read >= self.range.height() {
            return None;
        }
        let cells = &self.range[self.read];
        let number = self.first + self.read as u64 + 1;
        self.read += 1;
        // A sheet whose first columns are empty still counts its columns from A.
        let empty = std::iter::repeat_n(String::new(), self.left);
        let cells = empty.chain(cells.iter().map(text));
        Some((number, cells.map(String::into_bytes).collect()))
    }
}

fn unreadable(path: &Path, error: &XlsxError) -> InputError {
    InputError::new(path, None, format!("cannot be read as .xlsx: {error}"))
}

/// The cells of a sheet, if they lie close enough together: with one in the last corner of a sheet there would be
/// seventeen thousand million of them. Where they really are counts, and not the extent that the sheet says it has.
fn cells(
    path: &Path,
    book: &mut Xlsx<BufReader<File>>,
    name: &str,
) -> Result<Range<Data>, InputError> {
    let failed = |error: XlsxError| unreadable(path, &error);
    let mut reader = book.worksheet_cells_reader(name).map_err(failed)?;
    let mut cells = Vec::new();
    let (mut top, mut bottom, mut left, mut right) = (u32::MAX, 0, u32::MAX, 0);
    while let Some(cell) = reader.next_cell().map_err(failed)? {
        if matches!(cell.get_value(), DataRef::Empty) {
            continue;
        }
        let (row, column) = cell.get_position();
        (top, bottom) = (top.min(row), bottom.max(row));
        (left, right) = (left.min(column), right.max(column));
        let (height, width) = (u64::from(bottom - top) + 1, u64::from(right - left) + 1);
        // A broken sheet may have several cells in one place.
        if height.saturating_mul(width) > MAX_CELLS || cells.len() as u64 >= MAX_CELLS {
            let reason = format!(
                "sheet \"{name}\" has cells over {height} rows and {width} columns: at most {MAX_CELLS} cells are read, empty ones between them included; delete what stands far from the table, or save it as CSV, which is read row by row"
            );
            return Err(InputError::new(path, Some(u64::from(row) + 1), reason));
        }
        let value = Data::from(cell.get_value().clone());
        cells.push(Cell::new((row, column), value));
    }
    Ok(Range::from_sparse(cells))
}

/// A cell as text: numbers without needless decimals, dates as `2014-01-14 13:48:01`.
fn text(cell: &Data) -> String {
    match cell {
        Data::Empty => String::new(),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => text.clone(),
        Data::Bool(flag) => flag.to_string(),
        Data::Int(number) => number.to_string(),
        Data::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
            format!("{number:.0}")
        }
        Data::Float(number) => number.to_string(),
        Data::DateTime(time) if time.is_datetime() => {
            let (year, month, day, hour, minute, second, milli) = time.to_ymd_hms_milli();
            let fraction = match milli {
                0 => String::new(),
                milli => format!(".{milli:03}"),
            };
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}")
        }
        Data::DateTime(duration) => duration.as_f64().to_string(),
        Data::Error(error) => error.to_string(),
    }
}

impl RowSource for Sheet {
    fn next_row(&mut self) -> Result<Option<Row>, InputError> {
        loop {
            let Some((number, mut fields)) = self.next_fields() else {
                return Ok(None);
            };
            // Every row of a sheet is as wide as the widest.
            fields.resize(self.header.names.len().max(fields.len()), Vec::new());
            let row = Row {
                number,
                end: 0,
                cells: columns::cells(&fields, &self.header, None),
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
        (self.read as u64, self.range.height() as u64)
    }
}
