//! V01, V02, V09, V11: is the record readable and complete.

use super::given;
use crate::catalogue::{Catalogue, Column, Columns, EventType, Requirement};
use crate::event::SCHEMA_VERSION;
use crate::{Code, EventRef, Refusal};

/// V01: known layout, an id that is a UUID.
pub(super) fn readable(event: &EventRef<'_>) -> Result<(), Refusal> {
    if let Some(version) = event
        .schema_version
        .filter(|version| *version != SCHEMA_VERSION)
    {
        let reason = format!("schema_version {version} is unknown: expected {SCHEMA_VERSION}");
        return Err(Refusal::of(Code::V01, "schema_version", reason));
    }
    match given(event.event_id) {
        Some(id) if !is_uuid(id) => {
            let reason = "event_id is no UUID: expected 36 characters like 0190b5a2-7c1e-7def-8000-000000000001";
            Err(Refusal::of(Code::V01, "event_id", reason))
        }
        _ => Ok(()),
    }
}

/// V02: the columns every record needs, then those of its type. An unknown type is V03, and found here because nothing
/// more can be said about such a record.
pub(super) fn complete<'r>(
    event: &EventRef<'_>,
    catalogue: &'r Catalogue,
) -> Result<&'r EventType, Refusal> {
    let present = Columns::present(event);
    let event_type = match given(event.event_type) {
        Some(name) => catalogue.event_type(name),
        None => None,
    };
    let Some(event_type) = event_type else {
        // Every type has the same envelope unless a family adds to it.
        let envelope = catalogue
            .event_types()
            .first()
            .map(|any| any.envelope.columns)
            .unwrap_or_default();
        let missing = envelope.without(present).first();
        return Err(missing.map_or_else(|| unknown_type(event), missing_column));
    };
    let mut waived = Columns::default();
    if event_type.folded {
        // Left to V09.
        waived.insert(Column::subject_kind);
        waived.insert(Column::subject_id);
    }
    require(event, &event_type.envelope, present.union(waived))?;
    if event.op == Some("retract") {
        return Ok(event_type);
    }
    if event.qualifier == Some("damaged") {
        waived = waived.union(event_type.measures);
    }
    let present_or_waived = present.union(waived);
    require(event, &event_type.required, present_or_waived)?;
    for any in &event_type.required_any {
        let some = any.columns.meets(present_or_waived)
            || any
                .attrs
                .iter()
                .any(|key| given(event.attrs.get(key)).is_some());
        if !some {
            let names = any.names();
            let field = names.first().map_or("attrs", String::as_str);
            let reason = format!("{} needs one of {}", event_type.name, names.join(", "));
            return Err(Refusal::of(Code::V02, field, reason));
        }
    }
    Ok(event_type)
}

fn require(event: &EventRef<'_>, needed: &Requirement, present: Columns) -> Result<(), Refusal> {
    if let Some(column) = needed.columns.without(present).first() {
        return Err(missing_column(column));
    }
    match needed
        .attrs
        .iter()
        .find(|key| given(event.attrs.get(key)).is_none())
    {
        Some(key) => {
            let field = format!("attrs.{key}");
            Err(Refusal::of(
                Code::V02,
                &field,
                format!("{field} is required for this event type"),
            ))
        }
        None => Ok(()),
    }
}

fn missing_column(column: Column) -> Refusal {
    Refusal::of(
        Code::V02,
        column.name(),
        format!("{} is required for this event", column.name()),
    )
}

fn unknown_type(event: &EventRef<'_>) -> Refusal {
    let name = super::shown::shown(event.event_type.unwrap_or_default());
    let reason = format!(
        "event type{name} is not in the catalogue: expected family.verb, such as case.opened"
    );
    Refusal::of(Code::V03, "event_type", reason)
}

/// V09, as far as one event can tell: an event that is folded into a case must name the case.
pub(super) fn has_case(event: &EventRef<'_>, event_type: &EventType) -> Result<(), Refusal> {
    if !event_type.folded {
        return Ok(());
    }
    let kinds = || event_type.subject_kinds.join(" or ");
    let kind = given(event.subject_kind).unwrap_or_default();
    if !event_type.subject_kinds.iter().any(|known| known == kind) {
        let reason = format!(
            "{} is about a {}: set subject_kind to it",
            event_type.name,
            kinds()
        );
        return Err(Refusal::of(Code::V09, "subject_kind", reason));
    }
    if given(event.subject_id).is_none() {
        let reason = format!(
            "{} needs the id of its {} in subject_id",
            event_type.name,
            kinds()
        );
        return Err(Refusal::of(Code::V09, "subject_id", reason));
    }
    Ok(())
}

/// V11, as far as one event can tell: a correction or retraction must name its target, id and time.
pub(super) fn has_target(event: &EventRef<'_>) -> Result<(), Refusal> {
    let Some(op) = event.op.filter(|op| *op != "assert") else {
        return Ok(());
    };
    if !given(event.target_event_id).is_some_and(is_uuid) {
        let reason = format!("op {op} needs the event_id of its target in target_event_id");
        return Err(Refusal::of(Code::V11, "target_event_id", reason));
    }
    if event.target_occurred_at.is_none() {
        let reason = format!("op {op} needs the occurred_at of its target in target_occurred_at");
        return Err(Refusal::of(Code::V11, "target_occurred_at", reason));
    }
    if event.target_event_id == event.event_id {
        return Err(Refusal::of(
            Code::V11,
            "target_event_id",
            "an event cannot be its own target",
        ));
    }
    Ok(())
}

/// 8-4-4-4-12 hexadecimal digits, any version, either case.
fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Without early exit the loop becomes vector instructions; 32 digits leave room for nothing but the hyphens.
    let digits = || {
        bytes
            .iter()
            .map(|byte| u8::from(byte.is_ascii_hexdigit()))
            .sum::<u8>()
    };
    bytes.len() == 36 && [8, 13, 18, 23].iter().all(|at| bytes[*at] == b'-') && digits() == 32
}
