//! Files of each kind, and the rejects file.

use std::io::Write;
use std::path::Path;

use super::super::{InputError, Outcome, RejectsFile, RowRefusal, open, open_from, rejects_path};
use super::{import, mapping, reference};

const MAP: &str = r#"
[time]
zone = "Asia/Shanghai"
[ids]
namespace = "desk"
columns = ["no"]
[[event]]
type = "visit.made"
[event.set]
occurred_at = "{when}"
area_code = "{place.area}"
subject_id = "{no}"
minutes = { column = "hours", multiply = 60 }
"#;

fn minutes(path: &Path) -> Vec<(u64, Option<i32>)> {
    let reference = reference();
    let outcomes = import(path, &mapping(MAP, &reference), &reference);
    let minutes = outcomes.into_iter().map(|(number, outcome)| match outcome {
        Outcome::Made(made) => (number, made[0].event.minutes),
        _ => (number, None),
    });
    minutes.collect()
}

fn file(ending: &str, content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(ending).tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

#[test]
fn lines_of_json_are_rows_with_the_paths_of_their_members_as_columns() {
    let lines = concat!(
        "{\"no\": 1, \"when\": \"2024-03-01 09:05:00\", \"place\": {\"area\": \"330502001005\"}, \"hours\": 1.50}\n",
        "\n",
        "{\"no\": 2, \"when\": \"2024-03-01 09:05:00\", \"place\": {\"area\": null}, \"hours\": 1}\n",
        "[1, 2]\n",
        "{\"no\": 3, \"hours\": \"0.25\", \"place\": {\"area\": \"330502001005\"}, \"when\": \"2024-03-01T09:05:00+08:00\"}\n",
    );
    assert_eq!(
        minutes(file(".ndjson", lines.as_bytes()).path()),
        [(1, Some(90)), (3, None), (4, None), (5, Some(15))]
    );
}

#[test]
fn tabs_and_a_byte_order_mark_are_understood() {
    let text = "\u{feff}no\twhen\tplace.area\thours\n1\t2024-03-01 09:05\t330502001005\t2\n";
    assert_eq!(
        minutes(file(".tsv", text.as_bytes()).path()),
        [(2, Some(120))]
    );
}

#[test]
fn a_sheet_has_its_own_numbers_dates_and_rows() {
    let book = super::sheet::book(&[
        &["s:Visits of March", "", "", ""],
        &["s:no", "s:when", "s:place.area", "s:hours"],
        &["n:17", "d:45352.378472222219", "s:330502001005", "n:1.5"],
        &["", "", "", ""],
        &["n:18", "s:2024-03-01 09:05", "n:330502001005", "n:2"],
    ]);
    let file = file(".xlsx", &book);
    let reference = reference();
    let text = format!("[input]\nheader_row = 2\n{MAP}");
    let outcomes = import(file.path(), &mapping(&text, &reference), &reference);
    let events: Vec<_> = outcomes
        .into_iter()
        .map(|(number, outcome)| match outcome {
            Outcome::Made(made) => {
                let event = made[0].event.clone();
                (
                    number,
                    event.subject_id.unwrap(),
                    event.occurred_at.unwrap(),
                    event.minutes,
                )
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let nine_five = 1_709_255_100_000;
    assert_eq!(
        events,
        [
            (3, "17".to_owned(), nine_five, Some(90)),
            (5, "18".to_owned(), nine_five, Some(120)),
        ]
    );
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_named_with_what_to_do() {
    let reference = reference();
    let mapping = mapping(MAP, &reference);
    for (ending, content, expected) in [
        (".csv", &b"PK\x03\x04rest"[..], "name it .xlsx"),
        (".csv", b"\x1f\x8b\x08\x00", "gzip"),
        (".csv", b"\xff\xfen\0", "UTF-16"),
        (".csv", b"", "is empty"),
        (
            ".csv",
            b"No;when\n",
            "none of its 1 columns has a name that the mapping uses (\"hours\", \"no\", \"place.area\", \"when\")",
        ),
        (
            ".csv",
            b"no,wen,place.area,hours\n",
            "the mapping uses columns that the file does not have: \"when\"; did you mean \"wen\"?",
        ),
        (
            ".csv",
            b"no,when,\"place\".area,hours\n",
            ":1: in the column names, text follows a closing quotation mark",
        ),
        (
            ".csv",
            b"no,when,place.area,hours\r1,2024-03-01 09:05,330502001005,1\r",
            "line ends are CR only",
        ),
        (".csv", b"\xb1\xe0\xba\xc5,when\n", "GB18030"),
        (".xlsx", b"no,when\n", "cannot be read as .xlsx"),
        (".doc", b"no,when\n", "set `format`"),
    ] {
        let file = file(ending, content);
        let error = open(file.path(), &mapping.input).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }
    let missing = open(Path::new("nowhere.csv"), &mapping.input)
        .err()
        .unwrap();
    assert!(
        missing.to_string().starts_with("nowhere.csv: "),
        "{missing}"
    );
}

fn error_of(ending: &str, content: &[u8]) -> InputError {
    let mapping = mapping(MAP, &reference());
    let file = file(ending, content);
    open(file.path(), &mapping.input).err().unwrap()
}

#[test]
fn the_first_row_of_a_file_without_a_header_is_not_shown() {
    let row = "张三,13800138000,Elm Street 7,on\n";
    let error = error_of(".csv", row.as_bytes()).reason;
    for secret in ["张三", "13800138000", "Elm"] {
        assert!(!error.contains(secret), "{error}");
    }
    assert!(error.contains("none of its 4 columns"), "{error}");
    assert!(error.contains("is this the header?"), "{error}");
    // A header that is one shows its names, and nothing in it that may be somebody's.
    let header = "No,phone 13800138000,Street\n";
    let error = error_of(".csv", header.as_bytes()).reason;
    assert!(error.contains("(it has No, Street and 1 that"), "{error}");
    assert!(!error.contains("13800138000"), "{error}");
}

#[test]
fn text_after_a_closing_quotation_mark_refuses_all_that_it_swallowed() {
    let text = concat!(
        "no,when,place.area,hours,note\n",
        "1,2024-03-01 09:05,330502001005,1,\"he said hi\n",
        "2,2024-03-01 09:06,330502001005,2,\"fine\"\n",
        "3,2024-03-01 09:07,330502001005,3,\"he said \"\"hi\"\"\"\n",
        "4,2024-03-01 09:08,330502001005,4,\"a\" b\n",
        "5,2024-03-01 09:09,330502001005,5,\"a\" \n",
    );
    let file = file(".csv", text.as_bytes());
    assert_eq!(
        minutes(file.path()),
        [(2, None), (4, Some(180)), (5, None), (6, Some(300))]
    );
    let reference = reference();
    let outcomes = import(file.path(), &mapping(MAP, &reference), &reference);
    let Outcome::Refused(refusal) = &outcomes[0].1 else {
        panic!("{outcomes:?}");
    };
    assert_eq!((refusal.code, refusal.field.as_str()), ("M01", ""));
    assert!(
        refusal.reason.contains("from line 2 to line 3"),
        "{refusal:?}"
    );
    assert!(!refusal.reason.contains("fine"), "{refusal:?}");
}

#[test]
fn a_member_that_stands_twice_refuses_its_line() {
    let rest =
        "\"when\": \"2024-03-01 09:05\", \"place\": {\"area\": \"330502001005\"}, \"hours\": 1}\n";
    let lines = [
        format!("{{\"no\": 1, \"no\": 2, {rest}"),
        format!("{{\"no\": 1, \"n\\u006f\": 1, {rest}"),
        format!("{{\"no\": 1, \"place\": {{\"b\": 1}}, {rest}"),
        format!("{{\"no\": 1, \"place.area\": \"330502\", {rest}"),
        format!("{{\"no\": 1, \"x\": {{\"y\": 1, \"y\": 2}}, {rest}"),
        format!("{{\"no\": 1, \"x\": {{\"no\": 1}}, {rest}"),
    ];
    let file = file(".ndjson", lines.concat().as_bytes());
    let expected = [None, None, None, None, None, Some(60)];
    assert_eq!(
        minutes(file.path()),
        (1..).zip(expected).collect::<Vec<(u64, Option<i32>)>>()
    );
    let reference = reference();
    let outcomes = import(file.path(), &mapping(MAP, &reference), &reference);
    for (_, outcome) in &outcomes[..5] {
        assert!(
            matches!(outcome, Outcome::Refused(refusal) if refusal.code == "M01" && refusal.reason.contains("stands twice")),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_sheet_with_a_cell_in_its_last_corner_takes_no_memory_for_what_lies_between() {
    let cell = |place: &str, text: &str| {
        format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
    };
    let (first, last) = (cell("A1", "no"), cell("XFD1048576", "13800138000"));
    let book = super::sheet::book_of(&format!(
        "<dimension ref=\"A1:B2\"/><sheetData><row r=\"1\">{first}</row><row r=\"1048576\">{last}</row></sheetData>"
    ));
    let error = error_of(".xlsx", &book);
    assert_eq!(error.row, Some(1_048_576));
    assert!(
        error
            .reason
            .contains("over 1048576 rows and 16384 columns: at most 20000000 cells"),
        "{error}"
    );
    assert!(!error.reason.contains("138001"), "{error}");
}

#[test]
fn reading_goes_on_where_it_stopped_with_the_same_line_numbers() {
    let header = "no,when,place.area,hours\n";
    let text = format!("{header}1,a,b,1\n\n2,\"x\ny\",b,2\n3,a,b,3\n");
    let file = file(".csv", text.as_bytes());
    let reference = reference();
    let mapping = mapping(MAP, &reference);
    let mut whole = open(file.path(), &mapping.input).unwrap();
    let mut expected = Vec::new();
    while let Some(row) = whole.next_row().unwrap() {
        expected.push((row.number, row.end, row.fields));
    }
    assert_eq!(
        expected.iter().map(|row| row.0).collect::<Vec<_>>(),
        [2, 4, 6]
    );
    for from in 0..expected.len() {
        let (last, end, _) = &expected[from];
        let breaks = if *last == 4 { 1 } else { 0 };
        let mut rest = open_from(file.path(), &mapping.input, *end, last + breaks).unwrap();
        for row in &expected[from + 1..] {
            let found = rest.next_row().unwrap().unwrap();
            assert_eq!(
                (found.number, found.end, &found.fields),
                (row.0, row.1, &row.2)
            );
        }
        assert!(rest.next_row().unwrap().is_none());
    }
}

#[test]
fn a_rejects_file_is_there_as_a_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.csv");
    std::fs::write(&path, "no,note\n1,\"a, b\"\n2\n").unwrap();
    let text = MAP
        .replace("{when}", "{no}")
        .replace("{place.area}", "{no}")
        .replace("\"hours\"", "\"no\"");
    let mapping = mapping(&text, &reference());
    let refusal = RowRefusal {
        code: "M04",
        field: "occurred_at".to_owned(),
        reason: "no time, at all".to_owned(),
    };
    let place = rejects_path(&path, None);
    assert_eq!(place, directory.path().join("log.csv.rejects.csv"));
    let refuse = |finish: bool| {
        let mut source = open(&path, &mapping.input).unwrap();
        let mut rejects = RejectsFile::new(&place, source.header().map(|header| &**header));
        while let Some(row) = source.next_row().unwrap() {
            rejects.add(&row, &refusal).unwrap();
        }
        if finish {
            rejects.finish().unwrap();
        }
    };
    refuse(false);
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        1,
        "broken off: nothing stays"
    );
    refuse(true);
    assert_eq!(
        std::fs::read_to_string(&place).unwrap(),
        "row,code,field,reason,no,note\n2,M04,occurred_at,\"no time, at all\",1,\"a, b\"\n3,M04,occurred_at,\"no time, at all\",2,\n"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&place).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // Nothing is refused the next time.
    let source = open(&path, &mapping.input).unwrap();
    let none = RejectsFile::new(&place, source.header().map(|header| &**header));
    assert_eq!(none.finish().unwrap(), None);
    assert!(!place.exists());
}
