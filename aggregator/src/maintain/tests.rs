use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type};
use serde_json::{Value, json};
use siji_lake::compact::merge::{Merge, Source};
use siji_lake::datafile::file_schema;
use siji_lake::log::{Change, Remove};
use siji_lake::schema::{LEDGER, ROLLUP, TableSpec};
use siji_lake::{LakeLocation, TableWriter};

use super::*;

const POLICY: Policy = Policy {
    target_bytes: 1 << 20,
    job_bytes: 8 << 20,
    job_files: 16,
    fan_in: 4,
    everything: false,
    by_month: false,
};

/// Events by tier, day and area.
type Sums = BTreeMap<(String, i32, String), i64>;

struct Place {
    _directory: tempfile::TempDir,
    lake: Lake,
    hours: TableWriter,
    written: Sums,
}

impl Place {
    async fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let location =
            LakeLocation::parse(directory.path().to_str().unwrap(), BTreeMap::new()).unwrap();
        let lake = Lake::open_or_create(&location, "+08:00").await.unwrap();
        let hours = TableWriter::open(&lake, &ROLLUP).await.unwrap();
        Place {
            _directory: directory,
            lake,
            hours,
            written: Sums::new(),
        }
    }

    /// One commit with a row an hour of some days, at two tiers.
    async fn append(&mut self, days: &[i32]) {
        let mut change = Change::default();
        for (tier, area) in [("street", "330502001"), ("city", "3305")] {
            let mut rows = Vec::new();
            for day in days {
                let date = chrono::NaiveDate::from_num_days_from_ce_opt(day + 719_163).unwrap();
                for hour in [1, 7] {
                    rows.push(json!({
                        "tier": tier, "hour": format!("{date}T{hour:02}:00:00Z"), "local_date": date.to_string(),
                        "area_code": area, "placement": "placed", "event_type": "visit.made", "events": 1,
                        "minutes_hist": {"3": 1},
                    }));
                    *self
                        .written
                        .entry((tier.to_owned(), *day, area.to_owned()))
                        .or_default() += 1;
                }
            }
            let rows = batch(&ROLLUP, &rows);
            change
                .adds
                .push(self.hours.write_file(Some(tier), &[rows]).await.unwrap());
        }
        self.hours.commit(change).await.unwrap();
    }

    /// What readers find in a table.
    async fn sums(&self, kept: &'static Maintained) -> Sums {
        let mut sums = Sums::new();
        for batch in self.rows(kept).await {
            let (tier, batch) = batch;
            let days = batch
                .column_by_name("local_date")
                .unwrap()
                .as_primitive::<Date32Type>();
            let areas = batch
                .column_by_name("area_code")
                .unwrap()
                .as_string::<i32>();
            let events = batch
                .column_by_name("events")
                .unwrap()
                .as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let key = (tier.clone(), days.value(row), areas.value(row).to_owned());
                *sums.entry(key).or_default() += events.value(row);
            }
        }
        sums
    }

    async fn rows(&self, kept: &'static Maintained) -> Vec<(String, RecordBatch)> {
        let Some(mut table) = Table::open(&self.lake, kept, false).await.unwrap() else {
            return Vec::new();
        };
        let snapshot = table.snapshot().await.unwrap();
        let mut rows = Vec::new();
        for file in snapshot.files() {
            let source = Source {
                files: vec![file.clone()],
                schema: file_schema(kept.spec),
                order: Vec::new(),
            };
            let mut merge = Merge::open(&self.lake.root_store(), &source, &Default::default())
                .await
                .unwrap();
            let tier = if file.path.as_ref().contains("tier=city") {
                "city"
            } else {
                "street"
            };
            while let Some(batch) = merge.next().await.unwrap() {
                rows.push((tier.to_owned(), batch));
            }
        }
        rows
    }

    async fn files(&self, kept: &'static Maintained) -> usize {
        let table = Table::open(&self.lake, kept, false).await.unwrap();
        table.unwrap().snapshot().await.unwrap().files().len()
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep::new(self.lake.clone())
    }

    async fn all_sums_are_right(&self) {
        assert_eq!(self.sums(&HOURS).await, self.written);
        assert_eq!(self.sums(&DAYS).await, self.written);
    }
}

