//! What is said about registries that are wrong.

use std::path::Path;

use super::*;

/// File name, line and reason of every problem of one registry file.
fn problems_of(rows: &str) -> Vec<(u64, String)> {
    let text = format!("{HEADER}{rows}");
    let problems = load_files(&[("areas.csv", text.as_bytes())]).expect_err("problems");
    problems
        .iter()
        .map(|problem| {
            assert!(Path::new(&problem.file).ends_with("areas.csv"), "{problem}");
            (problem.line, problem.reason.clone())
        })
        .collect()
}

#[test]
fn every_mistake_of_a_registry_is_named_with_its_line() {
    let cases = [
        (
            "33,,province,省,,,\n3305,34,city,市,,,\n",
            3,
            "parent 34 of 3305 is in no registry",
        ),
        (
            "3305,,city,市,,,\n33,3305,province,省,,,\n",
            3,
            "wrong tier order",
        ),
        (
            "3305,,city,市,,,\n330502,3305,city,区,,,\n",
            3,
            "wrong tier order",
        ),
        (
            "3305,,city,市,,,2010-01-02\n3305,,city,市,,2010-01-01,\n",
            3,
            "overlaps",
        ),
        (
            "3305,,city,市,,2010-13-01,\n",
            2,
            "valid_from \"2010-13-01\" is no date",
        ),
        (
            "3305,,city,市,,,2010-1-1\n",
            2,
            "valid_to \"2010-1-1\" is no date",
        ),
        ("3305,,city,市,,2010-01-01,2010-01-01\n", 2, "never holds"),
        ("33o5,,city,市,,,\n", 2, "is no code"),
        ("3305020010055,,city,市,,,\n", 2, "is no code"),
        (
            "3305,,city,市,,,\n330500000000,3305,district,区,,,\n",
            3,
            "same 12-digit form 330500000000",
        ),
        ("3305,,town,市,,,\n", 2, "tier \"town\" is unknown"),
        ("3305,,city,市,suburb,,\n", 2, "kind \"suburb\" is unknown"),
        ("3305,,city,,,,\n", 2, "name is empty"),
        ("3305,,city,市,,\n", 2, "has 6 fields: expected 7"),
        (
            "3305,,city,市,,,\n330502,,district,区,,,\n",
            3,
            "a district without a parent",
        ),
        (
            "3305,,city,市,,,2010-01-01\n330502,3305,district,区,,,\n",
            3,
            "not valid for all the life of 330502: from 2010-01-01",
        ),
        (
            "3305,,city,市,,,2010-01-01\n3305,,district,区,,2010-01-01,\n",
            3,
            "is a district here and a city in",
        ),
    ];
    for (rows, line, reason) in cases {
        let found = problems_of(rows);
        assert!(
            found
                .iter()
                .any(|(at, why)| *at == line && why.contains(reason)),
            "{rows:?} gave {found:?}"
        );
    }
}

#[test]
fn a_cycle_of_parents_is_named_with_its_members() {
    let found = problems_of(
        "33,,province,省,,,\n3301,3302,city,甲,,,\n3302,3303,city,乙,,,\n3303,3301,city,丙,,,\n",
    );
    assert!(
        found
            .iter()
            .any(|(line, why)| *line == 5 && why.contains("cycle") && why.contains("3303")),
        "{found:?}"
    );
}

#[test]
fn all_problems_of_all_files_are_collected_in_order() {
    let wrong_header = b"code,parent\n1,2\n".as_slice();
    let not_utf8 = [
        HEADER.as_bytes(),
        b"3305,,city,\xba\xfe\xd6\xdd,,,\n3305,,city,x,,bad,bad\n",
    ]
    .concat();
    let problems = load_files(&[
        ("b.csv", &not_utf8),
        ("a.csv", wrong_header),
        ("c.csv", b""),
        ("area_changes.csv", b"date,kind,from_code,to_code,share,note\n2010-07-01,grow,1,2,1.5,\n2010-07-01,move,9,9,1,\n"),
        ("d.csv.zst", b"not zstd"),
    ])
    .expect_err("problems");
    let found: Vec<String> = problems
        .iter()
        .map(|p| {
            let file = Path::new(&p.file)
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            format!("{file}:{} {}", p.line, p.reason)
        })
        .collect();
    let expected = [
        "a.csv:1 wrong header",
        "area_changes.csv:2 kind \"grow\"",
        "area_changes.csv:2 share \"1.5\"",
        "area_changes.csv:3 from_code 9 is in no registry",
        "area_changes.csv:3 to_code 9 is in no registry",
        "b.csv:2 is not UTF-8",
        "b.csv:3 valid_from \"bad\"",
        "b.csv:3 valid_to \"bad\"",
        "c.csv:1 is empty",
        "d.csv.zst:0 is no valid zstd file",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} instead of {expected}");
    }
    let text = problems.to_string();
    assert!(text.starts_with("10 problems in reference files"), "{text}");
}
