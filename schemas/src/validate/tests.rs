mod columns;
mod facts;
mod golden;
mod people;

use super::{Reference, validate};
use crate::area::{AreaSource, AreaTree, Zone};
use crate::catalogue::{Catalogue, CatalogueSource};
use crate::{Code, Event, Refusal};

/// 2024-05-20T04:00:00Z.
const NOW: i64 = 1_716_177_600_000;
const MINUTE: i64 = 60_000;

fn reference() -> &'static Reference {
    static REFERENCE: std::sync::LazyLock<Reference> = std::sync::LazyLock::new(|| {
        let areas = AreaTree::load(&AreaSource::builtin(["huzhou", "beijing"])).expect("areas");
        let catalogue = Catalogue::load(&CatalogueSource::Builtin).expect("the catalogue");
        Reference::new(areas, catalogue, Zone::CHINA)
    });
    &REFERENCE
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A good event of a type.
fn event(name: &str, subject_kind: &str, subject_id: &str) -> Event {
    Event {
        event_id: some("0190b5a2-7c1e-7def-8000-000000000001"),
        schema_version: Some(1),
        event_type: some(name),
        op: some("assert"),
        occurred_at: Some(NOW - MINUTE),
        recorded_at: Some(NOW),
        area_code: some("330502001005"),
        subject_kind: some(subject_kind),
        subject_id: some(subject_id),
        qualifier: some("exact"),
        ..Event::default()
    }
}

fn opened() -> Event {
    Event {
        case_kind: some("request"),
        channel: some("hotline"),
        service_code: some("environment.waste"),
        ..event("case.opened", "case", "case:1")
    }
}

fn stock() -> Event {
    Event {
        value: Some(5_000_000),
        unit: some("n"),
        ..event("stock.reported", "register", "fac.library")
    }
}

fn with_attr(mut event: Event, key: &str, value: &str) -> Event {
    event.attrs.insert(key.to_owned(), value.to_owned());
    event
}

fn refusal(event: &Event) -> Option<Refusal> {
    validate(&event.as_ref(), reference(), NOW).err()
}

/// Code and field of the refusal.
fn judged(event: &Event) -> Option<(Code, String)> {
    refusal(event).map(|refusal| (refusal.code, refusal.field.unwrap_or_default()))
}

fn is_refused(event: Event, code: Code, field: &str) {
    assert_eq!(judged(&event), Some((code, field.to_owned())), "{event:?}");
}

fn is_accepted(event: Event) {
    assert_eq!(refusal(&event), None, "{event:?}");
}