fn batch(spec: &TableSpec, rows: &[Value]) -> RecordBatch {
    let mut decoder = arrow::json::ReaderBuilder::new((spec.schema)())
        .build_decoder()
        .unwrap();
    decoder.serialize(rows).unwrap();
    decoder.flush().unwrap().unwrap()
}

/// 2026-11-20.
const DAY: i32 = 20_777;

#[tokio::test(flavor = "multi_thread")]
async fn folding_changes_no_sum_makes_few_files_and_keeps_months_apart() {
    let mut place = Place::new().await;
    for n in 0..8 {
        place.append(&[DAY, DAY - 40, DAY + n % 2]).await;
    }
    let mut upkeep = place.upkeep();
    let done = upkeep.table(&HOURS, &POLICY, true).await.unwrap();
    assert_eq!((done.folded.files_in, done.folded.files_out), (16, 4));
    assert_eq!((done.live_files, place.files(&HOURS).await), (4, 4));
    place.all_sums_are_right().await;
    let rows: usize = place
        .rows(&HOURS)
        .await
        .iter()
        .map(|(_, batch)| batch.num_rows())
        .sum();
    assert_eq!(rows, 2 * 3 * 2, "two tiers, three days, two hours");
    // A second time there is nothing to do.
    let again = upkeep.table(&HOURS, &POLICY, true).await.unwrap();
    assert_eq!(
        (again.folded, again.followed),
        (Folded::default(), Followed::default())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn days_follow_late_rows_and_folds_are_not_counted_again() {
    let mut place = Place::new().await;
    let mut upkeep = place.upkeep();
    for round in 0..6 {
        for n in 0..5 {
            place.append(&[DAY + n, DAY - 10 * round]).await;
        }
        let done = upkeep.table(&HOURS, &POLICY, true).await.unwrap();
        assert!(
            round == 0 || done.followed.files > 0 && !done.followed.anew,
            "{done:?}"
        );
        place.all_sums_are_right().await;
        upkeep.table(&DAYS, &POLICY, true).await.unwrap();
        place.all_sums_are_right().await;
    }
    assert!(place.files(&DAYS).await < 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_maintainers_one_fails_and_changes_nothing() {
    let mut place = Place::new().await;
    for _ in 0..5 {
        place.append(&[DAY]).await;
    }
    let mut one = Table::open(&place.lake, &HOURS, false)
        .await
        .unwrap()
        .unwrap();
    let mut two = Table::open(&place.lake, &HOURS, false)
        .await
        .unwrap()
        .unwrap();
    let (seen_by_one, seen_by_two) = (one.snapshot().await.unwrap(), two.snapshot().await.unwrap());
    assert!(one.fold(&seen_by_one, &POLICY).await.unwrap().files_in > 0);
    let error = two.fold(&seen_by_two, &POLICY).await.unwrap_err();
    assert!(matches!(error, LakeError::Conflict { .. }), "{error}");
    assert_eq!(place.sums(&HOURS).await, place.written);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_maintainer_waits_and_takes_over_when_the_first_is_gone() {
    let mut place = Place::new().await;
    let (mut one, mut two) = (place.upkeep(), place.upkeep());
    two.table(&HOURS, &POLICY, true).await.unwrap();
    for turn in 0..2 {
        for _ in 0..5 {
            place.append(&[DAY]).await;
        }
        if turn == 0 {
            assert!(
                one.table(&HOURS, &POLICY, true)
                    .await
                    .unwrap()
                    .folded
                    .files_in
                    > 0
            );
            for _ in 0..5 {
                place.append(&[DAY]).await;
            }
            assert!(
                two.table(&HOURS, &POLICY, true)
                    .await
                    .unwrap()
                    .left_to_another
            );
        } else {
            assert!(
                two.table(&HOURS, &POLICY, true)
                    .await
                    .unwrap()
                    .folded
                    .files_in
                    > 0
            );
        }
        assert_eq!(place.sums(&HOURS).await, place.written);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_commit_leaves_the_lake_as_it_was() {
    let mut place = Place::new().await;
    for _ in 0..5 {
        place.append(&[DAY]).await;
    }
    let mut table = Table::open(&place.lake, &HOURS, false)
        .await
        .unwrap()
        .unwrap();
    let snapshot = table.snapshot().await.unwrap();
    let shape = siji_lake::compact::output::Shape {
        spec: &ROLLUP,
        partition: Some("street".into()),
        target_bytes: 1 << 20,
        data_change: false,
        shelves: None,
        effort: siji_lake::datafile::Effort::Fast,
    };
    let streets: Vec<_> = snapshot
        .files()
        .iter()
        .filter(|f| f.path.as_ref().contains("street"))
        .cloned()
        .collect();
    assert_eq!(
        table
            .rewrite(&streets, HOURS.order, shape)
            .await
            .unwrap()
            .len(),
        1
    );
    drop(table);
    assert_eq!(place.sums(&HOURS).await, place.written);
    place.upkeep().table(&HOURS, &POLICY, true).await.unwrap();
    place.all_sums_are_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_go_on_while_files_are_folded() {
    let mut place = Place::new().await;
    place.append(&[DAY]).await;
    let lake = place.lake.clone();
    let stop = tokio_util::sync::CancellationToken::new();
    let stopped = stop.clone();
    let maintained = tokio::spawn(async move {
        let mut upkeep = Upkeep::new(lake);
        let mut folded = 0;
        while !stopped.is_cancelled() {
            folded += upkeep
                .table(&HOURS, &POLICY, true)
                .await
                .unwrap()
                .folded
                .files_in;
            upkeep.table(&DAYS, &POLICY, true).await.unwrap();
        }
        (upkeep, folded)
    });
    for n in 0..60 {
        place.append(&[DAY + n % 3]).await;
    }
    stop.cancel();
    let (mut upkeep, folded) = maintained.await.unwrap();
    assert!(folded > 0);
    upkeep.table(&HOURS, &POLICY, true).await.unwrap();
    place.all_sums_are_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_made_anew_when_rows_went_away_under_them() {
    let mut place = Place::new().await;
    let mut upkeep = place.upkeep();
    place.append(&[DAY]).await;
    upkeep.table(&HOURS, &POLICY, true).await.unwrap();
    let mut table = Table::open(&place.lake, &HOURS, false)
        .await
        .unwrap()
        .unwrap();
    let removes: Vec<Remove> = {
        let snapshot = table.snapshot().await.unwrap();
        table.removes(snapshot.files(), true).unwrap()
    };
    place
        .hours
        .commit(Change {
            removes,
            ..Change::default()
        })
        .await
        .unwrap();
    place.written.clear();
    place.append(&[DAY + 1]).await;
    let done = upkeep.table(&HOURS, &POLICY, true).await.unwrap();
    assert!(done.followed.anew);
    place.all_sums_are_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_rows_stay_as_they_are_and_come_in_the_order_of_offsets() {
    let place = Place::new().await;
    let mut ledger = TableWriter::open(&place.lake, &LEDGER).await.unwrap();
    for n in 0..8i64 {
        let row = |partition: i64| {
            json!({"topic_epoch": 0, "partition": partition, "offset": n, "offset_last": n, "disposition": "accepted",
                "ingested_at": format!("2026-11-20T00:00:{n:02}Z"), "attrs": {"line": "12345"}})
        };
        let add = ledger
            .write_file(None, &[batch(&LEDGER, &[row(0), row(1)])])
            .await
            .unwrap();
        ledger
            .commit(Change {
                adds: vec![add],
                ..Change::default()
            })
            .await
            .unwrap();
    }
    let before: usize = place
        .rows(&tables::OFFSETS)
        .await
        .iter()
        .map(|(_, batch)| batch.num_rows())
        .sum();
    let done = place
        .upkeep()
        .table(&tables::OFFSETS, &POLICY, true)
        .await
        .unwrap();
    assert_eq!(
        (done.folded.files_in, done.folded.files_out, before),
        (8, 1, 16)
    );
    let rows = place.rows(&tables::OFFSETS).await;
    assert_eq!(rows.len(), 1);
    let offsets = rows[0]
        .1
        .column_by_name("offset")
        .unwrap()
        .as_primitive::<Int64Type>();
    let wanted: Vec<i64> = (0..8).chain(0..8).collect();
    assert_eq!(offsets.values().to_vec(), wanted);
}
