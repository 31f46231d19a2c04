//! Mapping files, good and bad.

use std::io::Write;

use super::super::Outcome;
use super::{import, mapping, problems, reference};

const GOOD: &str = r#"
[time]
zone = "Asia/Shanghai"
[ids]
namespace = "desk"
columns = ["no"]
[[event]]
type = "visit.made"
[event.set]
occurred_at = "{when}"
area_code = "330502001005"
subject_id = "v-{no}"
minutes = "{minutes}"
"#;

#[test]
fn a_small_mapping_is_enough() {
    let mapping = mapping(GOOD, &reference());
    let used: Vec<&str> = mapping.input.used.iter().map(String::as_str).collect();
    assert_eq!(used, ["minutes", "no", "when"]);
    assert!(!mapping.names_people());
}

#[test]
fn all_mistakes_of_a_file_are_named_at_once_with_their_lines() {
    let text = r#"
[input]
delimeter = ";"
header_row = "1"
[time]
zone = "Asia/Shangai"
formats = ["%Y-%m-%d", "yesterday"]
[ids]
columns = ["no"]
repeated = "keep"
[[event]]
type = "visit.made"
[event.set]
occured_at = "{when}"
area_code = { column = "area", map = "areas" }
subject_id = "v-{no"
minutes = { column = "minutes", steps = [{ extract = '(\d+' }] }
event_id = "{no}"
"#;
    let found = problems(text);
    for expected in [
        "3: unknown key delimeter: expected one of format",
        "did you mean \"delimiter\"?",
        "4: header_row is a string: expected a whole number",
        "6: no zone is called \"Asia/Shangai\"",
        "7: \"yesterday\" is no form of times",
        "namespace is missing",
        "10: repeated is \"keep\": expected one of drop, number",
        "14: an event has no column occured_at; did you mean \"occurred_at\"?",
        "15: no map \"areas\" is defined in [maps]",
        "16: \"v-{no\" has a single brace",
        "17: no regular expression",
        "18: event_id is not for a mapping to set",
    ] {
        assert!(
            found.iter().any(|problem| problem.contains(expected)),
            "{expected}\nis not in\n{}",
            found.join("\n")
        );
    }
}

#[test]
fn a_replacement_by_a_group_that_is_not_there_is_refused() {
    let with = |with: &str| {
        let step = format!("{{ replace = '^(.*)$', with = \"{with}\" }}");
        let value = format!("{{ column = \"no\", steps = [{step}] }}");
        GOOD.replace("\"v-{no}\"", &value)
    };
    let found = problems(&with("desk_$1_2024"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("12: with names the group \"1_2024\"")
            && found[0].contains("write ${1}"),
        "{found:?}"
    );
    mapping(&with("desk_${1}_2024 $$ 5"), &reference());
}

#[test]
fn words_areas_and_services_of_the_mapping_itself_are_checked_before_a_row_is_read() {
    let text = r#"
[time]
zone = "Asia/Shanghai"
[ids]
namespace = "desk"
columns = ["no"]
[[event]]
type = "case.opened"
[event.set]
occurred_at = "{when}"
area_code = { column = "area", map = { "one" = "330502001005", "two" = "330599" } }
subject_id = "{no}"
channel = "hot line"
case_kind = { column = "kind", map = { "a" = "request" }, otherwise = "complain" }
service_code = "elder"
[event.attrs]
urgancy = "{kind}"
[[event]]
type = "case.opend"
"#;
    let found = problems(text);
    for expected in [
        "11: \"330599\" is no area of the registry",
        "13: \"hot line\" is no channel",
        "did you mean \"hotline\"?",
        "14: \"complain\" is no case_kind",
        "15: service \"elder\" is a group",
        "17: case.opened has no attribute urgancy; did you mean \"urgency\"?",
        "19: event type \"case.opend\" is not in the catalogue; did you mean \"case.opened\"?",
    ] {
        assert!(
            found.iter().any(|problem| problem.contains(expected)),
            "{expected}\nis not in\n{}",
            found.join("\n")
        );
    }
}

#[test]
fn what_an_event_type_needs_must_be_set() {
    let text = GOOD
        .replace("subject_id = \"v-{no}\"\n", "")
        .replace("visit.made", "case.opened");
    let found = problems(&text).join("\n");
    for expected in ["needs subject_id", "needs case_kind", "needs channel"] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn two_events_of_one_type_need_names() {
    let twice = format!("{GOOD}[[event]]\ntype = \"visit.made\"\n");
    assert!(
        problems(&twice)
            .join("\n")
            .contains("two events are called \"visit.made\"")
    );
}

/// The blocks of the document between two of its words.
fn document(from: &str, to: &str) -> String {
    let text = include_str!("../../../../docs/import.md");
    let part = text.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let lines = part.lines().filter_map(|line| line.strip_prefix("    "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_mapping_that_the_document_teaches_works_on_its_own_log() {
    let reference = reference();
    let mapping = mapping(&document("**1.", "**4."), &reference);
    assert!(mapping.names_people());
    let mut log = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    log.write_all(document("`desk.csv`:", "**1.").as_bytes())
        .unwrap();
    let events: Vec<usize> = import(log.path(), &mapping, &reference)
        .into_iter()
        .map(|(_, outcome)| match outcome {
            Outcome::Made(made) => made.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(events, [2, 1]);
}
