use super::*;

#[test]
fn a_header_is_unquoted_and_percent_decoded_once() {
    let decode = |text: &'static str| decode(&HeaderValue::from_static(text));
    for (header, text) in [
        ("visit.made", "visit.made"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("100%2525", "100%25"),
        ("\"a \\\"quoted\\\" %e5%90%b4\"", "a \"quoted\" 吴"),
        ("\"\"", ""),
    ] {
        assert_eq!(decode(header).as_deref(), Some(text), "{header}");
    }
    for broken in ["%", "%4", "%zz", "%+1", "%ff", "\"a\"b\"", "\"a\\\""] {
        assert_eq!(decode(broken), None, "{broken}");
    }
}

fn open(event: &str) -> Result<String, (String, String)> {
    let event = CloudEvent::structured(Bytes::from(event.to_owned()));
    event
        .open()
        .map(|(_, data)| String::from_utf8(data.into_owned()).unwrap())
        .map_err(|refusal| (refusal.field.unwrap_or_default(), refusal.reason))
}

#[test]
fn an_envelope_is_opened_or_refused_by_the_attribute_at_fault() {
    let with = |members: &str| {
        open(&format!(
            "{{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"t\",\"source\":\"/s\",{members}}}"
        ))
    };
    assert_eq!(
        with("\"data\":{\"a\":1},\"ext\":[1]"),
        Ok("{\"a\":1}".to_owned())
    );
    assert_eq!(with("\"data_base64\":\"e30=\""), Ok("{}".to_owned()));
    assert_eq!(
        with("\"datacontenttype\":\"application/vnd.x+json; v=1\",\"data\":{}"),
        Ok("{}".to_owned())
    );
    for (members, field) in [
        ("\"data\":[1]", "data"),
        ("\"data\":null", "data"),
        ("\"data\":{},\"data_base64\":\"e30=\"", "data_base64"),
        ("\"data_base64\":\"e30\"", "data_base64"),
        (
            "\"data\":{},\"datacontenttype\":\"text/xml\"",
            "datacontenttype",
        ),
        ("\"data\":{},\"time\":\"yesterday\"", "time"),
        ("\"data\":{},\"time\":17", "time"),
        ("\"data\":{},\"id\":\"2\"", "id"),
    ] {
        assert_eq!(with(members).map_err(|(at, _)| at), Err(field.to_owned()));
    }
    let without = open("{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"data\":{}}");
    assert_eq!(without.map_err(|(at, _)| at), Err("type".to_owned()));
    let old = open("{\"specversion\":\"0.3\",\"id\":\"1\",\"type\":\"t\",\"source\":\"/s\"}");
    assert_eq!(
        old,
        Err(("specversion".to_owned(), "expected 1.0".to_owned()))
    );
    assert!(open("[]").is_err() && open("{\"id\":").is_err());
}
