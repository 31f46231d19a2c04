use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;

use super::*;
use crate::Event;

fn found(text: &str) -> bool {
    contains_raw_personal(text.as_bytes())
}

#[test]
fn identity_and_mobile_numbers_are_found_wherever_they_stand() {
    for text in [
        "13812345678",
        "tel13812345678x",
        "电话13812345678。",
        "+8613812345678",
        "8613812345678",
        "008613812345678",
        "86 13812345678",
        "138-1234-5678",
        "138 1234 5678",
        "tel:138-1234 5678",
        "33050219900307123X",
        "33050219900307123x,",
        "330502199003071234",
        "330502 19900307 1234",
        "330502 20100307 123X",
        "１３８１２３４５６７８",
        "1３8１2345678",
        "３３０５０２１９９００３０７１２３Ｘ",
        "{\"id\":\"13812345678\"}",
    ] {
        assert!(found(text), "{text}");
    }
}

#[test]
fn other_numbers_are_left_alone() {
    for text in [
        "",
        "330502001005",
        "h:330502001005",
        "1190000000012",
        "12812345678",
        "03812345678",
        "138123456789",
        "1381234567",
        "1700000000000",
        "330502-20070628-0001",
        "330502 18000307 1234",
        "33050219900307123XL",
        "3305021990030712345",
        "330502199003071",
        "2014-01-14 13:48:01",
        "0190b5a2-7c1e-7def-8000-a13812345678",
        "abcde138-1234-5678-9abc-0123456789ab",
        "d41d8cd98f00b204e13812345678ecf8",
        "r_abcdefghijklmnopqrstuvwxyz",
        "138 1234  5678",
        "138/1234/5678",
    ] {
        assert!(!found(text), "{text}");
    }
}

#[test]
fn a_number_in_damaged_bytes_is_found_too() {
    assert!(contains_raw_personal(b"\xff\xfe\x0013812345678\x80"));
    assert!(contains_raw_personal(b"\xef\xbc13812345678"));
    assert!(!contains_raw_personal(
        b"\xef\xbc\x91\xef\xbc\xef\xbc\x91\xef"
    ));
}

#[test]
fn an_event_is_searched_in_every_column() {
    let clean = Event {
        actor_ref: Some("w_abcdefghijklmnopqrstuvwxy2".into()),
        ..Event::default()
    };
    assert!(!event_holds_personal(&clean.as_ref()));
    let in_channel = Event {
        channel: Some("13812345678".into()),
        ..Event::default()
    };
    assert!(event_holds_personal(&in_channel.as_ref()));
    let in_attrs = Event {
        attrs: [("note".into(), "330502199003071234".into())].into(),
        ..Event::default()
    };
    assert!(event_holds_personal(&in_attrs.as_ref()));
    let a_name = Event {
        resident_ref: Some("some name".into()),
        ..Event::default()
    };
    assert!(event_holds_personal(&a_name.as_ref()));
}

macro_rules! patterns {
    ($($name:ident = $pattern:literal;)*) => {
        $(static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).expect("a valid pattern"));)*
    };
}
patterns! {
    RUN = r"[0-9]+";
    NUMBER = r"^(1[3-9][0-9]{9}|861[3-9][0-9]{9}|00861[3-9][0-9]{9}|[0-9]{18})$";
    WITH_X = r"(^|[^0-9])[0-9]{17}[xX]($|[^0-9A-Za-z])";
    GROUPS = r"(^|[^0-9])1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}($|[^0-9])";
    SPACED = r"(^|[^0-9])[0-9]{6} (19|20)[0-9]{6} ([0-9]{4}($|[^0-9])|[0-9]{3}[xX]($|[^0-9A-Za-z]))";
    ALL_DIGIT_UUID = r"[0-9]{8}-[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{12}";
}

/// The plain forms, written down a second time with the regex crate: maximal runs of digits, then their shape.
fn by_regex(text: &str) -> bool {
    RUN.find_iter(text).any(|run| NUMBER.is_match(run.as_str()))
        || [&WITH_X, &GROUPS, &SPACED]
            .iter()
            .any(|pattern| pattern.is_match(text))
}

/// Full-width forms of the digits of a text.
fn widened(text: &str) -> String {
    text.chars()
        .map(|c| {
            c.to_digit(10)
                .and_then(|d| char::from_u32(0xFF10 + d))
                .unwrap_or(c)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn the_scanner_agrees_with_the_patterns(
        text in "([0-9]{0,3}(1[3-9][0-9]{9}|[0-9]{17,18}[xX]?|1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}|[0-9]{6} (19|20|18)[0-9]{6} [0-9]{3}[0-9X]|86|0086|[g-zG-Z +:-]){0,2}[ g-zX中-]{0,2}){0,4}"
    ) {
        prop_assert_eq!(found(&text), by_regex(&text), "{}", text);
    }

    #[test]
    fn full_width_digits_count_as_digits(text in "[0-9 x+-]{0,30}") {
        // Without letters there is no identifier to be excused.
        prop_assert_eq!(found(&widened(&text)), found(&text) || excused(&text), "{}", text);
    }

    #[test]
    fn uuids_are_never_personal(uuid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", around in "[ :]?") {
        let text = format!("{around}{}{around}", uuid);
        prop_assert!(!found(&text));
    }

    #[test]
    fn digits_are_counted_as_by_hand(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xEF), b'+'..b'@'], 8..60)) {
        let by_hand = bytes.iter().filter(|byte| byte.is_ascii_digit() || **byte == 0xEF).count();
        prop_assert_eq!(scan::possible_digits(&bytes) as usize, by_hand);
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        contains_raw_personal(&bytes);
    }
}

/// A UUID of nothing but digits is excused in ASCII and not in full width.
fn excused(text: &str) -> bool {
    ALL_DIGIT_UUID.is_match(text)
}
