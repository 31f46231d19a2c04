//! An exported table is whole, says what it is, and adds up with the lake.

mod harness;

use std::path::{Path, PathBuf};
use std::process::Output;

use harness::siji;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/ottawa")
        .join(name)
}

fn lake(directory: &Path) -> PathBuf {
    let log = directory.join("requests.csv");
    std::fs::copy(example("requests.csv"), &log).unwrap();
    let output = siji()
        .args(["import", "--mapping"])
        .arg(example("mapping.toml"))
        .arg("--data-dir")
        .arg(directory.join("data"))
        .arg(log)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    directory.join("data/lake")
}

fn export(lake: &Path, out: &Path, args: &[&str]) -> Output {
    siji()
        .args(["export", "--output", "json", "--lake"])
        .arg(lake)
        .arg("-o")
        .arg(out)
        .args(args)
        .output()
        .unwrap()
}

/// The manifest; every file is as it says.
fn checked(manifest: &Path) -> Value {
    let manifest_text = std::fs::read_to_string(manifest).unwrap();
    let object: Value = serde_json::from_str(&manifest_text).unwrap();
    let mut rows = 0;
    for file in object["files"].as_array().unwrap() {
        let path = manifest
            .parent()
            .unwrap()
            .join(file["path"].as_str().unwrap());
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(file["bytes"], bytes.len(), "{path:?}");
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
        assert_eq!(file["sha256"], digest, "{path:?}");
        let reader =
            parquet::file::reader::SerializedFileReader::new(std::fs::File::open(&path).unwrap());
        use parquet::file::reader::FileReader;
        let found = reader.unwrap().metadata().file_metadata().num_rows();
        assert_eq!(file["rows"], found, "{path:?}");
        rows += found;
    }
    assert_eq!(object["rows"], rows);
    object
}

#[test]
fn an_export_is_whole_and_says_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(directory.path());
    let one = directory.path().join("cases.parquet");
    let output = export(
        &lake,
        &one,
        &["--table", "events", "--where", "event_type = 'case.opened'"],
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let manifest = checked(&directory.path().join("cases.parquet.manifest.json"));
    assert_eq!(manifest["rows"], 42);
    assert!(
        manifest["versions"]
            .as_str()
            .unwrap()
            .starts_with("ledger="),
        "{manifest}"
    );
    let columns = manifest["columns"].as_array().unwrap();
    assert!(
        columns
            .iter()
            .any(|column| column["name"] == "occurred_at" && column["type"] == "timestamptz")
    );

    // As shells complete the names of directories.
    let parts = directory.path().join("parts/");
    let output = export(
        &lake,
        &parts,
        &["--table", "events", "--partition-by", "area_code"],
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let manifest = checked(&parts.join("_manifest.json"));
    assert_eq!(manifest["files"].as_array().unwrap().len(), 24);
    assert!(parts.join("area_code=OTT07/part-00000.parquet").exists());
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, manifest, "what is printed is the manifest");

    // Nothing is written over, and a query that fails leaves nothing.
    let again = export(&lake, &parts, &["--table", "events"]);
    assert_eq!(again.status.code(), Some(2));
    let before = std::fs::read_dir(directory.path()).unwrap().count();
    let broken = export(
        &lake,
        &directory.path().join("none"),
        &["--table", "events", "--where", "nothing = 1"],
    );
    assert_eq!(broken.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), before);
}
