use proptest::prelude::*;

use super::*;
use crate::area::Zone;
use crate::event::Event;
use crate::validate::{Reference, validate};

fn reference() -> Reference {
    Reference::load(None, &["huzhou"], Zone::CHINA).unwrap()
}

fn event() -> Event {
    Event {
        event_id: Some("00000000-0000-4000-8000-00000000000a".into()),
        schema_version: Some(1),
        event_type: Some("visit.made".into()),
        op: Some("assert".into()),
        occurred_at: Some(1_772_323_200_000),
        recorded_at: Some(1_772_323_260_000),
        area_code: Some("330502001005".into()),
        subject_kind: Some("visit".into()),
        subject_id: Some("v-1".into()),
        minutes: Some(30),
        qualifier: Some("exact".into()),
        ..Event::default()
    }
}

fn hash(event: &Event) -> i64 {
    let reference = reference();
    let judged = validate(&event.as_ref(), &reference, 1_772_323_300_000).unwrap();
    body_hash(&event.as_ref(), &judged, &mut Vec::new())
}

#[test]
fn what_collectors_stamp_and_pseudonyms_do_not_change_the_body() {
    let first = event();
    let again = Event {
        event_id: Some("00000000-0000-4000-8000-00000000000b".into()),
        recorded_at: Some(1_772_323_261_000),
        source_id: Some("c-2".into()),
        incarnation: Some(9),
        source_seq: Some(9),
        resident_ref: Some("r_abcdefghijklmnopqrstuvwxyz".into()),
        home_area_code: Some("330502001005".into()),
        ..event()
    };
    assert_eq!(hash(&first), hash(&again));
}

#[test]
fn whatever_the_sender_says_changes_the_body() {
    let first = hash(&event());
    for other in [
        Event {
            minutes: Some(31),
            ..event()
        },
        Event {
            count: Some(30),
            minutes: None,
            ..event()
        },
        Event {
            subject_id: Some("v-2".into()),
            ..event()
        },
        Event {
            occurred_at: Some(1_772_323_200_001),
            ..event()
        },
        Event {
            area_code: Some("330502001006".into()),
            ..event()
        },
    ] {
        assert_ne!(hash(&other), first);
    }
}

#[test]
fn the_hash_of_a_known_event_is_pinned() {
    assert_eq!(
        hash(&event()),
        PINNED,
        "the ledger stores body hashes: the canonical form must never change"
    );
}
const PINNED: i64 = -4_432_179_288_032_095_177;

#[test]
fn ids_are_the_same_in_either_case() {
    assert_eq!(
        id_hash("ABCDEF00-0000-4000-8000-00000000000A"),
        id_hash("abcdef00-0000-4000-8000-00000000000a")
    );
}

proptest! {
    #[test]
    fn text_never_runs_from_one_column_into_the_next(a in "[a-z]{0,8}", b in "[a-z]{0,8}", cut in 0usize..16) {
        let joined: String = format!("{a}{b}");
        let cut = cut.min(joined.len());
        let (left, right) = joined.split_at(cut);
        let one = Event { subject_id: Some(format!("v{a}")), grid_code: Some(format!("g{b}")), ..event() };
        let two = Event { subject_id: Some(format!("v{left}")), grid_code: Some(format!("g{right}")), ..event() };
        prop_assert_eq!(one == two, hash(&one) == hash(&two));
    }
}
