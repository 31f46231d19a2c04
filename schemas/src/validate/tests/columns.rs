//! V01, V02, V03, V09, V11 and the order of the rules.

use super::*;

#[test]
fn an_unknown_version_or_an_id_that_is_no_uuid_is_v01() {
    is_refused(
        Event {
            schema_version: Some(2),
            ..opened()
        },
        Code::V01,
        "schema_version",
    );
    for id in [
        "1",
        "0190b5a2-7c1e-7def-8000-00000000000g",
        "0190b5a27c1e7def8000000000000001----",
    ] {
        is_refused(
            Event {
                event_id: some(id),
                ..opened()
            },
            Code::V01,
            "event_id",
        );
    }
}

#[test]
fn a_missing_column_is_v02_and_empty_text_is_missing() {
    is_refused(Event::default(), Code::V02, "event_id");
    is_refused(
        Event {
            schema_version: None,
            ..opened()
        },
        Code::V02,
        "schema_version",
    );
    is_refused(
        Event {
            area_code: some(""),
            ..opened()
        },
        Code::V02,
        "area_code",
    );
    is_refused(
        Event {
            qualifier: None,
            ..opened()
        },
        Code::V02,
        "qualifier",
    );
    is_refused(
        Event {
            channel: None,
            ..opened()
        },
        Code::V02,
        "channel",
    );
    is_refused(
        Event {
            unit: None,
            ..stock()
        },
        Code::V02,
        "unit",
    );
    is_refused(
        event("case.callback", "case", "case:1"),
        Code::V02,
        "outcome",
    );
    is_refused(
        event("proposal.voted", "proposal", "proposal:1"),
        Code::V02,
        "attrs.layer",
    );
    is_refused(
        with_attr(
            event("proposal.voted", "proposal", "proposal:1"),
            "layer",
            "",
        ),
        Code::V02,
        "attrs.layer",
    );
    is_refused(event("visit.made", "visit", ""), Code::V02, "subject_id");
    is_accepted(Event {
        rating: Some(5),
        ..event("case.callback", "case", "case:1")
    });
}

#[test]
fn an_unknown_word_is_v03() {
    is_refused(
        Event {
            event_type: some("case.shouted"),
            ..opened()
        },
        Code::V03,
        "event_type",
    );
    is_refused(
        Event {
            op: some("delete"),
            ..opened()
        },
        Code::V03,
        "op",
    );
    is_refused(
        Event {
            channel: some("drums"),
            ..opened()
        },
        Code::V03,
        "channel",
    );
    is_refused(
        Event {
            case_kind: some("gossip"),
            ..opened()
        },
        Code::V03,
        "case_kind",
    );
    is_refused(
        Event {
            actor_role: some("ghost"),
            ..opened()
        },
        Code::V03,
        "actor_role",
    );
    is_refused(
        Event {
            outcome: some("happy"),
            ..opened()
        },
        Code::V03,
        "outcome",
    );
    is_refused(
        Event {
            qualifier: some("maybe"),
            ..opened()
        },
        Code::V03,
        "qualifier",
    );
    is_refused(
        Event {
            unit: some("ell"),
            ..stock()
        },
        Code::V03,
        "unit",
    );
    is_refused(
        Event {
            subject_kind: some("ghost"),
            ..stock()
        },
        Code::V03,
        "subject_kind",
    );
    is_refused(
        Event {
            fee_mode: some("barter"),
            ..opened()
        },
        Code::V03,
        "fee_mode",
    );
    // A word of the dictionary that the type does not have.
    is_refused(
        Event {
            outcome: some("accepted"),
            ..event("case.closed", "case", "case:1")
        },
        Code::V03,
        "outcome",
    );
    is_accepted(Event {
        outcome: some("resolved"),
        ..event("case.closed", "case", "case:1")
    });
}

