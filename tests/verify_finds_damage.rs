//! An audit that cannot fail is no audit: what is taken from a lake is found missing.

mod harness;

use std::path::{Path, PathBuf};

use harness::{Site, new_id, visit};
use serde_json::json;

/// A lake of several commits, at rest.
async fn lake() -> Site {
    let site = Site::new();
    let aggregator = site.start_aggregator();
    let collector = site.start_collector();
    let client = reqwest::Client::new();
    for round in 1..=5 {
        let events: Vec<_> = (0..20).map(|minutes| visit(&new_id(), minutes)).collect();
        let (status, _) = site
            .send(&client, json!(events).to_string().into_bytes())
            .await
            .unwrap();
        assert_eq!(status, 202);
        tokio::task::block_in_place(|| site.wait_for_records(20 * round + 1));
    }
    tokio::task::block_in_place(|| {
        assert_eq!(collector.terminate().0, Some(0));
        assert_eq!(aggregator.terminate().0, Some(0));
    });
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
    site
}

fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Takes `file` away, expects a difference, and puts it back.
fn expect_difference_without(site: &Site, file: &Path) {
    let aside = site.path("aside");
    std::fs::rename(file, &aside).unwrap();
    let (code, report) = site.verify();
    assert_eq!(code, Some(3), "without {}: {report}", file.display());
    assert_eq!(report["ok"], json!(false));
    assert!(
        !report["differences"].as_array().unwrap().is_empty(),
        "{report}"
    );
    std::fs::rename(&aside, file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parquet_file_or_a_commit_that_is_taken_away_is_missed() {
    let site = lake().await;
    tokio::task::block_in_place(|| {
        for table in ["ledger", "rollup"] {
            let data = files(&site.path("lake").join(table), ".parquet");
            for file in [data.first().unwrap(), data.last().unwrap()] {
                expect_difference_without(&site, file);
            }
            let log = files(&site.path("lake").join(table).join("_delta_log"), ".json");
            // One in the middle, and the last one.
            for entry in [&log[log.len() / 2], log.last().unwrap()] {
                expect_difference_without(&site, entry);
            }
        }
        let (code, report) = site.verify();
        assert_eq!(code, Some(0), "{report}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_counts_twice_is_noticed() {
    let site = lake().await;
    tokio::task::block_in_place(|| {
        for table in ["ledger", "rollup"] {
            let log = site.path("lake").join(table).join("_delta_log");
            let entries = files(&log, ".json");
            let text = std::fs::read_to_string(entries.last().unwrap()).unwrap();
            let add = text
                .lines()
                .find(|line| line.starts_with("{\"add\""))
                .unwrap_or_else(|| panic!("no file in {text}"));
            // The same rows under another name, in a commit of their own.
            let mut add: serde_json::Value = serde_json::from_str(add).unwrap();
            let name = add["add"]["path"].as_str().unwrap().to_owned();
            let copy = name.replace("part-", "part-copy-");
            std::fs::copy(
                site.path("lake").join(table).join(&name),
                site.path("lake").join(table).join(&copy),
            )
            .unwrap();
            add["add"]["path"] = json!(copy);
            let next = log.join(format!("{:020}.json", entries.len()));
            std::fs::write(&next, add.to_string()).unwrap();
            let (code, report) = site.verify();
            assert_eq!(code, Some(3), "{table}: {report}");
            std::fs::remove_file(next).unwrap();
        }
    });
}
