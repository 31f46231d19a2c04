//! Whether an event is accepted: the rules V01 to V16 as far as one event and the reference data can tell.
//!
//! [`validate`] is pure: no I/O and no clock. It answers with the first rule that fails, in the order of their numbers,
//! so the same event gets the same answer at the collector and at the aggregator. Rules that need history are judged
//! elsewhere: the lifecycle half of V09, V10, the target of V11, V15. V08 knows services and registers; the items of
//! work lists are not reference data yet.
//!
//! A reason says what was expected. It quotes a value only where the value is short, a plain word or code, and holds
//! nothing that looks like an identity or telephone number.

mod attrs;
mod codes;
mod envelope;
mod measures;
mod people;
mod place;
mod reference;
mod shown;
mod times;

pub use attrs::{MAX_ATTRS, MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use people::is_pseudonym;
pub use reference::{Reference, Sources};
pub use times::{END_MS, FIRST_DAY, MAX_AHEAD_MS, MAX_CLOCK_AHEAD_MS};

use crate::area::{Day, Lineage};
use crate::catalogue::EventType;
use crate::{EventRef, Refusal};

/// What is known of an accepted event from the reference data: what the ledger stores beside it.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'r> {
    /// Its type.
    pub event_type: &'r EventType,
    /// Local day of `occurred_at`.
    pub day: Day,
    /// `area_code` in the registry's form.
    pub area_code: &'r str,
    /// The area and its ancestors on that day.
    pub place: &'r Lineage,
    /// `home_area_code` in the registry's form, `area_code` where it is absent: the Kafka key.
    pub home_area_code: &'r str,
    /// Of a correction or retraction: the home area and its ancestors on the day of its target. Who may not report for it
    /// may not change what others reported.
    pub target_place: Option<&'r Lineage>,
    /// The area that `handler_code` names and its ancestors on that day; `None` for other bodies and unknown areas.
    pub handler: Option<&'r Lineage>,
}

/// Judges one event. `now_ms` is the time of receipt in milliseconds UTC: the collector's clock, or the broker's
/// timestamp of the record.
///
/// # Errors
/// The first rule that fails, with the column and what was expected.
pub fn validate<'r>(
    event: &EventRef<'_>,
    reference: &'r Reference,
    now_ms: i64,
) -> Result<Judged<'r>, Refusal> {
    let catalogue = &reference.catalogue;
    envelope::readable(event)?;
    let event_type = envelope::complete(event, catalogue)?;
    let day = reference.zone.day_of(event.occurred_at.unwrap_or_default());
    codes::known_words(event, catalogue, event_type, day)?;
    let place = place::locate(event, &reference.areas, day)?;
    times::believable(event, reference.zone, now_ms)?;
    measures::not_negative(event, catalogue, event_type)?;
    measures::within_range(event, catalogue, event_type)?;
    let register = codes::known_subjects(event, catalogue, event_type, day)?;
    envelope::has_case(event, event_type)?;
    envelope::has_target(event)?;
    people::pseudonymous(event)?;
    attrs::allowed(event, event_type)?;
    let target_place = place::of_target(event, &place, reference)?;
    for place in std::iter::once(place.lineage).chain(target_place) {
        reference.check_source(event, place)?;
    }
    codes::fitting_unit(event, event_type, register)?;
    Ok(Judged {
        event_type,
        day,
        area_code: place.area_code,
        place: place.lineage,
        home_area_code: place.home_area_code,
        target_place,
        handler: place::handler(event, &reference.areas, day),
    })
}

/// A text that is there: empty counts as absent.
#[inline]
fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
