//! Rows of a file with one JSON object a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::columns::NOT_UTF8;
use super::records::Records;
use super::row::{Header, InputError, Row, RowRefusal, RowSource};

/// Deepest nesting of an object.
const MAX_DEPTH: usize = 16;
/// The one column of a rejects file.
const WHOLE_LINE: &str = "line";

/// A file of lines.
pub(super) struct Lines {
    records: Records,
    /// Of the last line: most lines have the same members.
    header: Arc<Header>,
    whole: Arc<Header>,
}

impl Lines {
    pub fn open(path: &Path, file: File, offset: u64, lines: u64) -> Result<Lines, InputError> {
        Ok(Lines {
            records: Records::open(path, file, None, offset, lines)?,
            header: Arc::default(),
            whole: Arc::new(Header::new(vec![WHOLE_LINE.to_owned()])),
        })
    }

    /// Members of the object by path, `address.ward`; header and cells.
    fn read(&mut self, line: &[u8]) -> Result<Vec<String>, RowRefusal> {
        let text = std::str::from_utf8(line)
            .map_err(|_| RowRefusal::new("M01", "", format!("the line is {NOT_UTF8}")))?;
        let unreadable = |what: String| RowRefusal::new("M01", "", what);
        if crate::intake::is_deeper_than(line, MAX_DEPTH) {
            return Err(unreadable(format!(
                "the object is nested deeper than {MAX_DEPTH} levels"
            )));
        }
        let mut members = BTreeMap::new();
        flatten("", text, &mut members).map_err(|error| {
            unreadable(format!(
                "the line is no JSON object (column {}): expected {{\"name\": value, …}}",
                error.column()
            ))
        })?;
        if !self.header.names.iter().eq(members.keys()) {
            self.header = Arc::new(Header::new(members.keys().cloned().collect()));
        }
        Ok(members.into_values().collect())
    }
}

/// Puts the members of an object under their paths. Numbers stay as they are written.
fn flatten(
    prefix: &str,
    object: &str,
    out: &mut BTreeMap<String, String>,
) -> Result<(), serde_json::Error> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(object)?;
    for (name, value) in members {
        let path = format!("{prefix}{name}");
        let text = match value.get() {
            "null" => String::new(),
            quoted if quoted.starts_with('"') => serde_json::from_str(quoted)?,
            inner if inner.starts_with('{') => {
                flatten(&format!("{path}."), inner, out)?;
                continue;
            }
            plain => plain.to_owned(),
        };
        out.insert(path, text);
    }
    Ok(())
}

impl RowSource for Lines {
    fn next_row(&mut self) -> Result<Option<Row>, InputError> {
        let mut line = Vec::new();
        loop {
            let Some(place) = self.records.next(&mut line)? else {
                return Ok(None);
            };
            let cells = self.read(&line);
            let row = Row {
                number: place.line,
                end: place.end,
                fields: vec![std::mem::take(&mut line)],
                header: Arc::clone(&self.header),
                cells,
            };
            if !row.is_blank() {
                return Ok(Some(row));
            }
        }
    }

    fn header(&self) -> Option<&Arc<Header>> {
        Some(&self.whole)
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
