//! V12: no raw personal data, and references to people only as pseudonyms.

use super::given;
use super::shown::attr_field;
use crate::personal::contains_raw_personal;
use crate::{Code, EventRef, Refusal};

/// Whether a text is a pseudonym as siji's collectors make them: `r_` (resident) or `w_` (worker) and 128 bits in
/// base32, `^[rw]_[a-z2-7]{26}$`.
pub fn is_pseudonym(text: &str) -> bool {
    let Some((head, rest)) = text.as_bytes().split_first_chunk::<2>() else {
        return false;
    };
    // Without early exit the loop becomes vector instructions.
    let base32 = |bytes: &[u8]| {
        bytes.iter().fold(true, |good, b| {
            good & matches!(b, b'a'..=b'z' | b'2'..=b'7')
        })
    };
    rest.len() == 26 && matches!(head, [b'r' | b'w', b'_']) && base32(rest)
}

/// V12. Dictionary columns, services and areas need no look here: only words and codes of reference data pass there.
pub(super) fn pseudonymous(event: &EventRef<'_>) -> Result<(), Refusal> {
    for (column, reference) in [
        ("actor_ref", event.actor_ref),
        ("resident_ref", event.resident_ref),
    ] {
        if given(reference).is_some_and(|text| !is_pseudonym(text)) {
            let reason = format!(
                "{column} is no pseudonym: send resident {{kind, id}} to a collector, which makes one"
            );
            return Err(Refusal::of(Code::V12, column, reason));
        }
    }
    let columns = [
        ("source_id", event.source_id),
        ("grid_code", event.grid_code),
        ("subject_id", event.subject_id),
        ("handler_code", event.handler_code),
    ];
    for (column, text) in columns {
        if text.is_some_and(|text| contains_raw_personal(text.as_bytes())) {
            return Err(raw(column));
        }
    }
    for (key, value) in event.attrs.iter() {
        if contains_raw_personal(value.as_bytes()) || contains_raw_personal(key.as_bytes()) {
            return Err(raw(&attr_field(key)));
        }
    }
    Ok(())
}

fn raw(field: &str) -> Refusal {
    let reason = format!(
        "{field} holds what looks like an identity or mobile number: send it nowhere but in resident"
    );
    Refusal::of(Code::V12, field, reason)
}
