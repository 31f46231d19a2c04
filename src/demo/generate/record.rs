//! The bare record every event of the demo begins with.

use siji_schemas::Event;
use siji_schemas::event::SCHEMA_VERSION;

/// An assertion about a subject at an area; id and times come when it is sent.
pub(super) fn record(
    event_type: &str,
    subject_kind: &str,
    subject_id: String,
    area_code: &str,
) -> Event {
    Event {
        schema_version: Some(SCHEMA_VERSION),
        event_type: Some(event_type.to_owned()),
        op: Some("assert".to_owned()),
        area_code: Some(area_code.to_owned()),
        subject_kind: Some(subject_kind.to_owned()),
        subject_id: Some(subject_id),
        qualifier: Some("exact".to_owned()),
        ..Event::default()
    }
}

/// The text, unless it is empty.
pub(super) fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
