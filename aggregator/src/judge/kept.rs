//! What is kept of the columns of a refused event.

use siji_schemas::personal::contains_raw_personal;
use siji_schemas::{Event, EventRef};

use crate::consume::RefusedBy;

/// The event with the collector's word on it, and without free text where there is personal data.
pub(super) fn kept_of_refused(
    event: &EventRef<'_>,
    refused: Option<&RefusedBy>,
    personal: bool,
) -> Event {
    let mut kept = if personal {
        without_free_text(event)
    } else {
        event.to_event()
    };
    if let Some(refused) = refused {
        let source = refused
            .source
            .clone()
            .filter(|source| !contains_raw_personal(source.as_bytes()));
        kept.source_id = source.or(kept.source_id);
        kept.incarnation = refused.incarnation.or(kept.incarnation);
        kept.source_seq = refused.seq.or(kept.source_seq);
    }
    kept
}

/// What of an event cannot hold personal data: numbers, times, and words of fixed form.
fn without_free_text(event: &EventRef<'_>) -> Event {
    let word = |text: Option<&str>| {
        text.filter(|text| {
            text.len() <= 64
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b".-_".contains(&b))
        })
        .map(str::to_owned)
    };
    let id = |text: Option<&str>| {
        text.filter(|text| {
            text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        })
        .map(str::to_owned)
    };
    let area = |text: Option<&str>| {
        text.filter(|text| {
            text.len() <= 12 && text.len() != 11 && text.bytes().all(|b| b.is_ascii_digit())
        })
        .map(str::to_owned)
    };
    Event {
        event_id: id(event.event_id),
        schema_version: event.schema_version,
        event_type: word(event.event_type),
        op: word(event.op),
        occurred_at: event.occurred_at,
        recorded_at: event.recorded_at,
        incarnation: event.incarnation,
        source_seq: event.source_seq,
        area_code: area(event.area_code),
        home_area_code: area(event.home_area_code),
        subject_kind: word(event.subject_kind),
        ..Event::default()
    }
}
