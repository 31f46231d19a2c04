//! Against tables written by delta-rs, on a real directory.

use std::collections::HashMap;
use std::path::Path as FilePath;

use arrow::array::{
    Array, AsArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::{StructField, StructType};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};
use object_store::local::LocalFileSystem;

use super::*;

mod replaced;

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("tier", DataType::Utf8, false),
        Field::new("offset", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("at", crate::schema::stored_instant(), true),
        Field::new("day", DataType::Date32, true),
        Field::new("value", DataType::Decimal128(18, 6), true),
    ]))
}

fn rows(tier: &str, offsets: &[i64]) -> RecordBatch {
    let n = offsets.len();
    RecordBatch::try_new(
        columns(),
        vec![
            Arc::new(StringArray::from(vec![tier; n])),
            Arc::new(Int64Array::from(offsets.to_vec())),
            Arc::new(StringArray::from_iter(
                offsets
                    .iter()
                    .map(|o| (o % 2 == 0).then(|| format!("n{o}"))),
            )),
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(offsets.iter().map(|o| o * 1000 + 7))
                    .with_timezone("UTC"),
            ),
            Arc::new(Date32Array::from_iter_values(
                offsets.iter().map(|o| *o as i32),
            )),
            Arc::new(
                Decimal128Array::from_iter_values(offsets.iter().map(|o| i128::from(*o)))
                    .with_precision_and_scale(18, 6)
                    .unwrap(),
            ),
        ],
    )
    .unwrap()
}

fn url(directory: &FilePath) -> Url {
    Url::from_directory_path(directory.join("numbers")).unwrap()
}

async fn create(directory: &FilePath) -> DeltaTable {
    std::fs::create_dir_all(directory.join("numbers")).unwrap();
    let kernel: StructType = columns().as_ref().try_into_kernel().unwrap();
    let fields: Vec<StructField> = kernel.fields().cloned().collect();
    CreateBuilder::new()
        .with_location(url(directory).as_str())
        .with_columns(fields)
        .with_partition_columns(["tier"])
        .await
        .unwrap()
}

async fn append(table: &mut DeltaTable, batch: RecordBatch) {
    let mut writer = RecordBatchWriter::for_table(table).unwrap();
    writer.write(batch).await.unwrap();
    writer.flush_and_commit(table).await.unwrap();
}

fn reader(directory: &FilePath, interval: Duration) -> TableReader {
    let options = ReaderOptions {
        refresh_interval: interval,
        reopen_after: 3,
    };
    TableReader::open(Arc::new(LocalFileSystem::new()), url(directory), options).unwrap()
}

