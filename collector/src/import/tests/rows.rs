//! Rows into events.

use std::io::Write;
use std::path::PathBuf;

use super::super::{Made, Outcome};
use super::{import, mapping, reference};

const LOG: &str = r#"
[time]
zone = "Asia/Shanghai"
formats = ["%Y/%m/%d %H:%M"]
[ids]
namespace = "desk"
columns = ["no"]
[[skip]]
when = { column = "no", is = "合计" }
[values.area]
column = "area"
steps = [{ extract = '(\d{3})$', otherwise = "" }, { replace = '^', with = "330502001" }]
[[event]]
type = "case.opened"
resident = { kind = "phone", id = "{phone}" }
[event.set]
occurred_at = "{opened}"
area_code = { from = "{value.area}", if_empty = "330502001005" }
subject_id = "{no}"
channel = "hotline"
case_kind = { column = "kind", ignore_case = true, map = { "投诉" = "complaint", "Help" = "request" } }
service_code = "elder.meals"
[event.attrs]
priority = { column = "level", steps = [{ case = "lower" }, { cut = 3 }] }
[[event]]
type = "case.closed"
when = [{ column = "closed", empty = false }, { column = "kind", is_not = ["draft"] }]
[event.set]
occurred_at = "{closed}"
area_code = { from = "{value.area}", if_empty = "330502001005" }
subject_id = "{no}"
"#;

const HEADER: &str = "no,area,opened,closed,kind,level,phone\n";

fn rows(lines: &str) -> Vec<(u64, Outcome)> {
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    file.write_all(HEADER.as_bytes()).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    let reference = reference();
    let mapping = mapping(LOG, &reference);
    import(&PathBuf::from(file.path()), &mapping, &reference)
}

fn made(lines: &str) -> Vec<Made> {
    match rows(lines).remove(0) {
        (_, Outcome::Made(made)) => made,
        other => panic!("{other:?}"),
    }
}

