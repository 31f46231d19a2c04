use siji_schemas::avro;

use super::*;
use siji_schemas::Event;

fn event(n: u64) -> Event {
    Event {
        event_id: Some(format!("00000000-0000-4000-8000-{n:012}")),
        schema_version: Some(1),
        event_type: Some("visit.made".into()),
        op: Some("assert".into()),
        occurred_at: Some(1_772_323_200_000),
        recorded_at: Some(1_772_323_260_000),
        area_code: Some("330502001005".into()),
        subject_kind: Some("visit".into()),
        subject_id: Some("v-1".into()),
        qualifier: Some("exact".into()),
        ..Event::default()
    }
}

fn value(n: u64, json: bool) -> Vec<u8> {
    if json {
        return serde_json::to_vec(&event(n)).unwrap();
    }
    let mut out = Vec::new();
    avro::encode(&event(n).as_ref(), &mut out).unwrap();
    out
}

fn read(value: &[u8]) -> Option<Event> {
    decode(value).ok().map(|decoded| decoded.event().to_event())
}

#[test]
fn an_event_is_read_from_either_form_and_anything_else_is_told_apart() {
    assert_eq!(read(&value(0, false)), Some(event(0)));
    assert_eq!(read(&value(1, true)), Some(event(1)));
    let reason = |value: &[u8]| decode(value).unwrap_err().reason;
    assert!(reason(b"neither").contains("neither an Avro"));
    assert!(reason(b"").contains("no value"));
    assert!(reason(&vec![b'{'; MAX_EVENT_BYTES + 1]).contains("256 KiB"));
    assert!(reason(&value(4, true)[..20]).contains("JSON ends too early"));
    assert!(reason(&value(7, false)[..30]).contains("truncated within `event_id`"));
    assert!(reason(&[0, 0, 0, 0, 1]).contains("Confluent"));
}

#[test]
fn a_foreign_json_event_needs_no_version() {
    let without = Event {
        schema_version: None,
        ..event(2)
    };
    assert_eq!(read(&serde_json::to_vec(&without).unwrap()), Some(event(2)));
}
