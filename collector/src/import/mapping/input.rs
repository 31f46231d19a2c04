//! `[input]`, `[reference]` and `[ids]`: what the files are and whose.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use super::super::document::{Section, Text};
use super::super::ids::{IdRule, Repeated};
use super::{Format, InputOptions, ReferenceChoice};

pub(super) fn read_input(root: &mut Section<'_, '_>) -> InputOptions {
    let mut options = InputOptions {
        format: None,
        delimiter: None,
        quote: Some(b'"'),
        header_row: 1,
        columns: Vec::new(),
        sheet: None,
        used: BTreeSet::new(),
    };
    let Some(mut input) = root.section("input") else {
        return options;
    };
    options.format = input.choice(
        "format",
        &[
            ("csv", Format::Csv),
            ("xlsx", Format::Xlsx),
            ("ndjson", Format::Ndjson),
        ],
    );
    if let Some(delimiter) = input.text("delimiter") {
        match delimiter.text.as_bytes() {
            [one] if one.is_ascii() && !matches!(one, b'"' | b'\n' | b'\r') => {
                options.delimiter = Some(*one);
            }
            _ if delimiter.text == "tab" => options.delimiter = Some(b'\t'),
            _ => input.problem_at(
                "delimiter",
                "delimiter is one character such as ; or the word tab",
            ),
        }
    }
    if let Some(quote) = input.text("quote") {
        match quote.text.as_bytes() {
            [] => options.quote = None,
            [one] if one.is_ascii() && Some(*one) != options.delimiter => {
                options.quote = Some(*one);
            }
            _ => input.problem_at(
                "quote",
                "quote is one character, or \"\" where fields are never quoted",
            ),
        }
    }
    input.choice("encoding", &[("utf-8", ()), ("UTF-8", ()), ("utf8", ())]);
    if let Some(row) = input.integer("header_row") {
        match u64::try_from(row) {
            Ok(row) => options.header_row = row,
            Err(_) => input.problem_at(
                "header_row",
                "header_row is the line of the column names, from 1; 0 where there are none",
            ),
        }
    }
    let columns = input.texts("columns").unwrap_or_default();
    options.columns = columns.iter().map(|name| name.text.to_owned()).collect();
    let without_header = options.header_row == 0;
    let is_json = options.format == Some(Format::Ndjson);
    if without_header && options.columns.is_empty() && !is_json {
        input.problem("header_row is 0: name the columns by `columns = [\"…\", …]`");
    }
    if !without_header && !options.columns.is_empty() {
        input.problem_at(
            "columns",
            "columns are named by the file's header; set `header_row = 0` where it has none",
        );
    }
    options.sheet = input.text("sheet").map(|sheet| sheet.text.to_owned());
    input.finish();
    options
}

pub(super) fn read_reference(root: &mut Section<'_, '_>, beside: &Path) -> ReferenceChoice {
    let Some(mut section) = root.section("reference") else {
        return ReferenceChoice::default();
    };
    let owned = |text: Text<'_>| text.text.to_owned();
    let cities = section.texts("cities");
    let choice = ReferenceChoice {
        cities: cities.map(|cities| cities.into_iter().map(owned).collect()),
        catalogue: section
            .text("catalogue")
            .map(|directory| beside.join(directory.text)),
        zone: section.text("zone").map(owned),
    };
    section.finish();
    choice
}

pub(super) fn read_ids(root: &mut Section<'_, '_>, used: &RefCell<BTreeSet<String>>) -> IdRule {
    let mut rule = IdRule {
        namespace: String::new(),
        columns: None,
        repeated: Repeated::Drop,
    };
    let Some(mut ids) = root.section("ids") else {
        root.problem(
            "[ids] is missing: it says what makes a row the same row when it is imported again",
        );
        return rule;
    };
    match ids.text("namespace") {
        Some(namespace) if !namespace.text.trim().is_empty() => {
            rule.namespace = namespace.text.to_owned();
        }
        _ => ids.problem_at(
            "namespace",
            "namespace is missing: a name of this log, such as \"wuxing-hotline\", that keeps its ids apart from those of others",
        ),
    }
    let all = ids
        .value("columns")
        .and_then(|value| value.get_ref().as_str())
        == Some("all");
    if !all {
        let columns = ids.texts("columns").unwrap_or_default();
        if columns.is_empty() {
            let known = "columns is missing: the columns that together are different for every record, or \"all\"";
            ids.problem_at("columns", known);
        }
        let names: Vec<String> = columns.iter().map(|name| name.text.to_owned()).collect();
        used.borrow_mut().extend(names.iter().cloned());
        rule.columns = Some(names);
    }
    let repeated = ids.choice(
        "repeated",
        &[("drop", Repeated::Drop), ("number", Repeated::Number)],
    );
    rule.repeated = repeated.unwrap_or(Repeated::Drop);
    ids.finish();
    rule
}
