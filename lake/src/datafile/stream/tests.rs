use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, new_null_array};
use object_store::prefix::PrefixStore;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use super::*;
use crate::datafile::ROW_GROUP_ROWS;
use crate::durable::DurableLocal;
use crate::schema::REGISTERS;

/// A full row group that no compression makes smaller than a part of an upload.
fn large() -> RecordBatch {
    let rows = ROW_GROUP_ROWS;
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 31)
    };
    let ids = (0..rows).map(|_| {
        let parts: Vec<String> = (0..12).map(|_| format!("{:016x}", random())).collect();
        parts.concat()
    });
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values(ids));
    let schema = file_schema(&REGISTERS);
    let columns = schema.fields().iter().map(|field| {
        if field.name() == "event_id" {
            Arc::clone(&ids)
        } else if field.is_nullable() {
            new_null_array(field.data_type(), rows)
        } else {
            let ones = Int64Array::from(vec![1; rows]);
            arrow::compute::cast(&ones, field.data_type()).unwrap()
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

fn names(directory: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(directory.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn store(directory: &tempfile::TempDir) -> PrefixStore<DurableLocal> {
    let path = Path::from_absolute_path(directory.path()).unwrap();
    PrefixStore::new(DurableLocal::new(), path)
}

#[tokio::test]
async fn a_large_file_is_handed_over_in_parts_and_shows_when_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let mut file = DataFileWriter::new(&store, &REGISTERS, None, Effort::Fast).unwrap();
    let batch = large();
    for _ in 0..3 {
        file.write(&batch).await.unwrap();
        assert!(file.bytes() - file.sent < PART_BYTES);
    }
    assert!(names(&directory).iter().all(|name| name.contains('#')));
    let add = file.finish(true).await.unwrap().unwrap();
    assert_eq!(names(&directory), [add.path.as_str()]);
    let bytes = std::fs::read(directory.path().join(&add.path)).unwrap();
    assert_eq!(bytes.len() as i64, add.size);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    let reader = reader.with_batch_size(ROW_GROUP_ROWS).build().unwrap();
    let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(read.len(), 3);
    assert!(read.iter().all(|read| read.columns() == batch.columns()));
}

#[tokio::test]
async fn a_large_file_that_is_given_up_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let mut file = DataFileWriter::new(&store, &REGISTERS, None, Effort::Fast).unwrap();
    file.write(&large()).await.unwrap();
    assert_eq!(names(&directory).len(), 1);
    drop(file);
    // A part may still be written by a thread that nobody waits for; it then removes what it wrote to.
    for _ in 0..100 {
        if names(&directory).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{:?}", names(&directory));
}

#[test]
fn joined_statistics_are_those_of_all_rows() {
    let a = json!({"numRecords": 2, "minValues": {"n": 9, "t": "b"}, "maxValues": {"n": 10, "t": "c"},
        "nullCount": {"n": 0, "t": 0, "x": 2}});
    let b = json!({"numRecords": 3, "minValues": {"n": -1, "x": "q"}, "maxValues": {"n": 9, "x": "r"},
        "nullCount": {"n": 1, "t": 3, "x": 1}});
    let both = joined(a.clone(), b);
    assert_eq!(both["numRecords"], 5);
    assert_eq!(both["minValues"], json!({"n": -1, "t": "b", "x": "q"}));
    assert_eq!(both["maxValues"], json!({"n": 10, "t": "c", "x": "r"}));
    assert_eq!(both["nullCount"], json!({"n": 1, "t": 3, "x": 3}));
    // Values without bounds, as texts that are too long: nothing is known of the whole.
    let long = json!({"numRecords": 1, "minValues": {}, "maxValues": {}, "nullCount": {"n": 0, "t": 0, "x": 0}});
    let unknown = joined(a, long);
    assert_eq!(unknown["minValues"], json!({}));
}
