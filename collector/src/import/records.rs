//! Bytes into records: lines, except that a quoted field may hold line breaks.
//!
//! Records are cut here and not by a CSV library because a record must know its own line and bytes (rejects name the
//! line, following a growing file goes on at the byte), and must have an end even where a quotation mark is missing.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::row::InputError;

/// Longest record.
pub(super) const MAX_RECORD_BYTES: usize = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
const LONE_RETURNS: &str = "line ends are CR only: save the file with line ends of LF or CRLF, or run `tr '\\r' '\\n'` on it";

/// Where in a field a byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// After a quotation mark within quotes: the end of the field, or the first of two that mean one.
    MaybeEnd,
    /// After a quoted field, where nothing but blanks may stand. Only fields are told apart by it, not records.
    Closed,
}

/// How fields are told apart; `None` where a record is simply a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoting {
    pub delimiter: u8,
    pub quote: Option<u8>,
}

/// Reads records one by one.
pub(super) struct Records {
    path: PathBuf,
    input: BufReader<File>,
    quoting: Option<Quoting>,
    length: u64,
    /// Bytes read so far.
    offset: u64,
    /// Line breaks read so far.
    lines: u64,
    /// Whether the last record was ended by a line break.
    pub ended: bool,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its first line, from 1.
    pub line: u64,
    /// First byte after it.
    pub end: u64,
}

impl Records {
    /// Reads on after `offset` bytes, the last of which ended line `lines`.
    pub fn open(
        path: &Path,
        mut file: File,
        quoting: Option<Quoting>,
        offset: u64,
        lines: u64,
    ) -> Result<Records, InputError> {
        let failed = |error: std::io::Error| InputError::io(path, &error);
        let length = file.metadata().map_err(failed)?.len();
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(Records {
            path: path.to_owned(),
            input: BufReader::with_capacity(64 << 10, file),
            quoting,
            length,
            offset,
            lines,
            ended: true,
        })
    }

    /// Bytes read and bytes there were at the opening.
    pub fn progress(&self) -> (u64, u64) {
        (self.offset, self.length.max(self.offset))
    }

    /// Bytes and line breaks read so far.
    pub fn position(&self) -> (u64, u64) {
        (self.offset, self.lines)
    }

    /// The next record without its line break, in `record`; empty lines are none. `None` at the end.
    pub fn next(&mut self, record: &mut Vec<u8>) -> Result<Option<Place>, InputError> {
        loop {
            record.clear();
            let line = self.lines + 1;
            let at_start = self.offset == 0;
            if !self.cut(record, line)? {
                return Ok(None);
            }
            if at_start && !self.ended && has_lone_return(record, self.quoting) {
                return Err(InputError::new(&self.path, Some(line), LONE_RETURNS));
            }
            if self.ended && record.pop_if(|byte| *byte == b'\n').is_some() {
                record.pop_if(|byte| *byte == b'\r');
            }
            if at_start && record.starts_with(BYTE_ORDER_MARK) {
                record.drain(..BYTE_ORDER_MARK.len());
            }
            if !record.is_empty() {
                let end = self.offset;
                return Ok(Some(Place { line, end }));
            }
        }
    }

    /// Reads up to and with the line break that ends a record. False: there was nothing left.
    fn cut(&mut self, record: &mut Vec<u8>, line: u64) -> Result<bool, InputError> {
        let mut state = State::FieldStart;
        loop {
            let failed = |error: std::io::Error| InputError::io(&self.path, &error);
            let bytes = self.input.fill_buf().map_err(failed)?;
            if bytes.is_empty() {
                self.ended = record.is_empty();
                return Ok(!record.is_empty());
            }
            let (used, over) = scan(bytes, self.quoting, &mut state, &mut self.lines);
            record.extend_from_slice(&bytes[..used]);
            self.input.consume(used);
            self.offset += used as u64;
            if over {
                self.ended = true;
                return Ok(true);
            }
            if record.len() > MAX_RECORD_BYTES {
                let reason = if line == 1 && has_lone_return(record, self.quoting) {
                    LONE_RETURNS.to_owned()
                } else {
                    format!(
                        "the row that begins here is longer than {} KiB: is a closing quotation mark missing?",
                        MAX_RECORD_BYTES >> 10
                    )
                };
                return Err(InputError::new(&self.path, Some(line), reason));
            }
        }
    }
}

/// Looks for the end of the record. Returns how many bytes belong to it and whether it is over.
fn scan(
    bytes: &[u8],
    quoting: Option<Quoting>,
    state: &mut State,
    lines: &mut u64,
) -> (usize, bool) {
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' {
            *lines += 1;
            if *state != State::Quoted {
                return (at + 1, true);
            }
        }
        *state = after(*state, *byte, quoting);
    }
    (bytes.len(), false)
}

/// Where the byte after this one stands.
fn after(state: State, byte: u8, quoting: Option<Quoting>) -> State {
    let is_quote = quoting.is_some_and(|quoting| quoting.quote == Some(byte));
    let is_delimiter = quoting.is_some_and(|quoting| quoting.delimiter == byte);
    match state {
        State::FieldStart | State::MaybeEnd if is_quote => State::Quoted,
        State::Quoted if is_quote => State::MaybeEnd,
        State::Quoted => State::Quoted,
        _ if is_delimiter => State::FieldStart,
        _ => State::Plain,
    }
}

