//! V12, V13, and what a reason may say.

use proptest::prelude::*;

use super::*;

#[test]
fn raw_personal_data_is_v12_wherever_free_text_may_stand() {
    let phone = "13812345678";
    is_refused(
        Event {
            resident_ref: some(phone),
            ..opened()
        },
        Code::V12,
        "resident_ref",
    );
    is_refused(
        Event {
            resident_ref: some("r_short"),
            ..opened()
        },
        Code::V12,
        "resident_ref",
    );
    is_refused(
        Event {
            actor_ref: some("x_abcdefghijklmnopqrstuvwxyz"),
            ..opened()
        },
        Code::V12,
        "actor_ref",
    );
    is_accepted(Event {
        resident_ref: some("r_abcdefghijklmnopqrstuvwx27"),
        ..opened()
    });
    is_refused(
        Event {
            subject_id: some(phone),
            ..opened()
        },
        Code::V12,
        "subject_id",
    );
    is_refused(
        Event {
            grid_code: some("330502199003071234"),
            ..opened()
        },
        Code::V12,
        "grid_code",
    );
    is_refused(
        Event {
            handler_code: some("h:138-1234-5678"),
            ..opened()
        },
        Code::V12,
        "handler_code",
    );
    is_refused(
        with_attr(opened(), "line", "１３８１２３４５６７８"),
        Code::V12,
        "attrs.line",
    );
    is_refused(with_attr(opened(), phone, "x"), Code::V12, "attrs");
    is_accepted(with_attr(opened(), "line", "12345"));
}

#[test]
fn attrs_beyond_their_limits_or_not_allowed_are_v13() {
    is_refused(
        with_attr(opened(), "colour", "red"),
        Code::V13,
        "attrs.colour",
    );
    is_refused(
        with_attr(opened(), &"k".repeat(65), "x"),
        Code::V13,
        "attrs",
    );
    is_refused(
        with_attr(opened(), "line", &"x".repeat(257)),
        Code::V13,
        "attrs.line",
    );
    is_accepted(with_attr(opened(), "line", &"x".repeat(256)));
    let many = (0..17).fold(opened(), |event, i| with_attr(event, &format!("k{i}"), "x"));
    is_refused(many, Code::V13, "attrs");
}

/// Something personal, in any of the shapes that are looked for.
fn personal() -> impl Strategy<Value = String> {
    prop_oneof![
        "1[3-9][0-9]{9}",
        "[1-8][0-9]{16}[0-9X]",
        "1[3-9][0-9]-[0-9]{4}-[0-9]{4}",
        "tel1[3-9][0-9]{9}"
    ]
}

proptest! {
    #[test]
    fn a_reason_never_quotes_personal_data(secret in personal(), column in 0usize..18) {
        let mut event = opened();
        let text = Some(secret.clone());
        match column {
            0 => event.event_id = text,
            1 => event.event_type = text,
            2 => event.op = text,
            3 => event.area_code = text,
            4 => event.home_area_code = text,
            5 => event.grid_code = text,
            6 => event.subject_kind = text,
            7 => event.subject_id = text,
            8 => event.case_kind = text,
            9 => event.service_code = text,
            10 => event.channel = text,
            11 => event.actor_role = text,
            12 => event.actor_ref = text,
            13 => event.resident_ref = text,
            14 => event.handler_code = text,
            15 => event.outcome = text,
            16 => { event.attrs.insert("line".into(), secret.clone()); }
            _ => { event.attrs.insert(secret.clone(), "x".into()); }
        }
        let refusal = refusal(&event).expect("a refusal");
        prop_assert!(!refusal.to_string().contains(&secret), "{}", refusal);
        prop_assert!(crate::personal::event_holds_personal(&event.as_ref()));
    }

    #[test]
    fn any_numbers_are_survived(
        (occurred, recorded, now) in any::<(i64, i64, i64)>(),
        (count, value, amount) in any::<(i64, i64, i64)>(),
        (rating, minutes, tier) in any::<(i32, i32, i32)>(),
    ) {
        let event = Event {
            occurred_at: Some(occurred), recorded_at: Some(recorded), count: Some(count), value: Some(value),
            amount_fen: Some(amount), rating: Some(rating), minutes: Some(minutes), handler_tier: Some(tier), ..opened()
        };
        let first = validate(&event.as_ref(), reference(), now).err();
        prop_assert_eq!(first, validate(&event.as_ref(), reference(), now).err());
    }
}
