//! Whether a mapping can work at all: its types, words, areas and services exist, and nothing required is left out.

use siji_schemas::catalogue::{Column, Columns, EventType};
use siji_schemas::validate::Reference;

use super::super::suggest::did_you_mean;
use super::super::value::ValueRule;
use super::{EventRule, Mapping, MappingProblem};

/// Columns that every event has without a rule.
const ALWAYS: [Column; 7] = [
    Column::event_id,
    Column::schema_version,
    Column::event_type,
    Column::op,
    Column::recorded_at,
    Column::qualifier,
    Column::subject_kind,
];

/// Collects problems. `whole`: the file could be read as a whole, so that what is not there is missing.
pub(super) fn check(
    mapping: &Mapping,
    reference: &Reference,
    whole: bool,
    problems: &mut Vec<MappingProblem>,
) {
    let mut add = |line: u64, reason: String| problems.push(MappingProblem { line, reason });
    for event in &mapping.events {
        let Some(event_type) = reference.catalogue.event_type(&event.event_type) else {
            let known = reference.catalogue.event_types().iter();
            let hint = did_you_mean(&event.event_type, known.map(|known| known.name.as_str()));
            let reason = format!(
                "event type \"{}\" is not in the catalogue{hint}",
                event.event_type
            );
            add(event.line, reason);
            continue;
        };
        for (key, rule) in &event.attrs {
            if !event_type.allows(key) {
                let known = event_type.attrs.iter().map(|known| known.key.as_str());
                let reason = format!(
                    "{} has no attribute {key}{}; it has {}",
                    event_type.name,
                    did_you_mean(key, known.clone()),
                    known.collect::<Vec<_>>().join(", ")
                );
                add(rule.line, reason);
            }
        }
        for (column, rule) in &event.set {
            for text in rule.constants() {
                if let Some(reason) = unknown(*column, text, event_type, reference) {
                    add(rule.line, reason);
                }
            }
            let is_time = is_instant(*column);
            let constant = rule.template.constant().is_some();
            if is_time && constant {
                let name = column.name();
                add(
                    rule.line,
                    format!(
                        "{name} is the same text for every row: a time in a column is written \"{{column}}\""
                    ),
                );
            }
            if rule.multiply.is_some() && !column.is_number() {
                add(
                    rule.line,
                    format!(
                        "{} is no number: multiply means nothing for it",
                        column.name()
                    ),
                );
            }
        }
        if whole {
            missing(event, event_type, &mut add);
        }
    }
}

/// Whether a column holds instants.
pub(in super::super) fn is_instant(column: Column) -> bool {
    matches!(
        column,
        Column::occurred_at | Column::recorded_at | Column::due_at
    )
}

/// What is wrong with a text that the mapping itself gives to a column.
fn unknown(
    column: Column,
    text: &str,
    event_type: &EventType,
    reference: &Reference,
) -> Option<String> {
    let name = column.name();
    if let Some(words) = reference.catalogue.words(column) {
        let known = words.words.iter().map(|word| word.name.as_str());
        return (!words.has(text)).then(|| {
            format!(
                "\"{text}\" is no {name}: expected one of {}{}",
                words.names(),
                did_you_mean(text, known)
            )
        });
    }
    match column {
        Column::area_code | Column::home_area_code if reference.areas.id(text).is_none() => {
            Some(format!(
                "\"{text}\" is no area of the registry (to take it from a column, write \"{{{text}}}\")"
            ))
        }
        Column::service_code => match reference.catalogue.service(text) {
            Some(service) if service.leaf => None,
            Some(_) => Some(format!(
                "service \"{text}\" is a group: name one of the services in it"
            )),
            None => {
                let known = reference.catalogue.services().iter();
                let hint = did_you_mean(text, known.map(|service| service.code.as_str()));
                Some(format!("service \"{text}\" is not in the catalogue{hint}"))
            }
        },
        Column::subject_id
            if event_type.of_register && reference.catalogue.register(text).is_none() =>
        {
            Some(format!("\"{text}\" is no register of the catalogue"))
        }
        _ => None,
    }
}

/// Required columns without a rule.
fn missing(event: &EventRule, event_type: &EventType, add: &mut impl FnMut(u64, String)) {
    let set: Columns = event
        .set
        .iter()
        .map(|(column, _)| *column)
        .chain(ALWAYS)
        .collect();
    let has_attr = |key: &String| event.attrs.iter().any(|(known, _)| known == key);
    let damaged = event
        .set
        .iter()
        .any(|(column, rule): &(Column, ValueRule)| {
            *column == Column::qualifier && rule.template.constant() != Some("exact")
        });
    let mut waived = Columns::default();
    if damaged {
        waived = event_type.measures;
    }
    for needed in [&event_type.envelope, &event_type.required] {
        for column in needed.columns.without(set).without(waived).iter() {
            let reason = format!(
                "{} needs {}: set it under [event.set]",
                event_type.name,
                column.name()
            );
            add(event.line, reason);
        }
        for key in needed.attrs.iter().filter(|key| !has_attr(key)) {
            let reason = format!(
                "{} needs attrs.{key}: set it under [event.attrs]",
                event_type.name
            );
            add(event.line, reason);
        }
    }
    for any in &event_type.required_any {
        if !any.columns.meets(set.union(waived)) && !any.attrs.iter().any(has_attr) {
            let names = any.names().join(", ");
            let reason = format!(
                "{} needs one of {names}: set it under [event.set]",
                event_type.name
            );
            add(event.line, reason);
        }
    }
}
