use super::*;

fn key() -> CityKey {
    let hex: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    CityKey::from_hex("test", &hex).unwrap()
}

fn pseudonym(kind: &str, id: &str) -> String {
    key().pseudonym("r_", &Person::new(kind, id).unwrap())
}

#[test]
fn pseudonyms_are_what_any_hmac_implementation_computes() {
    // Python: base64.b32encode(hmac.new(bytes(range(32)), b"id|3305..", hashlib.sha256).digest()[:16])
    assert_eq!(
        pseudonym("id", "33050219800101123X"),
        "r_6wloyffm5k3v64htf4b3w5ch34"
    );
    assert_eq!(
        pseudonym("phone", "13812345678"),
        "r_ozhqcpaqxt2pmcayfgdwjkrqj4"
    );
    assert_eq!(pseudonym("card", "A-7 b"), "r_tkwjnlb7k25sugi7fwa5dgwrhi");
    assert!(siji_schemas::validate::is_pseudonym(&pseudonym("id", "x")));
}

#[test]
fn however_a_number_is_typed_it_is_the_same_person() {
    for phone in [
        "138 1234 5678",
        "+86 138-1234-5678",
        "008613812345678",
        "8613812345678",
        "１３８１２３４５６７８",
    ] {
        assert_eq!(
            pseudonym("phone", phone),
            pseudonym("phone", "13812345678"),
            "{phone}"
        );
    }
    for id in [
        "33050219800101123x",
        " 330502 19800101 123X ",
        "３３０５０２１９８００１０１１２３Ｘ",
    ] {
        assert_eq!(
            pseudonym("id", id),
            pseudonym("id", "33050219800101123X"),
            "{id}"
        );
    }
    assert_ne!(
        pseudonym("id", "13812345678"),
        pseudonym("phone", "13812345678"),
        "kinds do not meet"
    );
    assert_ne!(
        pseudonym("phone", "8612345678"),
        pseudonym("phone", "12345678"),
        "86 is a country code only before 11 digits"
    );
}

#[test]
fn a_person_of_another_form_is_refused_without_being_quoted() {
    for raw in [
        r#""13812345678""#,
        r#"{"kind":"phone"}"#,
        r#"{"kind":"phone","id":13812345678}"#,
        r#"{"kind":"phone","id":"13812345678","name":"x"}"#,
        r#"{"kind":"Phone number","id":"13812345678"}"#,
        r#"{"kind":"phone","id":"  "}"#,
    ] {
        let raw: Box<RawValue> = serde_json::from_str(raw).unwrap();
        let Err(refusal) = Person::parse("resident", &raw) else {
            panic!("{raw} was taken")
        };
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::V01, Some("resident"))
        );
        assert!(!refusal.to_string().contains("1381"), "{refusal}");
    }
    let nobody: Box<RawValue> = serde_json::from_str("null").unwrap();
    assert!(matches!(Person::parse("resident", &nobody), Ok(None)));
}

#[test]
fn refused_bytes_keep_no_people() {
    let kept = |text: &str| {
        without_people(text.as_bytes())
            .text
            .map(|text| String::from_utf8(text).unwrap())
    };
    let text =
        r#"{"a":1,"resident":{"kind":"name","id":"Zhang San"},"b":[{"Actor":{"id":"7"}},2]}"#;
    assert_eq!(kept(text).unwrap(), r#"{"a":1,"b":[{},2]}"#);
    assert_eq!(kept(r#"{"note":"call 13812345678"}"#), None);
    assert_eq!(
        kept(r#"{"note":"\u0031\u0033812345678"}"#),
        None,
        "escapes are resolved before the search"
    );
    assert_eq!(
        kept(r#"{"resident":{"kind":"name","id":"Zhang San"},"#),
        None,
        "unreadable"
    );
    assert_eq!(
        kept(r#"{"note":"\u0031\u0033812345678","#),
        None,
        "unreadable, with escapes"
    );
    assert_eq!(kept(r#"{"a":1,"#).unwrap(), r#"{"a":1,"#);
}

#[test]
fn a_refused_reference_stays_only_if_it_is_a_pseudonym() {
    let kept = |text: &str| {
        without_people(text.as_bytes())
            .text
            .map(|text| String::from_utf8(text).unwrap())
    };
    let pseudonym = r#"{"foo":1,"resident_ref":"r_6wloyffm5k3v64htf4b3w5ch34"}"#;
    assert_eq!(kept(pseudonym).unwrap(), pseudonym);
    assert_eq!(
        kept(r#"{"actor_ref":null}"#).unwrap(),
        r#"{"actor_ref":null}"#
    );
    for person in [
        r#"{"resident_ref":"王小明","foo":1}"#,
        r#"{"foo":1,"Actor_Ref":"王小明"}"#,
        r#"{"foo":1," resident_ref ":["王小明"]}"#,
        r#"{"foo":1,"owner_ref":{"name":"王小明"}}"#,
        r#"{"foo":1,"residentRef":"王小明"}"#,
        r#"{"foo":1,"resident_name":"王小明"}"#,
        r#"{"foo":1,"resident_ref":"王小明","resident_ref":5}"#,
        r#"{"foo":1,"\u0072esident_ref":"王小明"}"#,
    ] {
        assert_eq!(kept(person).unwrap(), r#"{"foo":1}"#, "{person}");
    }
    assert_eq!(
        kept(r#"[{"resident_ref":"王小明"}]"#).unwrap(),
        "[{}]",
        "however deep"
    );
}

#[test]
fn of_unreadable_bytes_with_a_word_for_a_person_nothing_stays_however_it_is_written() {
    for broken in [
        r#"{"Resident":{"kind":"name","id":"王小明"},"#,
        r#"{"ACTOR":{"kind":"name","id":"王小明"},"#,
        r#"{"resident_ref":"王小明","#,
        r#"{"owner_REF":"王小明","#,
    ] {
        assert!(without_people(broken.as_bytes()).text.is_none(), "{broken}");
    }
    let utf_16: Vec<u8> =
        r#"{"resident":{"id":"王小明"}}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(without_people(&utf_16).text.is_none(), "another encoding");
}

#[test]
fn a_key_is_hexadecimal_long_enough_and_never_shown() {
    assert!(CityKey::from_hex("k", &"ab".repeat(31)).is_err());
    assert!(CityKey::from_hex("k", &"zz".repeat(32)).is_err());
    let missing = CityKey::from_file(Path::new("/nowhere/key")).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("pseudonym_key_file /nowhere/key: "),
        "{missing}"
    );
    assert_eq!(format!("{:?}", key()), "CityKey(…)");
}