#[test]
fn an_unknown_type_is_reported_after_a_missing_column_and_before_everything_else() {
    is_refused(
        Event {
            event_type: some("no.such"),
            qualifier: None,
            ..opened()
        },
        Code::V02,
        "qualifier",
    );
    is_refused(
        Event {
            event_type: some("no.such"),
            area_code: some("9"),
            ..opened()
        },
        Code::V03,
        "event_type",
    );
    is_refused(
        Event {
            event_type: None,
            ..opened()
        },
        Code::V02,
        "event_type",
    );
}

#[test]
fn a_case_event_without_a_case_is_v09() {
    is_refused(
        Event {
            subject_id: None,
            ..opened()
        },
        Code::V09,
        "subject_id",
    );
    is_refused(
        Event {
            subject_id: some(""),
            ..opened()
        },
        Code::V09,
        "subject_id",
    );
    is_refused(
        Event {
            subject_kind: None,
            ..opened()
        },
        Code::V09,
        "subject_kind",
    );
    is_refused(
        Event {
            subject_kind: some("visit"),
            ..opened()
        },
        Code::V09,
        "subject_kind",
    );
}

#[test]
fn a_correction_or_retraction_without_its_target_is_v11() {
    let target = some("0190b5a2-7c1e-7def-8000-000000000002");
    for op in ["correct", "retract"] {
        let bare = Event {
            op: some(op),
            ..opened()
        };
        is_refused(bare.clone(), Code::V11, "target_event_id");
        is_refused(
            Event {
                target_event_id: some("x"),
                ..bare.clone()
            },
            Code::V11,
            "target_event_id",
        );
        let named = Event {
            target_event_id: target.clone(),
            ..bare
        };
        is_refused(named.clone(), Code::V11, "target_occurred_at");
        is_refused(
            Event {
                target_event_id: named.event_id.clone(),
                target_occurred_at: Some(NOW),
                ..named.clone()
            },
            Code::V11,
            "target_event_id",
        );
        is_accepted(Event {
            target_occurred_at: Some(NOW),
            ..named
        });
    }
}

#[test]
fn a_retraction_needs_no_measures_and_a_correction_does() {
    let target = Event {
        target_event_id: some("0190b5a2-7c1e-7def-8000-000000000002"),
        target_occurred_at: Some(NOW),
        ..event("fund.spent", "fund", "fund:1")
    };
    is_accepted(Event {
        op: some("retract"),
        ..target.clone()
    });
    is_refused(
        Event {
            op: some("correct"),
            ..target
        },
        Code::V02,
        "amount_fen",
    );
}

#[test]
fn the_rule_with_the_lowest_number_answers() {
    // Wrong in every way at once; each repair uncovers the next rule.
    let mut event = Event {
        schema_version: Some(9),
        qualifier: None,
        op: some("correct"),
        channel: some("drums"),
        area_code: some("9"),
        occurred_at: Some(0),
        value: Some(-1),
        rating: Some(9),
        subject_id: some("weather.13812345678"),
        unit: some("m2"),
        ..stock()
    };
    event.attrs.insert("colour".into(), "red".into());
    let mut seen = Vec::new();
    for _ in 0..20 {
        let Some((code, _)) = judged(&event) else {
            break;
        };
        seen.push(code.as_str());
        match code {
            Code::V01 => event.schema_version = Some(1),
            Code::V02 => event.qualifier = some("exact"),
            Code::V03 => event.channel = some("web"),
            Code::V04 => event.area_code = some("3305"),
            Code::V05 => event.occurred_at = Some(NOW),
            Code::V06 => event.value = Some(1),
            Code::V07 => event.rating = Some(1),
            Code::V08 => event.subject_id = some("fac.13812345678"),
            Code::V11 => {
                event.target_event_id = some("0190b5a2-7c1e-7def-8000-000000000002");
                event.target_occurred_at = Some(NOW);
            }
            Code::V12 => event.subject_id = some("fac.library"),
            Code::V13 => event.attrs.clear(),
            Code::V16 => event.unit = some("n"),
            _ => break,
        }
    }
    assert_eq!(
        seen,
        [
            "V01", "V02", "V03", "V04", "V05", "V06", "V07", "V08", "V11", "V12", "V13", "V16"
        ]
    );
    assert_eq!(judged(&event), None);
}
