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

mod files;
mod mappings;
mod rows;
mod sheet;

use std::path::Path;

use siji_schemas::area::{AreaSource, AreaTree, Zone};
use siji_schemas::catalogue::{Catalogue, CatalogueSource};
use siji_schemas::validate::Reference;

use super::{Converter, Mapping, Outcome, open};

/// Huzhou's areas and the built-in catalogue.
pub(super) fn reference() -> Reference {
    let areas = AreaTree::load(&AreaSource::builtin(["huzhou"])).unwrap();
    let catalogue = Catalogue::load(&CatalogueSource::Builtin).unwrap();
    Reference::new(areas, catalogue, Zone::CHINA)
}

/// A mapping that must be good.
pub(super) fn mapping(text: &str, reference: &Reference) -> Mapping {
    let draft = Mapping::draft_of(Path::new("map.toml"), text);
    draft
        .finish(reference)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is wrong with a mapping, line by line.
pub(super) fn problems(text: &str) -> Vec<String> {
    let draft = Mapping::draft_of(Path::new("map.toml"), text);
    let problems = draft.finish(&reference()).unwrap_err().problems;
    problems
        .iter()
        .map(|problem| format!("{}: {}", problem.line, problem.reason))
        .collect()
}

/// The outcomes of all rows of a file, with their numbers.
pub(super) fn import(path: &Path, mapping: &Mapping, reference: &Reference) -> Vec<(u64, Outcome)> {
    let mut source = open(path, &mapping.input).unwrap();
    let mut converter = Converter::new(mapping, reference);
    let mut outcomes = Vec::new();
    while let Some(row) = source.next_row().unwrap() {
        outcomes.push((row.number, converter.convert(&row).unwrap()));
    }
    outcomes
}
