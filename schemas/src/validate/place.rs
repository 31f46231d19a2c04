//! V04: where an event belongs, on its day.

use super::shown::shown;
use super::{Reference, given};
use crate::area::{Area, AreaTree, Day, Lineage};
use crate::{Code, EventRef, Refusal};

/// Where an event belongs.
pub(super) struct Place<'r> {
    pub area_code: &'r str,
    pub lineage: &'r Lineage,
    pub home_area_code: &'r str,
}

/// V04: the area is known and valid on the day. The home area is only a key and may have been dissolved since.
pub(super) fn locate<'r>(
    event: &EventRef<'_>,
    areas: &'r AreaTree,
    day: Day,
) -> Result<Place<'r>, Refusal> {
    let code = event.area_code.unwrap_or_default();
    let Some(id) = areas.id(code) else {
        return Err(unknown("area_code", code));
    };
    let area_code = areas.code(id);
    let Some(lineage) = areas.lineage_of(id, day) else {
        let periods: Vec<String> = areas
            .rows()
            .iter()
            .filter(|row| row.code == area_code)
            .map(period)
            .collect();
        let reason = format!(
            "area \"{area_code}\" is not valid on {day}: it is valid {}",
            periods.join(" and ")
        );
        return Err(Refusal::of(Code::V04, "area_code", reason));
    };
    let home_area_code = match given(event.home_area_code) {
        None => area_code,
        Some(home) => areas
            .canonical(home)
            .ok_or_else(|| unknown("home_area_code", home))?,
    };
    Ok(Place {
        area_code,
        lineage,
        home_area_code,
    })
}

/// V11: of a correction or retraction, the home area on the day of its target.
pub(super) fn of_target<'r>(
    event: &EventRef<'_>,
    place: &Place<'r>,
    reference: &'r Reference,
) -> Result<Option<&'r Lineage>, Refusal> {
    let amends = event.op.is_some_and(|op| op != "assert");
    let Some(target_at) = event.target_occurred_at.filter(|_| amends) else {
        return Ok(None);
    };
    let (areas, day) = (&reference.areas, reference.zone.day_of(target_at));
    let home = areas.id(place.home_area_code);
    let lineage = home.and_then(|home| areas.lineage_of(home, day));
    lineage.map(Some).ok_or_else(|| {
        let reason = format!(
            "home_area_code \"{}\" is not valid on {day}, the day of the target: it must be the target's",
            place.home_area_code
        );
        Refusal::of(Code::V11, "home_area_code", reason)
    })
}

fn unknown(column: &str, code: &str) -> Refusal {
    let reason = format!(
        "area{} is in no registry: expected its registry code or that padded to 12 digits",
        shown(code)
    );
    Refusal::of(Code::V04, column, reason)
}

fn period(row: &Area) -> String {
    match (row.valid_from, row.valid_to) {
        (None, None) => "always".to_owned(),
        (Some(from), None) => format!("from {from}"),
        (None, Some(to)) => format!("before {to}"),
        (Some(from), Some(to)) => format!("from {from} and before {to}"),
    }
}

/// The area a handler is: `h:<area code>`, or a bare code that happens to be one.
pub(super) fn handler<'r>(
    event: &EventRef<'_>,
    areas: &'r AreaTree,
    day: Day,
) -> Option<&'r Lineage> {
    let handler = given(event.handler_code)?;
    areas.lineage(handler.strip_prefix("h:").unwrap_or(handler), day)
}