fn refusal(lines: &str) -> (String, String, String) {
    match rows(lines).remove(0) {
        (_, Outcome::Refused(refusal)) => (refusal.code.to_owned(), refusal.field, refusal.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_row_becomes_the_events_whose_conditions_hold() {
    let events = made("7, 白鱼潭005 ,2024/3/1 9:05,2024/3/2 10:00,HELP,URGENT,\n");
    let [opened, closed] = events.as_slice() else {
        panic!("{events:?}");
    };
    let text = String::from_utf8(opened.json.clone()).unwrap();
    let event: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["occurred_at"], "2024-03-01T01:05:00.000Z");
    assert_eq!(event["area_code"], "330502001005");
    assert_eq!(event["subject_kind"], "case");
    assert_eq!(event["case_kind"], "request");
    assert_eq!(event["attrs"]["priority"], "urg");
    assert!(event.get("resident").is_none(), "nobody is named: {text}");
    assert_eq!(closed.event.event_type.as_deref(), Some("case.closed"));
    assert_ne!(opened.event.event_id, closed.event.event_id);
    let open = made("7,005,2024/3/1 9:05,,投诉,,\n");
    assert_eq!(open.len(), 1);
    assert_eq!(
        open[0].event.event_id, opened.event.event_id,
        "the columns that make the id are the same"
    );
}

#[test]
fn a_person_goes_to_the_collector_and_not_into_what_is_shown() {
    let made = made("7,005,2024/3/1 9:05,,投诉,,138 0013 8000\n").remove(0);
    let sent = String::from_utf8(made.json).unwrap();
    assert!(
        sent.contains("\"resident\":{\"id\":\"138 0013 8000\",\"kind\":\"phone\"}"),
        "{sent}"
    );
    assert!(made.people);
    assert!(!format!("{:?}", made.event).contains("8000"));
}

#[test]
fn a_refusal_names_column_and_rule_and_repeats_nothing_of_the_row() {
    for (line, code, field, secret) in [
        (
            "7,005,13800138000,,投诉,,\n",
            "M04",
            "occurred_at",
            "13800138000",
        ),
        (
            "7,005,2024/3/1 9:05,,Zhang San,,\n",
            "M02",
            "case_kind",
            "Zhang",
        ),
        ("7,005,,,投诉,,\n", "V02", "occurred_at", "投诉"),
        (",005,2024/3/1 9:05,,投诉,,\n", "M06", "event_id", "投诉"),
        ("7,999,2024/3/1 9:05,,投诉,,\n", "V04", "area_code", "投诉"),
        ("7,005,2024/3/1 9:05,,投诉,,x\n", "V01", "resident", "投诉"),
        (
            "13800138000,005,2024/3/1 9:05,,投诉,,\n",
            "V12",
            "subject_id",
            "13800138000",
        ),
        ("7,005,2024/3/1 9:05\n", "M01", "", "2024"),
        (
            "7,005,2024/3/1 9:05,2024/13/1 9:05,投诉,,\n",
            "M04",
            "occurred_at",
            "13",
        ),
    ] {
        let (found, at, reason) = refusal(line);
        assert_eq!(
            (found.as_str(), at.as_str()),
            (code, field),
            "{line} {reason}"
        );
        assert!(!reason.contains(secret), "{line} {reason}");
    }
}

#[test]
fn blank_rows_are_no_rows_and_skipped_ones_are_told_apart() {
    let outcomes = rows(",,,,,,\n\n7,005,2024/3/1 9:05,,投诉,,\n \n合计,1,,,,,\n");
    let numbers: Vec<u64> = outcomes.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [4, 6]);
    assert_eq!(outcomes[1].1, Outcome::Skipped);
}

#[test]
fn a_row_of_which_no_event_is_made_is_refused_and_not_lost() {
    let text = "[ids]\nnamespace='x'\ncolumns='no'\n[[event]]\ntype='visit.made'\nwhen={column='kind',is='visit'}\n\
        [event.set]\noccurred_at='{opened}'\narea_code='330502001005'\nsubject_id='{no}'";
    let reference = reference();
    let mapping = mapping(text, &reference);
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    writeln!(file, "{HEADER}7,005,2024/3/1 9:05,,call,,").unwrap();
    let outcomes = import(file.path(), &mapping, &reference);
    assert!(matches!(&outcomes[0].1, Outcome::Refused(refusal) if refusal.code == "M07"));
}

#[test]
fn a_pattern_of_a_condition_ignores_case_where_it_is_told_to() {
    let reference = reference();
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    writeln!(file, "{HEADER}7,005,2024-03-01 09:05,,Home VISIT,,").unwrap();
    for (ignore_case, made) in [("", false), (", ignore_case = true", true)] {
        let text = format!(
            "[time]\nzone='Asia/Shanghai'\n[ids]\nnamespace='x'\ncolumns='no'\n[[event]]\ntype='visit.made'\n\
             when={{column='kind',matches='visit$'{ignore_case}}}\n\
             [event.set]\noccurred_at='{{opened}}'\narea_code='330502001005'\nsubject_id='{{no}}'"
        );
        let outcomes = import(file.path(), &mapping(&text, &reference), &reference);
        assert_eq!(
            matches!(&outcomes[0].1, Outcome::Made(_)),
            made,
            "{outcomes:?}"
        );
    }
}

#[test]
fn text_in_another_encoding_refuses_its_row_and_says_what_to_do() {
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    file.write_all(HEADER.as_bytes()).unwrap();
    // 投诉 in GBK.
    file.write_all(b"7,005,2024/3/1 9:05,,\xCD\xB6\xCB\xDF,,\n")
        .unwrap();
    let reference = reference();
    let outcomes = import(file.path(), &mapping(LOG, &reference), &reference);
    match &outcomes[0] {
        (2, Outcome::Refused(refusal)) => {
            assert_eq!((refusal.code, refusal.field.as_str()), ("M01", "kind"));
            assert!(refusal.reason.contains("GB18030"), "{}", refusal.reason);
        }
        other => panic!("{other:?}"),
    }
}
