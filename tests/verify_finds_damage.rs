//! An audit that cannot fail is no audit: what is taken from a lake is found missing.

mod harness;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, MapArray, RecordBatch, StructArray};
use arrow::array::{StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int32Type;
use harness::{Site, new_id, visit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

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

/// Runs `check` while the named entries of the lake are elsewhere.
fn without(site: &Site, names: &[&str], check: impl FnOnce()) {
    let (lake, aside) = (site.path("lake"), site.path("aside-tables"));
    std::fs::create_dir_all(&aside).unwrap();
    for name in names {
        std::fs::rename(lake.join(name), aside.join(name)).unwrap();
    }
    check();
    for name in names {
        std::fs::rename(aside.join(name), lake.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_taken_away_are_missed() {
    let site = lake().await;
    tokio::task::block_in_place(|| {
        for gone in [
            &["ledger"][..],
            &["rollup"],
            &["registers"],
            &["ref_areas"],
            &["ledger", "rollup", "registers"],
            &["ledger", "rollup", "registers", "ref_areas"],
        ] {
            without(&site, gone, || {
                let (code, report) = site.verify();
                assert_eq!(code, Some(3), "without {gone:?}: {report}");
            });
        }
        let (code, report) = site.verify();
        assert_eq!(code, Some(0), "{report}");
    });
}

/// Rewrites every entry of a table's log, line by line; `None` leaves a line out.
fn rewrite_log(site: &Site, table: &str, mut change: impl FnMut(Value) -> Option<Value>) {
    for entry in files(&site.path("lake").join(table).join("_delta_log"), ".json") {
        let text = std::fs::read_to_string(&entry).unwrap();
        let lines = text
            .lines()
            .filter_map(|line| change(serde_json::from_str(line).unwrap()));
        let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
        std::fs::write(&entry, lines.join("\n")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_whose_rows_are_gone_are_not_taken_for_beginnings() {
    let site = lake().await;
    tokio::task::block_in_place(|| {
        for table in ["ledger", "rollup", "registers"] {
            rewrite_log(&site, table, |mut line| {
                // Entries that do not say how many actions they have, as other programs write them.
                if let Some(info) = line.get_mut("commitInfo") {
                    info.as_object_mut().unwrap().remove("sijiActions");
                }
                line.get("add").is_none().then_some(line)
            });
        }
        let (code, report) = site.verify();
        assert_eq!(code, Some(3), "{report}");
        let differences = report["differences"].to_string();
        assert!(differences.contains("there are no rows"), "{report}");
    });
}

/// A file of the roll-up with its rows, and the rows with durations.
struct Durations {
    path: PathBuf,
    rows: RecordBatch,
    with: Vec<usize>,
}

/// The first file of the community tier with durations in two areas at least.
fn durations(site: &Site) -> Option<Durations> {
    let tier = site.path("lake").join("rollup").join("tier=community");
    files(&tier, ".parquet").into_iter().find_map(|path| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap());
        let mut batches = reader.unwrap().build().unwrap();
        let rows = batches.next()?.unwrap();
        let histograms = rows.column_by_name("minutes_hist").unwrap();
        let with: Vec<usize> = (0..rows.num_rows())
            .filter(|row| histograms.is_valid(*row))
            .collect();
        let codes: &StringArray = rows.column_by_name("area_code").unwrap().as_string();
        let areas: std::collections::BTreeSet<&str> =
            with.iter().map(|row| codes.value(*row)).collect();
        (areas.len() >= 2).then(|| Durations {
            path: path.clone(),
            rows: rows.clone(),
            with,
        })
    })
}

/// Puts rows with another column into a file, and its new size into the log.
fn put(site: &Site, table: &str, path: &Path, rows: &RecordBatch, column: &str, values: ArrayRef) {
    let index = rows.schema().index_of(column).unwrap();
    let mut columns = rows.columns().to_vec();
    columns[index] = values;
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let size = std::fs::metadata(path).unwrap().len();
    let name = path.file_name().unwrap().to_str().unwrap();
    rewrite_log(site, table, |mut line| {
        if let Some(add) = line.get_mut("add")
            && add["path"].as_str().unwrap().ends_with(name)
        {
            add["size"] = json!(size);
        }
        Some(line)
    });
}

/// All counts one bucket further up.
fn one_bucket_up(histograms: &MapArray) -> ArrayRef {
    let entries = histograms.entries();
    let keys: Int32Array = entries
        .column(0)
        .as_primitive::<Int32Type>()
        .unary(|key| key + 1);
    let entries = StructArray::new(
        entries.fields().clone(),
        vec![Arc::new(keys), Arc::clone(entries.column(1))],
        None,
    );
    let arrow::datatypes::DataType::Map(field, ordered) = histograms.data_type() else {
        panic!("{}", histograms.data_type());
    };
    Arc::new(MapArray::new(
        Arc::clone(field),
        histograms.offsets().clone(),
        entries,
        histograms.nulls().cloned(),
        *ordered,
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn durations_in_a_wrong_bucket_or_under_another_area_are_found() {
    let site = Site::new();
    let aggregator = site.start_aggregator();
    let collector = site.start_collector();
    let client = reqwest::Client::new();
    let mut sent = 1;
    let found = loop {
        // Two areas; their partitions may land in different commits, so this may take a few.
        let mut other = visit(&new_id(), 300);
        other["area_code"] = json!("330502001006");
        let body = json!([visit(&new_id(), 7), other]).to_string();
        let (status, answer) = site.send(&client, body.into_bytes()).await.unwrap();
        assert_eq!((status, &answer["accepted"]), (202, &json!(2)), "{answer}");
        sent += 2;
        tokio::task::block_in_place(|| site.wait_for_records(sent));
        if let Some(found) = durations(&site) {
            break found;
        }
        assert!(sent < 100, "no commit holds two areas");
    };
    tokio::task::block_in_place(|| {
        assert_eq!(collector.terminate().0, Some(0));
        assert_eq!(aggregator.terminate().0, Some(0));
        let right = Arc::clone(found.rows.column_by_name("minutes_hist").unwrap());
        let put = |histograms| {
            put(
                &site,
                "rollup",
                &found.path,
                &found.rows,
                "minutes_hist",
                histograms,
            );
        };
        // The file written anew by the test is as good as the aggregator's.
        put(Arc::clone(&right));
        let (code, report) = site.verify();
        assert_eq!(code, Some(0), "{report}");

        let mut order: Vec<u32> = (0..found.rows.num_rows() as u32).collect();
        order.swap(found.with[0], found.with[1]);
        let swapped = take(&right, &UInt32Array::from(order), None).unwrap();
        for wrong in [one_bucket_up(right.as_map()), swapped] {
            put(wrong);
            let (code, report) = site.verify();
            assert_eq!(code, Some(3), "{report}");
            let differences = report["differences"].to_string();
            assert!(
                differences.contains("durations, tier community"),
                "{report}"
            );
        }
    });
}

/// The file of the ledger with a reversal, its rows, and the reversal's row.
fn reversal(site: &Site) -> (PathBuf, RecordBatch, usize) {
    let ledger = files(&site.path("lake").join("ledger"), ".parquet");
    let found = ledger.into_iter().find_map(|path| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap());
        let rows = reader.unwrap().build().unwrap().next()?.unwrap();
        let words: &StringArray = rows.column_by_name("disposition").unwrap().as_string();
        let row = words.iter().position(|word| word == Some("reversed"))?;
        Some((path.clone(), rows.clone(), row))
    });
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_of_another_event_or_of_other_figures_is_found() {
    let site = Site::new();
    let aggregator = site.start_aggregator();
    let collector = site.start_collector();
    let client = reqwest::Client::new();
    let event = visit(&new_id(), 10);
    let mut correction = visit(&new_id(), 20);
    correction["op"] = json!("correct");
    correction["target_event_id"] = event["event_id"].clone();
    correction["target_occurred_at"] = event["occurred_at"].clone();
    let body = json!([event, visit(&new_id(), 30), correction]).to_string();
    let (status, answer) = site.send(&client, body.into_bytes()).await.unwrap();
    assert_eq!((status, &answer["accepted"]), (202, &json!(3)), "{answer}");
    tokio::task::block_in_place(|| {
        site.wait_for_records(4);
        assert_eq!(collector.terminate().0, Some(0));
        assert_eq!(aggregator.terminate().0, Some(0));
        let (path, rows, row) = reversal(&site);
        let put = |column: &str, values| put(&site, "ledger", &path, &rows, column, values);
        let column = |name: &str| Arc::clone(rows.column_by_name(name).unwrap());
        put("minutes", column("minutes"));
        let (code, report) = site.verify();
        assert_eq!(code, Some(0), "{report}");

        let minutes = column("minutes");
        let minutes: &Int32Array = minutes.as_primitive();
        let fewer = (0..rows.num_rows()).map(|at| {
            let less = i32::from(at == row);
            minutes.is_valid(at).then(|| minutes.value(at) - less)
        });
        let ids = column("event_id");
        let ids: &StringArray = ids.as_string();
        let other = new_id();
        let another = (0..rows.num_rows()).map(|at| match at == row {
            true => Some(other.as_str()),
            false => ids.is_valid(at).then(|| ids.value(at)),
        });
        let wrong: [(&str, ArrayRef, &str); 2] = [
            (
                "minutes",
                Arc::new(fewer.collect::<Int32Array>()),
                "does not say what was accepted",
            ),
            (
                "event_id",
                Arc::new(another.collect::<StringArray>()),
                "should count",
            ),
        ];
        for (name, values, expected) in wrong {
            put(name, values);
            let (code, report) = site.verify();
            assert_eq!(code, Some(3), "{report}");
            let differences = report["differences"].to_string();
            assert!(differences.contains(expected), "{report}");
        }
    });
}
