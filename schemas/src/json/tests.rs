use proptest::prelude::*;

use super::*;
use crate::refusal::Code;

fn refuse_extra(_: &str, _: &RawValue) -> Result<bool, Refusal> {
    Ok(false)
}

fn refusal(json: &str) -> Refusal {
    parse(json.as_bytes(), &mut refuse_extra).unwrap_err()
}

#[test]
fn an_event_reads_back_as_it_was_written() {
    let event = Event {
        event_id: Some("00000000-0000-4000-8000-000000000001".into()),
        occurred_at: Some(1_772_323_200_123),
        value: Some(-1_500_000),
        rating: Some(5),
        attrs: [("line".to_owned(), "2221890".to_owned())].into(),
        ..Event::default()
    };
    let json = serde_json::to_string(&event).unwrap();
    assert!(
        json.contains(r#""value":-1.5"#) && json.contains("2026-03-01T00:00:00.123Z"),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
}

#[test]
fn instants_need_a_zone_and_may_be_milliseconds() {
    let at = |v: &str| {
        parse(
            format!(r#"{{"occurred_at":{v}}}"#).as_bytes(),
            &mut refuse_extra,
        )
        .map(|e| e.occurred_at)
    };
    assert_eq!(
        at(r#""2026-03-01T08:00:00+08:00""#).unwrap(),
        Some(1_772_323_200_000)
    );
    assert_eq!(at("1772323200000").unwrap(), Some(1_772_323_200_000));
    assert_eq!(at("null").unwrap(), None);
    let refused = at(r#""2026-03-01T08:00:00""#).unwrap_err();
    assert_eq!(
        (refused.code, refused.field.as_deref()),
        (Code::V01, Some("occurred_at"))
    );
}

#[test]
fn faults_name_the_column_and_quote_nothing() {
    for (json, field) in [
        (r#"{"colour":"red"}"#, Some("colour")),
        (r#"{"13812345678":"x"}"#, Some("(unreadable name)")),
        (r#"{"rating":"five"}"#, Some("rating")),
        (r#"{"rating":3000000000}"#, Some("rating")),
        (r#"{"count":1.5}"#, Some("count")),
        (r#"{"event_id":7}"#, Some("event_id")),
        (r#"{"value":1e3}"#, Some("value")),
        (r#"{"attrs":{"a":1}}"#, Some("attrs")),
        (r#"{"unit":"m2","unit":"n"}"#, Some("unit")),
        (r#"{"event_id":"#, None),
        (r#"[]"#, None),
        (r#"{} {}"#, None),
    ] {
        let refused = refusal(json);
        assert_eq!(
            (refused.code, refused.field.as_deref()),
            (Code::V01, field),
            "{json}: {refused}"
        );
        assert!(!refused.to_string().contains("138"), "{refused}");
    }
}

#[test]
fn an_extra_member_goes_to_whoever_takes_it() {
    let mut taken = String::new();
    let event = parse(
        br#"{"resident":{"kind":"id"},"unit":"n"}"#,
        &mut |name, raw| {
            taken = format!("{name}={}", raw.get());
            Ok(true)
        },
    )
    .unwrap();
    assert_eq!(
        (event.unit.as_deref(), taken.as_str()),
        (Some("n"), r#"resident={"kind":"id"}"#)
    );
}

#[test]
fn decimals_are_exact_or_refused() {
    assert_eq!(parse_decimal("0.000001").unwrap(), 1);
    assert_eq!(parse_decimal("12.50").unwrap(), 12_500_000);
    assert_eq!(parse_decimal("1.50000000").unwrap(), 1_500_000);
    assert_eq!(parse_decimal("-0.1").unwrap(), -100_000);
    assert_eq!(
        parse_decimal("999999999999.999999").unwrap(),
        999_999_999_999_999_999
    );
    for bad in [
        "",
        "-",
        ".5",
        "5.",
        "1e3",
        "1.0000001",
        "1000000000000",
        "+1",
        "0x1",
        "1 ",
        "１",
        "--1",
        "1.-1",
    ] {
        assert!(parse_decimal(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_decimal_survives_text(micros in -999_999_999_999_999_999i64..=999_999_999_999_999_999) {
        prop_assert_eq!(parse_decimal(&format_decimal(micros)).unwrap(), micros);
    }

    #[test]
    fn any_bytes_are_an_event_or_a_refusal(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(refusal) = parse(&bytes, &mut refuse_extra) {
            prop_assert_eq!(refusal.code, Code::V01);
        }
    }
}
