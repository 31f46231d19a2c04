//! Finding raw personal data: identity numbers and mobile numbers of mainland China, in text and in raw bytes.
//!
//! Found:
//! - identity numbers: 18 digits, or 17 and an `X` or `x`; also in groups of 6, 8 and 4 with a space or hyphen between;
//! - mobile numbers: 11 digits that begin with 13 to 19; also as 3-4-4 with a space or hyphen between, and with the
//!   country code as `+86`, `0086` or `86` and a space or hyphen;
//! - all of these in full-width digits (`１３８…`), mixed or not.
//!
//! Not found, because nothing but digits tells them from other numbers: landlines, old identity numbers of 15 digits,
//! bank cards, passports, plates, numbers spelled in words or broken up otherwise, names and addresses. Not taken for
//! personal data: runs of digits of any other length (area codes of 12 digits, times of 13), and digits inside a UUID
//! or inside a hexadecimal digest of 32, 40 or 64 characters.

mod scan;

pub use scan::contains_raw_personal;

use crate::EventRef;
use crate::catalogue::Column;

/// Whether any text of an event holds raw personal data, whatever column it stands in. A refused event is kept without
/// its bytes where this is so, whichever rule refused it.
pub fn event_holds_personal(event: &EventRef<'_>) -> bool {
    let holds = |text: &str| contains_raw_personal(text.as_bytes());
    let reference = |text: Option<&str>| {
        text.is_some_and(|text| !text.is_empty() && !crate::validate::is_pseudonym(text))
    };
    Column::ALL
        .iter()
        .filter_map(|column| column.text(event))
        .any(holds)
        || event
            .attrs
            .iter()
            .any(|(key, value)| holds(key) || holds(value))
        || reference(event.actor_ref)
        || reference(event.resident_ref)
}

#[cfg(test)]
mod tests;
