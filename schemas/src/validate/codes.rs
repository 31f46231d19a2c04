//! V03, V08, V16: words, services, registers and units that the catalogue knows.

use super::given;
use super::shown::shown;
use crate::area::Day;
use crate::catalogue::{Catalogue, EventType, Register, dictionary_texts};
use crate::{Code, EventRef, Refusal};

/// V03: every dictionary column holds a word of its dictionary, the outcome one of the type's.
pub(super) fn known_words(
    event: &EventRef<'_>,
    catalogue: &Catalogue,
    event_type: &EventType,
    day: Day,
) -> Result<(), Refusal> {
    if !event_type.holds_on(day) {
        let reason = format!("event type {} may not be used for {day}", event_type.name);
        return Err(Refusal::of(Code::V03, "event_type", reason));
    }
    for (list, text) in catalogue.dictionaries().zip(dictionary_texts(event)) {
        let Some(word) = given(text) else { continue };
        if !list.has(word) {
            let column = list.column.name();
            let reason = format!(
                "{column}{} is unknown: expected one of {}",
                shown(word),
                list.names()
            );
            return Err(Refusal::of(Code::V03, column, reason));
        }
    }
    match given(event.outcome) {
        Some(outcome)
            if !event_type.outcomes.is_empty()
                && !event_type.outcomes.iter().any(|known| known == outcome) =>
        {
            let (name, known) = (&event_type.name, event_type.outcomes.join(", "));
            let reason =
                format!("outcome \"{outcome}\" is none of {name}: expected one of {known}");
            Err(Refusal::of(Code::V03, "outcome", reason))
        }
        _ => Ok(()),
    }
}

/// V08: the service is a leaf of the tree, the register exists; both may be used on the day.
pub(super) fn known_subjects<'r>(
    event: &EventRef<'_>,
    catalogue: &'r Catalogue,
    event_type: &EventType,
    day: Day,
) -> Result<Option<&'r Register>, Refusal> {
    if let Some(code) = given(event.service_code) {
        let refuse = |reason: String| Err(Refusal::of(Code::V08, "service_code", reason));
        match catalogue.service(code) {
            None => return refuse(format!("service{} is not in the catalogue", shown(code))),
            Some(service) if !service.leaf => {
                return refuse(format!(
                    "service \"{code}\" is a group: name one of the services in it"
                ));
            }
            Some(service) if !service.holds_on(day) => {
                return refuse(format!("service \"{code}\" may not be used for {day}"));
            }
            Some(_) => {}
        }
    }
    if !event_type.of_register {
        return Ok(None);
    }
    let Some(code) = given(event.subject_id) else {
        return Ok(None);
    };
    match catalogue.register(code) {
        Some(register) if register.holds_on(day) => Ok(Some(register)),
        Some(_) => {
            let reason = format!("register{} may not be used for {day}", shown(code));
            Err(Refusal::of(Code::V08, "subject_id", reason))
        }
        None => Err(Refusal::of(
            Code::V08,
            "subject_id",
            format!("register{} is not in the catalogue", shown(code)),
        )),
    }
}

/// V16: the unit is the register's, or one of the type's.
pub(super) fn fitting_unit(
    event: &EventRef<'_>,
    event_type: &EventType,
    register: Option<&Register>,
) -> Result<(), Refusal> {
    let Some(unit) = given(event.unit) else {
        return Ok(());
    };
    let expected = match register {
        Some(register) if register.unit == unit => return Ok(()),
        Some(register) => register.unit.clone(),
        None if event_type.units.is_empty()
            || event_type.units.iter().any(|known| known == unit) =>
        {
            return Ok(());
        }
        None => event_type.units.join(" or "),
    };
    // The unit is a word of the dictionary by now, so it may be quoted.
    Err(Refusal::of(
        Code::V16,
        "unit",
        format!("unit \"{unit}\" does not fit: expected {expected}"),
    ))
}