const ALWAYS: Duration = Duration::ZERO;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_exist_yet_is_none_and_appears_when_it_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let reader = reader(directory.path(), ALWAYS);
    assert_eq!(reader.name(), "numbers");
    assert!(reader.current().await.unwrap().is_none());
    create(directory.path()).await;
    let snapshot = reader.current().await.unwrap().unwrap();
    assert_eq!(
        (snapshot.version(), snapshot.files().len(), snapshot.rows()),
        (0, 0, Some(0))
    );
    assert_eq!(
        snapshot.schema().field(3).data_type(),
        &crate::schema::stored_instant()
    );
    assert_eq!(snapshot.partition_columns(), ["tier"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_partition_values_and_statistics_stand_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(directory.path()).await;
    append(&mut table, rows("street", &[1, 2, 3])).await;
    append(&mut table, rows("city", &[10, 20])).await;
    let snapshot = reader(directory.path(), ALWAYS)
        .current()
        .await
        .unwrap()
        .unwrap();
    let tiers = snapshot
        .partition_values("tier")
        .unwrap()
        .as_string::<i32>()
        .clone();
    let city = tiers.iter().position(|t| t == Some("city")).unwrap();
    let file = &snapshot.files()[city];
    assert_eq!(
        (file.rows, tiers.len(), snapshot.rows()),
        (Some(2), 2, Some(5))
    );
    let on_disk = FilePath::new("/").join(file.path.as_ref());
    assert_eq!(std::fs::metadata(on_disk).unwrap().len(), file.size);

    let offsets = snapshot.statistics().range("offset").unwrap();
    let (min, max): (&Int64Array, &Int64Array) =
        (offsets.min.as_primitive(), offsets.max.as_primitive());
    assert_eq!(
        (min.value(city), max.value(city), offsets.nulls.value(city)),
        (10, 20, 0)
    );
    let names = snapshot.statistics().range("name").unwrap();
    assert_eq!(names.nulls.value(1 - city), 2);
    assert_eq!(names.max.as_string::<i32>().value(1 - city), "n2");
    assert!(
        snapshot.statistics().range("tier").is_none(),
        "partition columns are not in the files"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_that_the_log_rounds_are_widened_or_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(directory.path()).await;
    append(&mut table, rows("street", &[1, 2])).await;
    let snapshot = reader(directory.path(), ALWAYS)
        .current()
        .await
        .unwrap()
        .unwrap();
    let at = snapshot.statistics().range("at").unwrap();
    // 2,007 µs is written as 2 ms.
    assert_eq!(
        at.max.as_primitive::<TimestampMicrosecondType>().value(0),
        2_999
    );
    assert_eq!(
        at.min.as_primitive::<TimestampMicrosecondType>().value(0),
        1_000
    );
    let value = snapshot.statistics().range("value").unwrap();
    assert_eq!(
        (value.min.null_count(), value.nulls.value(0)),
        (1, 0),
        "decimals come through floating point"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_in_hand_does_not_change_while_commits_land() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(directory.path()).await;
    append(&mut table, rows("street", &[1])).await;
    let reader = reader(directory.path(), ALWAYS);
    let held = reader.current().await.unwrap().unwrap();
    // More commits than `reopen_after`: the handle is replaced on the way.
    for i in 2..10 {
        append(&mut table, rows("street", &[i])).await;
        let now = reader.current().await.unwrap().unwrap();
        assert_eq!((now.version(), now.rows()), (i as u64, Some(i as u64)));
    }
    assert_eq!((held.version(), held.rows()), (1, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn within_the_interval_the_store_is_not_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(directory.path()).await;
    let reader = reader(directory.path(), Duration::from_secs(3600));
    let first = reader.current().await.unwrap().unwrap();
    append(&mut table, rows("street", &[1])).await;
    let second = reader.current().await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_keeps_the_same_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path()).await;
    let reader = reader(directory.path(), ALWAYS);
    let first = reader.current().await.unwrap().unwrap();
    assert!(Arc::ptr_eq(
        &first,
        &reader.current().await.unwrap().unwrap()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_log_was_cleaned_behind_a_checkpoint_is_still_followed() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(directory.path()).await;
    let reader = reader(directory.path(), ALWAYS);
    reader.current().await.unwrap().unwrap();
    for i in 1..=4 {
        append(&mut table, rows("street", &[i])).await;
    }
    deltalake_core::checkpoints::create_checkpoint(&table, None)
        .await
        .unwrap();
    append(&mut table, rows("street", &[5])).await;
    let log = directory.path().join("numbers/_delta_log");
    for version in 0..=4 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let now = reader.current().await.unwrap().unwrap();
    assert_eq!((now.version(), now.rows()), (5, Some(5)));
    let offsets = now.statistics().range("offset").unwrap();
    assert_eq!(
        offsets.min.null_count(),
        0,
        "statistics survive the checkpoint"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_vanishes_is_gone_and_not_empty() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path()).await;
    let reader = reader(directory.path(), ALWAYS);
    reader.current().await.unwrap().unwrap();
    std::fs::remove_dir_all(directory.path().join("numbers")).unwrap();
    let error = reader.current().await.unwrap_err();
    assert!(matches!(error, ReadError::Gone { .. }), "{error}");
    assert!(error.to_string().contains("numbers"), "{error}");
    create(directory.path()).await;
    assert!(
        reader.current().await.unwrap().is_some(),
        "it may come back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_vectors_and_column_mapping_are_refused_by_name() {
    let schema = r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"a\",\"type\":\"long\",\"nullable\":true,\"metadata\":{\"delta.columnMapping.id\":1,\"delta.columnMapping.physicalName\":\"c1\"}}]}"#;
    let dv = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}"#;
    let mapped = r#"{"protocol":{"minReaderVersion":2,"minWriterVersion":5}}"#;
    let cases = [
        (
            dv,
            r#"{"delta.enableDeletionVectors":"true"}"#,
            "deletionVectors",
        ),
        (
            mapped,
            r#"{"delta.columnMapping.mode":"name","delta.columnMapping.maxColumnId":"1"}"#,
            "column mapping",
        ),
    ];
    for (protocol, configuration, named) in cases {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("numbers/_delta_log");
        std::fs::create_dir_all(&log).unwrap();
        let metadata = format!(
            r#"{{"metaData":{{"id":"5fba94ed-9794-4965-ba6e-6ee3c0d22af9","format":{{"provider":"parquet","options":{{}}}},"schemaString":"{schema}","partitionColumns":[],"configuration":{configuration},"createdTime":1}}}}"#
        );
        std::fs::write(
            log.join(format!("{:020}.json", 0)),
            format!("{protocol}\n{metadata}\n"),
        )
        .unwrap();
        let error = reader(directory.path(), ALWAYS)
            .current()
            .await
            .unwrap_err();
        assert!(matches!(error, ReadError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_queries_at_once_share_one_refresh() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path()).await;
    let reader = Arc::new(reader(directory.path(), Duration::from_secs(3600)));
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let reader = Arc::clone(&reader);
            tokio::spawn(async move { reader.current().await.unwrap().unwrap() })
        })
        .collect();
    let mut seen = HashMap::new();
    for task in asked {
        *seen.entry(Arc::as_ptr(&task.await.unwrap())).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_values_with_odd_characters_lead_to_their_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(directory.path()).await;
    append(&mut table, rows("街道 a/b%", &[1])).await;
    let snapshot = reader(directory.path(), ALWAYS)
        .current()
        .await
        .unwrap()
        .unwrap();
    let store = LocalFileSystem::new();
    let file = &snapshot.files()[0];
    assert_eq!(store.head(&file.path).await.unwrap().size, file.size);
    assert_eq!(
        snapshot
            .partition_values("tier")
            .unwrap()
            .as_string::<i32>()
            .value(0),
        "街道 a/b%"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_names_a_file_elsewhere_is_refused() {
    for path in [
        "/etc/passwd",
        "s3://other/part.parquet",
        "../other/part.parquet",
        "%2e%2e/part.parquet",
    ] {
        let directory = tempfile::tempdir().unwrap();
        create(directory.path()).await;
        let add = format!(
            r#"{{"add":{{"path":"{path}","partitionValues":{{"tier":"street"}},"size":1,"modificationTime":1,"dataChange":true,"stats":"{{\"numRecords\":1}}"}}}}"#
        );
        let log = directory.path().join("numbers/_delta_log");
        std::fs::write(log.join(format!("{:020}.json", 1)), add).unwrap();
        let error = reader(directory.path(), ALWAYS)
            .current()
            .await
            .unwrap_err();
        assert!(matches!(error, ReadError::Log { .. }), "{path}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_commit_stays_refused_and_the_next_good_state_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(directory.path()).await;
    append(&mut table, rows("street", &[1])).await;
    let reader = reader(directory.path(), ALWAYS);
    reader.current().await.unwrap().unwrap();
    let entry = directory
        .path()
        .join(format!("numbers/_delta_log/{:020}.json", 2));
    let outside = r#"{"add":{"path":"/etc/passwd","partitionValues":{"tier":"street"},"size":1,"modificationTime":1,"dataChange":true}}"#;
    std::fs::write(&entry, outside).unwrap();
    for _ in 0..3 {
        let error = reader.current().await.unwrap_err();
        assert!(
            matches!(error, ReadError::Log { .. }),
            "an old snapshot must not stand in: {error:?}"
        );
    }
    std::fs::remove_file(&entry).unwrap();
    append(&mut table, rows("street", &[2])).await;
    assert_eq!(reader.current().await.unwrap().unwrap().rows(), Some(2));
}
