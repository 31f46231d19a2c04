//! A query that fails fails wherever it was asked: no exit code 0, no file, and nothing of a row in the server's log.

mod harness;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use harness::{Role, free_port, siji};
use serde_json::{Value, json};
use siji_lake::log::Change;
use siji_lake::schema::{LEDGER, ledger_schema};
use siji_lake::{Lake, LakeLocation, TableWriter};

/// Fails long after its first rows.
const LATE: &str = "SELECT 1 / (500000 - value) AS x FROM generate_series(1, 1000000)";
/// Fails at its first row, and quotes it.
const AT_ONCE: &str = "SELECT CAST(subject_id AS INT) FROM ledger";
const CONTENT: &str = "zhang-san-3305";

/// A lake with one row in its ledger.
async fn lake(path: &Path) {
    let location = LakeLocation::parse(path.to_str().unwrap(), BTreeMap::new()).unwrap();
    let lake = Lake::open_or_create(&location, "+08:00").await.unwrap();
    let mut ledger = TableWriter::open(&lake, &LEDGER).await.unwrap();
    let row = json!({
        "topic_epoch": 0, "partition": 0, "offset": 0, "offset_last": 0, "disposition": "accepted",
        "ingested_at": "2026-10-01T00:00:05Z", "subject_id": CONTENT,
    });
    let mut decoder = arrow::json::ReaderBuilder::new(ledger_schema())
        .build_decoder()
        .unwrap();
    decoder.serialize(&[row]).unwrap();
    let rows = decoder.flush().unwrap().unwrap();
    let file = ledger.write_file(None, &[rows]).await.unwrap();
    let change = Change {
        adds: vec![file],
        ..Change::default()
    };
    ledger.commit(change).await.unwrap();
}

fn sql(query: &str, of: &[&str], args: &[&str]) -> Output {
    let mut command = siji();
    command.arg("sql").arg(query).args(of).args(args);
    command.output().unwrap()
}

/// Exit 1 with one line that says why; what was printed before is no whole answer.
fn assert_failed(output: &Output, why: &str) {
    let error = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("siji: ") && error.contains(why), "{error}");
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_err());
}

/// Asks `of` a lake or a server.
fn fails_everywhere(of: &[&str], directory: &Path) {
    for (query, why) in [(LATE, "divide by zero"), (AT_ONCE, CONTENT)] {
        assert_failed(&sql(query, of, &["--format", "json"]), why);
        let file = directory.join("x.json");
        assert_failed(&sql(query, of, &["-o", file.to_str().unwrap()]), why);
        let left = std::fs::read_dir(directory).unwrap();
        let left: Vec<_> = left
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().starts_with("x.json"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    for format in ["csv", "ndjson", "arrow", "parquet"] {
        let output = sql(LATE, of, &["--format", format]);
        assert_eq!(output.status.code(), Some(1), "{format}");
    }
    let fine = sql("SELECT 1 AS a", of, &["--format", "json"]);
    assert_eq!(fine.status.code(), Some(0));
    let fine: Value = serde_json::from_slice(&fine.stdout).unwrap();
    assert_eq!(fine["rows"], json!([{ "a": 1 }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_query_fails_on_a_lake_and_on_a_server_and_its_rows_stay_out_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lake");
    lake(&path).await;
    tokio::task::block_in_place(|| {
        fails_everywhere(&["--lake", path.to_str().unwrap()], directory.path());
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = siji();
        command.args(["server", "--listen", &address, "--lake"]);
        command.arg(&path);
        let mut server = Role::start("server", directory.path(), command);
        server.wait_for_log("query server listening");
        let url = format!("http://{address}");
        fails_everywhere(&["--server", &url], directory.path());
        let log = server.log();
        assert!(
            log.contains("a query failed") && log.contains("execution"),
            "{log}"
        );
        assert!(!log.contains(CONTENT), "{log}");
    });
}
