//! Rows made for tests, and whole mappings.

use std::sync::Arc;

use super::row::{Header, Row};

/// A row of these columns.
pub(super) fn row(pairs: &[(&str, &str)]) -> Row {
    let names = pairs.iter().map(|(name, _)| (*name).to_owned()).collect();
    let cells: Vec<String> = pairs.iter().map(|(_, text)| (*text).to_owned()).collect();
    Row {
        number: 2,
        end: 0,
        fields: cells.iter().map(|text| text.clone().into_bytes()).collect(),
        header: Arc::new(Header::new(names)),
        cells: Ok(cells),
    }
}
