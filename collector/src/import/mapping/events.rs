//! `[[event]]`: what is made of a row.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::DeValue;

use super::super::document::{Document, Section, Text};
use super::super::value::{Scope, ValueRule};
use super::{EventRule, PersonRule, read_conditions, settable};

/// Reads all of them.
pub(super) fn read(root: &mut Section<'_, '_>, scope: &Scope<'_>) -> Vec<EventRule> {
    let tables = root.tables("event");
    if tables.is_empty() {
        root.problem("[[event]] is missing: it says which event a row becomes");
    }
    let mut names = BTreeSet::new();
    tables
        .into_iter()
        .filter_map(|table| read_one(table, scope, &mut names))
        .collect()
}

fn read_one(
    mut table: Section<'_, '_>,
    scope: &Scope<'_>,
    names: &mut BTreeSet<String>,
) -> Option<EventRule> {
    let document = table.document;
    let event_type = table.text("type");
    if event_type.is_none() {
        table.problem("an event needs its `type`, such as \"case.opened\"");
    }
    let type_name = event_type.as_ref().map_or("", |name| name.text);
    let name = table
        .text("name")
        .map_or(type_name, |name| name.text)
        .to_owned();
    if !names.insert(name.clone()) {
        table.problem(format!(
            "two events are called \"{name}\": give each a `name` of its own, which becomes part of its id and must then stay"
        ));
    }
    let when = read_conditions(&mut table, scope);
    let mut set = Vec::new();
    for (key, value) in table.entries("set") {
        match settable(key.text) {
            Ok(column) => set.extend(
                ValueRule::read(document, key.text, value, scope).map(|rule| (column, rule)),
            ),
            Err(reason) => document.problem(&key.span, reason),
        }
    }
    let attrs = table
        .entries("attrs")
        .into_iter()
        .filter_map(|(key, value)| {
            let field = format!("attrs.{}", key.text);
            let rule = ValueRule::read(document, &field, value, scope)?;
            Some((key.text.to_owned(), rule))
        });
    let attrs = attrs.collect();
    let resident = read_person(document, "resident", table.value("resident"), scope);
    let actor = read_person(document, "actor", table.value("actor"), scope);
    let id_columns: Vec<Text<'_>> = table.texts("id_columns").unwrap_or_default();
    let id_columns: Vec<String> = id_columns.iter().map(|name| name.text.to_owned()).collect();
    scope.used.borrow_mut().extend(id_columns.iter().cloned());
    let line = document.line_of(
        &event_type
            .as_ref()
            .map_or(table.span.clone(), |name| name.span.clone()),
    );
    table.finish();
    Some(EventRule {
        line,
        name,
        event_type: event_type?.text.to_owned(),
        when,
        set,
        attrs,
        resident,
        actor,
        id_columns,
    })
}

fn read_person<'d>(
    document: &Document<'d>,
    key: &str,
    value: Option<&Spanned<DeValue<'d>>>,
    scope: &Scope<'_>,
) -> Option<PersonRule> {
    let mut table = Section::of(document, key, value?)?;
    let kind = table.text("kind");
    let is_kind = |kind: &str| {
        kind.starts_with(|c: char| c.is_ascii_lowercase())
            && kind
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let kind = match kind {
        Some(kind) if is_kind(kind.text) => Some(kind.text.to_owned()),
        _ => {
            table.problem(format!(
                "{key} needs `kind`: what its number is, id or phone, in lower-case letters"
            ));
            None
        }
    };
    let id = match table.value("id") {
        Some(id) => ValueRule::read(document, &format!("{key}.id"), id, scope),
        None => {
            table.problem(format!(
                "{key} needs `id`: where its number stands, such as \"{{phone}}\""
            ));
            None
        }
    };
    table.finish();
    Some(PersonRule {
        kind: kind?,
        id: id?,
    })
}
