//! Rows of a file with one JSON object a line.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
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
        let once = flatten("", text, &mut members).map_err(|error| {
            unreadable(format!(
                "the line is no JSON object (column {}): expected {{\"name\": value, …}}",
                error.column()
            ))
        })?;
        if !once {
            let reason = "a member of the object stands twice, and which of them counts cannot be told: leave one out";
            return Err(unreadable(reason.to_owned()));
        }
        if !self.header.names.iter().eq(members.keys()) {
            self.header = Arc::new(Header::new(members.keys().cloned().collect()));
        }
        Ok(members.into_values().collect())
    }
}

/// The members of an object.
struct Members<'de> {
    by_name: BTreeMap<String, &'de RawValue>,
    /// Whether each stands there once; of others the map has the last.
    once: bool,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let (mut by_name, mut once) = (BTreeMap::new(), true);
                while let Some(name) = map.next_key::<String>()? {
                    let value: &'de RawValue = map.next_value()?;
                    once &= by_name.insert(name, value).is_none();
                }
                Ok(Members { by_name, once })
            }
        }
        input.deserialize_map(Object)
    }
}

/// Puts the members of an object under their paths. Numbers stay as they are written. False: a path stands twice.
fn flatten(
    prefix: &str,
    object: &str,
    out: &mut BTreeMap<String, String>,
) -> Result<bool, serde_json::Error> {
    let members: Members<'_> = serde_json::from_str(object)?;
    let mut once = members.once;
    for (name, value) in members.by_name {
        let path = format!("{prefix}{name}");
        let text = match value.get() {
            "null" => String::new(),
            quoted if quoted.starts_with('"') => serde_json::from_str(quoted)?,
            inner if inner.starts_with('{') => {
                once &= flatten(&format!("{path}."), inner, out)?;
                continue;
            }
            plain => plain.to_owned(),
        };
        once &= out.insert(path, text).is_none();
    }
    Ok(once)
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