/// Whether a carriage return that no line feed follows stands outside of quotes, and something after it.
fn has_lone_return(record: &[u8], quoting: Option<Quoting>) -> bool {
    let mut state = State::FieldStart;
    record.windows(2).any(|pair| {
        let &[byte, next] = pair else { return false };
        state = after(state, byte, quoting);
        byte == b'\r' && state != State::Quoted && !matches!(next, b'\r' | b'\n')
    })
}

/// The fields of a record, unquoted, and whether it is torn: text after a closing quotation mark means that the field
/// does not end where it seems to, and a quotation mark that is missing further up would swallow whole lines.
pub(super) fn fields(record: &[u8], quoting: Quoting) -> (Vec<Vec<u8>>, bool) {
    let mut all = Vec::new();
    let mut field = Vec::new();
    let mut state = State::FieldStart;
    let mut torn = false;
    for byte in record {
        let is_quote = quoting.quote == Some(*byte);
        state = match state {
            State::FieldStart if is_quote => State::Quoted,
            State::Quoted if is_quote => State::MaybeEnd,
            State::Quoted => {
                field.push(*byte);
                State::Quoted
            }
            State::MaybeEnd if is_quote => {
                field.push(*byte);
                State::Quoted
            }
            _ if *byte == quoting.delimiter => {
                all.push(std::mem::take(&mut field));
                State::FieldStart
            }
            State::MaybeEnd | State::Closed => {
                torn |= !matches!(byte, b' ' | b'\t' | b'\r');
                field.push(*byte);
                State::Closed
            }
            _ => {
                field.push(*byte);
                State::Plain
            }
        };
    }
    all.push(field);
    (all, torn)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const COMMA: Quoting = Quoting {
        delimiter: b',',
        quote: Some(b'"'),
    };

    fn read(text: &[u8]) -> Vec<(u64, Vec<Vec<u8>>)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let opened = File::open(file.path()).unwrap();
        let mut records = Records::open(file.path(), opened, Some(COMMA), 0, 0).unwrap();
        let mut record = Vec::new();
        let mut found = Vec::new();
        while let Some(place) = records.next(&mut record).unwrap() {
            found.push((place.line, fields(&record, COMMA).0));
        }
        found
    }

    #[test]
    fn a_record_knows_its_line_past_empty_lines_and_quoted_line_breaks() {
        let text = b"\xEF\xBB\xBFa,b\r\n\r\n\"1\n2\",x\n\n\n3,\"y \"\"z\"\"\"\n";
        let field = |text: &str| text.as_bytes().to_vec();
        assert_eq!(
            read(text),
            [
                (1, vec![field("a"), field("b")]),
                (3, vec![field("1\n2"), field("x")]),
                (7, vec![field("3"), field("y \"z\"")]),
            ]
        );
    }

    #[test]
    fn a_missing_quotation_mark_does_not_take_the_memory_of_the_machine() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"a,b\n1,\"open\n").unwrap();
        let filling = "x,y\n".repeat(1 << 19);
        file.write_all(filling.as_bytes()).unwrap();
        let opened = File::open(file.path()).unwrap();
        let mut records = Records::open(file.path(), opened, Some(COMMA), 0, 0).unwrap();
        let mut record = Vec::new();
        records.next(&mut record).unwrap();
        let error = records.next(&mut record).unwrap_err();
        assert_eq!(error.row, Some(2));
        assert!(error.reason.contains("quotation mark"), "{error}");
    }

    #[test]
    fn text_after_a_closing_quotation_mark_tears_a_record() {
        let torn = |record: &str| fields(record.as_bytes(), COMMA).1;
        for record in [
            "1,\"he said hi\n2,\"fine\"",
            "\"a\"b",
            "\"a\"b,c",
            "\"a\" \"b\"",
            "\"\"x",
        ] {
            assert!(torn(record), "{record}");
        }
        for record in [
            "\"a \"\"b\"\" c\",d",
            "\"\",\"\"\"\"",
            "\"a\" ,\"b\"\t",
            "5\" pipe,a \"b\" c",
            "\"open",
            "",
        ] {
            assert!(!torn(record), "{record}");
        }
    }

    fn first(text: &[u8]) -> Result<Option<Place>, InputError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let opened = File::open(file.path()).unwrap();
        let mut records = Records::open(file.path(), opened, Some(COMMA), 0, 0).unwrap();
        records.next(&mut Vec::new())
    }

    #[test]
    fn a_file_whose_lines_end_in_carriage_returns_alone_is_refused() {
        let long = "a,b\r".repeat(1 << 19);
        for text in [
            "a,b\r1,2",
            "a,b\r1,2\r3,4\r",
            "\"a\",\"b\"\r\"1\",\"2\"\r",
            "a,b\r1,\"x\ny\"\r",
            long.as_str(),
        ] {
            let error = first(text.as_bytes()).unwrap_err();
            assert!(error.reason.contains("line ends are CR only"), "{error}");
        }
        for text in ["a,b\r\n1,2", "a,b\r", "a,\"b\rc\"", "a\rb,c\n", "a,b"] {
            assert!(first(text.as_bytes()).unwrap().is_some(), "{text:?}");
        }
    }

    proptest! {
        /// With line feeds alone, since a lone carriage return ends a record for the library and for us it does not.
        #[test]
        fn records_are_those_of_the_csv_library(text in "([a\u{597d}\",\n ]|,\"|\",|\"\n){0,40}") {
            let mut library = ::csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(text.as_bytes());
            let expected: Vec<Vec<Vec<u8>>> = library
                .byte_records()
                .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
                .collect();
            let found: Vec<_> = read(text.as_bytes()).into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
