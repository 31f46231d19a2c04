//! Names of columns, and whether the mapping's are among them.

use std::path::Path;
use std::sync::Arc;

use siji_schemas::personal::contains_raw_personal;

use super::mapping::InputOptions;
use super::row::{Header, InputError, RowRefusal, trimmed};
use super::suggest::did_you_mean;

/// Most columns of a file.
const MAX_COLUMNS: usize = 1000;

/// The header of a file from the fields of its header row.
pub(super) fn header(
    path: &Path,
    row: u64,
    fields: &[Vec<u8>],
    options: &InputOptions,
) -> Result<Arc<Header>, InputError> {
    let mut names = Vec::with_capacity(fields.len());
    for field in fields {
        let name = std::str::from_utf8(field)
            .map_err(|_| InputError::new(path, Some(row), format!("the header is {NOT_UTF8}")))?;
        names.push(trimmed(name).to_owned());
    }
    check(path, Some(row), names, options)
}

/// The header that the mapping gives to a file without one.
pub(super) fn given(path: &Path, options: &InputOptions) -> Result<Arc<Header>, InputError> {
    check(path, None, options.columns.clone(), options)
}

/// What to do about text in another encoding.
pub(super) const NOT_UTF8: &str = "not UTF-8 (perhaps GBK or GB18030): save the file as UTF-8, or run `iconv -f GB18030 -t UTF-8` on it";

fn check(
    path: &Path,
    row: Option<u64>,
    names: Vec<String>,
    options: &InputOptions,
) -> Result<Arc<Header>, InputError> {
    if names.len() > MAX_COLUMNS {
        let reason = format!(
            "has {} columns, at most {MAX_COLUMNS} are read",
            names.len()
        );
        return Err(InputError::new(path, row, reason));
    }
    let header = Header::new(names);
    let missing: Vec<&str> = options
        .used
        .iter()
        .map(String::as_str)
        .filter(|name| header.position(name).is_none())
        .collect();
    if !missing.is_empty() {
        // Names that the mapping itself gives are nobody's.
        let known = row.is_none() || is_header(&header, options);
        let reason = missing_columns(&header, &missing, known);
        return Err(InputError::new(path, row, reason));
    }
    let twice = options
        .used
        .iter()
        .find(|name| header.names.iter().filter(|other| other == name).count() > 1);
    if let Some(name) = twice {
        let reason = format!(
            "two columns are called \"{name}\", and the mapping uses it: rename one of them"
        );
        return Err(InputError::new(path, row, reason));
    }
    Ok(Arc::new(header))
}

/// Whether a name shows that these are names: a file without a header begins with somebody's row.
fn is_header(header: &Header, options: &InputOptions) -> bool {
    let names: Vec<String> = header
        .names
        .iter()
        .map(|name| name.to_lowercase())
        .collect();
    options
        .used
        .iter()
        .any(|name| names.contains(&name.to_lowercase()))
}

/// What to say of columns that are not there. `known`: what is there are names, which may be shown.
fn missing_columns(header: &Header, missing: &[&str], known: bool) -> String {
    let (count, advice) = (
        header.names.len(),
        "check the mapping, and `delimiter` and `header_row` in [input]",
    );
    if !known {
        let missing: Vec<String> = missing.iter().map(|name| format!("\"{name}\"")).collect();
        return format!(
            "none of its {count} columns has a name that the mapping uses ({}): is this the header? {advice}",
            missing.join(", ")
        );
    }
    let shown: Vec<&str> = header
        .names
        .iter()
        .map(String::as_str)
        .filter(|name| !contains_raw_personal(name.as_bytes()))
        .collect();
    let missing: Vec<String> = missing
        .iter()
        .map(|name| format!("\"{name}\"{}", did_you_mean(name, shown.iter().copied())))
        .collect();
    let others = match count - shown.len() {
        0 => String::new(),
        hidden => format!(" and {hidden} that may be personal data"),
    };
    format!(
        "the mapping uses columns that the file does not have: {} (it has {}{others}); {advice}",
        missing.join(", "),
        shown.join(", ")
    )
}

/// Text after a closing quotation mark, and what to do.
pub(super) const TORN: &str = "text follows a closing quotation mark: is one missing or one too many? (within quotes it is written twice)";

/// The refusal of a row whose fields cannot be told apart.
pub(super) fn torn((first, last): (u64, u64)) -> RowRefusal {
    let reason = if last > first {
        format!("{TORN}; the row goes from line {first} to line {last}")
    } else {
        TORN.to_owned()
    };
    RowRefusal::new("M01", "", reason)
}

/// The fields as text, one for each column; more or fewer fields, or bytes that are no text, refuse the row.
pub(super) fn cells(
    fields: &[Vec<u8>],
    header: &Header,
    lines: Option<(u64, u64)>,
) -> Result<Vec<String>, RowRefusal> {
    let expected = header.names.len();
    let beyond = fields.get(expected..).unwrap_or_default();
    // Spreadsheets often write commas for empty cells at the end of a line.
    let surplus = beyond.iter().any(|field| !field.is_empty());
    if fields.len() < expected || surplus {
        let span = match lines {
            Some((first, last)) if last > first => format!(
                ", and goes from line {first} to line {last}: is a closing quotation mark missing?"
            ),
            _ => ": is a delimiter or a quotation mark missing or one too many?".to_owned(),
        };
        let reason = format!(
            "the row has {} fields, the header has {expected}{span}",
            fields.len()
        );
        return Err(RowRefusal::new("M01", "", reason));
    }
    let mut cells = Vec::with_capacity(expected);
    for (field, name) in fields.iter().zip(&header.names) {
        match std::str::from_utf8(field) {
            Ok(text) => cells.push(text.to_owned()),
            Err(_) => {
                return Err(RowRefusal::new(
                    "M01",
                    name,
                    format!("the text is {NOT_UTF8}"),
                ));
            }
        }
    }
    Ok(cells)
}
