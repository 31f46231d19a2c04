//! An old log comes in once: every row is accepted, a duplicate, or refused with its reason, and a second import adds
//! nothing.

mod harness;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use harness::{Role, Site, TOKEN, siji};
use serde_json::Value;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/ottawa")
        .join(name)
}

fn import(data_dir: &Path, files: &[&Path]) -> Output {
    siji()
        .args(["import", "--output", "json", "--mapping"])
        .arg(example("mapping.toml"))
        .arg("--data-dir")
        .arg(data_dir)
        .args(files)
        .output()
        .unwrap()
}

fn counts(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn sums(report: &Value) -> [i64; 4] {
    ["rows", "accepted", "duplicate", "refused"].map(|name| report[name].as_i64().unwrap())
}

fn sql(data_dir: &Path, query: &str) -> Vec<Value> {
    let output = siji()
        .args(["sql", query, "--output", "json", "--lake"])
        .arg(data_dir.join("lake"))
        .output()
        .unwrap();
    let answer = counts(&output);
    answer["rows"].as_array().unwrap().clone()
}

/// The sample, where nobody else writes beside it.
fn sample(directory: &Path) -> PathBuf {
    let log = directory.join("requests.csv");
    std::fs::copy(example("requests.csv"), &log).unwrap();
    log
}

#[test]
fn a_log_comes_in_once_and_its_rollups_add_up() {
    let directory = tempfile::tempdir().unwrap();
    let (log, data) = (sample(directory.path()), directory.path().join("data"));
    let report = counts(&import(&data, &[&log]));
    assert_eq!(sums(&report), [49, 42, 7, 0], "{report}");
    assert_eq!(report["rejects_files"], serde_json::json!([]));

    let by_ward = sql(
        &data,
        "SELECT area_code, count(*) AS n FROM events WHERE event_type = 'case.opened' GROUP BY 1 ORDER BY 1",
    );
    let of = |ward: &str| {
        let row = by_ward.iter().find(|row| row["area_code"] == ward);
        row.map_or(0, |row| row["n"].as_i64().unwrap())
    };
    assert_eq!(
        of("OTT"),
        7,
        "blank and undetermined wards belong to the city"
    );
    assert_eq!(
        (of("OTT07"), of("OTT12"), of("OTT17"), of("OTT22")),
        (2, 2, 2, 2)
    );
    assert_eq!(by_ward.len(), 24, "all wards and the city: {by_ward:?}");
    for tier in ["community", "district", "city"] {
        let query =
            format!("SELECT sum(events) AS n FROM rollup_{tier} WHERE event_type = 'case.opened'");
        assert_eq!(sql(&data, &query)[0]["n"], 42, "{tier}");
    }
    let spring = sql(
        &data,
        "SELECT occurred_at FROM events WHERE area_code = 'OTT08' AND occurred_at > '2014-03-01' ORDER BY 1",
    );
    assert_eq!(
        spring[0]["occurred_at"], "2014-03-09T17:06:00Z",
        "the clocks were set forward that morning"
    );

    let again = counts(&import(&data, &[&log]));
    assert_eq!(sums(&again), [49, 0, 49, 0], "{again}");
    let verify = siji()
        .args(["verify", "--lake"])
        .arg(data.join("lake"))
        .output()
        .unwrap();
    assert!(
        verify.status.success(),
        "{}",
        String::from_utf8_lossy(&verify.stdout)
    );
}

#[test]
fn refused_rows_are_found_again_with_their_lines_and_reasons() {
    let directory = tempfile::tempdir().unwrap();
    let (log, data) = (
        directory.path().join("bad.csv"),
        directory.path().join("data"),
    );
    let lines = [
        "creation_date,ward,call_description,call_type,maintenance_yard,priority_name",
        "2014-Jan-03 14:05:01,Ward 16,Noise,Bylaw Services,,CC PHONE",
        "2014-Jan-03 14:05:01,Ward sixteen,Noise,Bylaw Services,,CC PHONE",
        "",
        "yesterday,Ward 16,Noise,Bylaw Services,,CC PHONE",
        "2014-Jan-03 14:05:01,Ward 99,Noise,Bylaw Services,,CC PHONE",
        "3/9/2014 2:30,Ward 16,Noise,Bylaw Services,,CC PHONE",
        "2014-Jan-03 14:05:01,Ward 16,Noise",
        "2014-Jan-04 14:05:01,Ward 16,call 13800138000,Bylaw Services,,CC PHONE",
        "2014-Jan-03 14:05:01,Ward 16,Noise,Bylaw Services,,CC PHONE",
    ];
    std::fs::write(&log, lines.join("\n")).unwrap();
    let report = counts(&import(&data, &[&log]));
    assert_eq!(sums(&report), [8, 1, 1, 6], "{report}");
    let rejects = directory.path().join("bad.csv.rejects.csv");
    assert_eq!(report["rejects_files"][0], rejects.to_str().unwrap());
    let mut reader = csv::Reader::from_path(&rejects).unwrap();
    let found: Vec<(String, String, String)> = reader
        .records()
        .map(|record| {
            let record = record.unwrap();
            let line: usize = record[0].parse().unwrap();
            let original: Vec<&str> = lines[line - 1].split(',').collect();
            let kept: Vec<&str> = record.iter().skip(4).take(original.len()).collect();
            assert_eq!(kept, original, "the row as it came");
            assert!(!record[3].contains("13800138000"), "{record:?}");
            (
                record[0].to_owned(),
                record[1].to_owned(),
                record[2].to_owned(),
            )
        })
        .collect();
    let expected = [
        ("3", "M03", "area_code"),
        ("5", "M04", "occurred_at"),
        ("6", "V04", "area_code"),
        ("7", "M04", "occurred_at"),
        ("8", "M01", ""),
        ("9", "V12", "attrs.category"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(line, code, field)| ((*line).to_owned(), (*code).to_owned(), (*field).to_owned()))
        .collect();
    assert_eq!(found, expected);

    // Corrected, the file comes in, and what came in before counts once.
    let good = lines
        .iter()
        .enumerate()
        .filter(|(at, _)| matches!(at, 0 | 1 | 9));
    let good: Vec<&str> = good.map(|(_, line)| *line).collect();
    std::fs::write(&log, good.join("\n")).unwrap();
    assert_eq!(sums(&counts(&import(&data, &[&log]))), [2, 0, 2, 0]);
    assert!(!rejects.exists(), "nothing is refused any more");
}

#[test]
fn an_import_that_is_interrupted_is_completed_by_the_same_command() {
    let directory = tempfile::tempdir().unwrap();
    let (log, data) = (
        directory.path().join("long.csv"),
        directory.path().join("data"),
    );
    let mut text =
        "creation_date,ward,call_description,call_type,maintenance_yard,priority_name\n".to_owned();
    let rows = 40_000;
    for row in 0..rows {
        let (hour, minute, second) = (row / 3600 % 24, row / 60 % 60, row % 60);
        let (day, ward) = (1 + row / 86_400, 1 + row % 23);
        text.push_str(&format!(
            "2014-Jan-{day:02} {hour:02}:{minute:02}:{second:02},Ward {ward},Noise,Bylaw Services,,CC PHONE\n"
        ));
    }
    std::fs::write(&log, text).unwrap();
    let mut command = siji();
    command
        .args(["import", "--mapping"])
        .arg(example("mapping.toml"));
    command.arg("--data-dir").arg(&data).arg(&log);
    let role = Role::start("import", directory.path(), command);
    let spool = data.join("collectors");
    harness::wait_for("the import to begin", || spool.exists().then_some(()));
    std::thread::sleep(Duration::from_millis(700));
    let (code, took) = role.terminate();
    assert!(took < Duration::from_secs(10), "{took:?}");
    // On a fast machine it may have been done by then.
    assert!(code == Some(1) || code == Some(0), "{code:?}");
    let report = counts(&import(&data, &[&log]));
    let [all, accepted, duplicate, refused] = sums(&report);
    assert_eq!((all, refused), (rows, 0), "{report}");
    assert_eq!(accepted + duplicate, rows, "{report}");
    let found = sql(
        &data,
        "SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM events WHERE event_type = 'case.opened'",
    );
    assert_eq!(
        (&found[0]["n"], &found[0]["ids"]),
        (&rows.into(), &rows.into())
    );
}

#[test]
fn a_dry_run_shows_what_would_come_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let log = sample(directory.path());
    let output = siji()
        .args(["import", "--dry-run", "--output", "json", "--mapping"])
        .arg(example("mapping.toml"))
        .arg(&log)
        .output()
        .unwrap();
    let report = counts(&output);
    assert_eq!(
        (&report["rows"], &report["would_send"]),
        (&49.into(), &49.into())
    );
    assert_eq!(report["first"][0]["events"][0]["area_code"], "OTT02");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_mapping_that_cannot_work_is_told_with_file_and_line_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let mapping = directory.path().join("map.toml");
    std::fs::write(
        &mapping,
        "[ids]\nnamespace = \"x\"\ncolumns = \"all\"\n[[event]]\ntype = \"case.opned\"\n",
    )
    .unwrap();
    let data = directory.path().join("data");
    let output = siji()
        .args(["import", "--mapping"])
        .arg(&mapping)
        .arg("--data-dir")
        .arg(&data)
        .arg(example("requests.csv"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("map.toml:5: event type \"case.opned\""),
        "{said}"
    );
    assert!(said.contains("did you mean \"case.opened\"?"), "{said}");
    assert!(!data.exists());
}

#[test]
fn through_a_collector_each_row_is_sent_or_refused_and_sent_again_counts_once() {
    let site = Site::new();
    let _aggregator = site.start_aggregator();
    let _collector = site.start_collector();
    let mapping = site.path("map.toml");
    let text = "[time]\nzone = \"Asia/Shanghai\"\n[ids]\nnamespace = \"desk\"\ncolumns = [\"no\"]\n\
        [[event]]\ntype = \"case.opened\"\nresident = { kind = \"phone\", id = \"{phone}\" }\n\
        [event.set]\noccurred_at = \"{when}\"\nrecorded_at = \"{when}\"\narea_code = \"{area}\"\n\
        subject_id = \"{no}\"\ncase_kind = \"request\"\nchannel = \"hotline\"\n";
    std::fs::write(&mapping, text).unwrap();
    let log = site.path("log.csv");
    std::fs::write(
        &log,
        "no,when,area,phone\n1,2024-03-01 09:00,330502001005,13800138000\n2,2024-03-01 09:05,330521001001,\n3,soon,330502001005,\n",
    )
    .unwrap();
    let import = |token: &str| {
        let url = site.collector_url("/");
        let args = [
            "--collector",
            &url,
            "--token",
            token,
            "--output",
            "json",
            "--mapping",
        ];
        let mut command = site.command("import");
        command.args(args).arg(&mapping).arg(&log).output().unwrap()
    };
    for _ in 0..2 {
        let report = counts(&import(TOKEN));
        let sums = ["rows", "sent", "refused"].map(|name| report[name].as_i64().unwrap());
        assert_eq!(sums, [3, 1, 2], "{report}");
    }
    let rejects = std::fs::read_to_string(site.path("log.csv.rejects.csv")).unwrap();
    let codes: Vec<&str> = rejects.lines().skip(1).map(|line| &line[..5]).collect();
    assert_eq!(codes, ["3,V14", "4,M04"], "{rejects}");
    harness::wait_for("both imports", || {
        let found = "SELECT count(*) AS n FROM ledger WHERE event_type = 'case.opened' AND disposition IN ('accepted', 'duplicate')";
        (site.number(found) == 2).then_some(())
    });
    let events =
        site.sql("SELECT resident_ref, recorded_at FROM events WHERE event_type = 'case.opened'");
    assert_eq!(events.len(), 1, "sent again, it counts once");
    assert!(
        events[0]["resident_ref"]
            .as_str()
            .unwrap()
            .starts_with("r_")
    );
    assert_eq!(events[0]["recorded_at"], "2024-03-01T01:00:00Z");

    let refused = import("another token");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("401") && said.contains("--token"), "{said}");
}
