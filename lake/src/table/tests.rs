use std::collections::BTreeMap;

use arrow::array::{
    ArrayRef, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray, new_null_array,
};

use super::*;
use crate::schema::{LEDGER, REF_AREAS, REGISTERS, ROLLUP, ROLLUP_DAY};
use crate::{LakeLocation, checkpoint};

async fn lake(directory: &tempfile::TempDir) -> Lake {
    let location =
        LakeLocation::parse(directory.path().to_str().unwrap(), BTreeMap::new()).unwrap();
    Lake::open_or_create(&location, "+08:00").await.unwrap()
}

pub(crate) fn rollup_batch(tier: &str, rows: usize) -> RecordBatch {
    let schema = crate::schema::rollup_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "tier" => Arc::new(StringArray::from(vec![tier; rows])) as ArrayRef,
            "hour" => Arc::new(
                TimestampMicrosecondArray::from(vec![1_772_323_200_000_000; rows])
                    .with_timezone("UTC"),
            ),
            "local_date" => Arc::new(Date32Array::from(vec![20_513; rows])),
            "area_code" | "placement" => Arc::new(StringArray::from(vec!["330502"; rows])),
            "events" => Arc::new(Int64Array::from_iter_values(0..rows as i64)),
            _ => new_null_array(field.data_type(), rows),
        })
        .collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn change(adds: Vec<Add>, position: i64) -> Change {
    let txns = vec![Txn {
        app_id: "siji.events/0/0".into(),
        version: position,
        last_updated: None,
    }];
    Change {
        adds,
        txns,
        ..Change::default()
    }
}

#[tokio::test]
async fn another_reader_sees_what_was_committed_and_only_that() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory).await;
    let mut table = TableWriter::open(&lake, &ROLLUP).await.unwrap();
    let adds = vec![
        table
            .write_file(Some("street"), &[rollup_batch("street", 3)])
            .await
            .unwrap(),
        table
            .write_file(
                Some("city"),
                &[rollup_batch("city", 2), rollup_batch("city", 1)],
            )
            .await
            .unwrap(),
    ];
    table.commit(change(adds, 6)).await.unwrap();
    table
        .write_file(Some("city"), &[rollup_batch("city", 99)])
        .await
        .unwrap();
    let delta = checkpoint::open_delta(lake.root_store(), lake.table_url("rollup"))
        .await
        .unwrap();
    let snapshot = delta.snapshot().unwrap();
    let files: Vec<_> = snapshot.log_data().iter().collect();
    assert_eq!(files.len(), 2);
    assert_eq!(
        files
            .iter()
            .map(|file| file.num_records().unwrap())
            .sum::<usize>(),
        6
    );
    assert_eq!(
        snapshot
            .transaction_version(delta.log_store().as_ref(), "siji.events/0/0")
            .await
            .unwrap(),
        Some(6)
    );
    assert_eq!(snapshot.protocol().min_reader_version(), 1);
}

#[tokio::test]
async fn positions_survive_a_checkpoint_that_replaces_the_entries_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory).await;
    let mut table = TableWriter::open(&lake, &LEDGER).await.unwrap();
    for position in 1..=5 {
        table.commit(change(vec![], position)).await.unwrap();
    }
    assert_eq!(checkpoint::write(&lake, "ledger").await.unwrap(), 5);
    table.commit(change(vec![], 6)).await.unwrap();
    for version in 0..=5 {
        std::fs::remove_file(
            directory
                .path()
                .join(format!("ledger/_delta_log/{version:020}.json")),
        )
        .unwrap();
    }
    let again = TableWriter::open(&lake, &LEDGER).await.unwrap();
    assert_eq!(
        (again.version(), again.txn("siji.events/0/0")),
        (6, Some(6))
    );
}

#[tokio::test]
async fn every_table_can_be_created_and_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory).await;
    for spec in [&LEDGER, &ROLLUP, &REGISTERS, &REF_AREAS, &ROLLUP_DAY] {
        assert_eq!(TableWriter::open(&lake, spec).await.unwrap().version(), 0);
        assert_eq!(TableWriter::open(&lake, spec).await.unwrap().version(), 0);
        let schema = (spec.schema)();
        for column in spec.statistics.iter().chain(spec.unique) {
            assert!(
                schema.field_with_name(column).is_ok(),
                "{} has no column {column}",
                spec.name
            );
        }
    }
}

#[tokio::test]
async fn a_lake_of_another_format_or_zone_is_refused_with_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    lake(&directory).await;
    let location =
        LakeLocation::parse(directory.path().to_str().unwrap(), BTreeMap::new()).unwrap();
    let zone = Lake::open_or_create(&location, "+09:00")
        .await
        .unwrap_err()
        .to_string();
    assert!(zone.contains("zone +08:00"), "{zone}");
    std::fs::write(
        directory.path().join("_siji.json"),
        r#"{"format":2,"zone":"+08:00"}"#,
    )
    .unwrap();
    let format = Lake::open(&location).await.unwrap_err().to_string();
    assert!(
        format.contains("format 2") && format.contains(directory.path().to_str().unwrap()),
        "{format}"
    );
    std::fs::remove_file(directory.path().join("_siji.json")).unwrap();
    let missing = Lake::open(&location).await.unwrap_err().to_string();
    assert!(missing.starts_with("no siji lake at"), "{missing}");
}

#[test]
fn the_columns_of_every_table_are_pinned() {
    let mut shown = String::new();
    for spec in [&LEDGER, &ROLLUP, &REGISTERS, &REF_AREAS, &ROLLUP_DAY] {
        shown += &format!("{}\n", spec.name);
        for field in (spec.schema)().fields() {
            let null = if field.is_nullable() { "" } else { " not null" };
            shown += &format!("  {} {}{null}\n", field.name(), field.data_type());
        }
    }
    let pinned = include_str!("pinned_columns.txt");
    assert_eq!(shown, pinned, "changing a stored column is a migration");
}
