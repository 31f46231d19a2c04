use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, StringArray, new_null_array};
use object_store::memory::InMemory;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::schema::{REGISTERS, registers_schema};

fn batch(registers: &[&str], as_of: &[i32]) -> RecordBatch {
    let rows = registers.len();
    let columns = registers_schema()
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "as_of" => Arc::new(Date32Array::from(as_of.to_vec())) as ArrayRef,
            "register" | "area_code" | "qualifier" | "event_id" => {
                Arc::new(StringArray::from(registers.to_vec()))
            }
            _ if !field.is_nullable() => arrow::compute::cast(
                &arrow::array::Int64Array::from(vec![7i64; rows]),
                field.data_type(),
            )
            .unwrap(),
            _ => new_null_array(field.data_type(), rows),
        })
        .collect();
    RecordBatch::try_new(registers_schema(), columns).unwrap()
}

#[tokio::test]
async fn a_file_reads_back_as_written_and_says_what_it_spans() {
    let store = InMemory::new();
    let written = [
        batch(&["fac.a", "fac.c"], &[13_692, 13_693]),
        batch(&["fac.b"], &[0]),
    ];
    let add = write(&store, &REGISTERS, None, &written, Effort::Fast)
        .await
        .unwrap();
    let stats: serde_json::Value = serde_json::from_str(add.stats.as_ref().unwrap()).unwrap();
    assert_eq!(stats["numRecords"], 3);
    assert_eq!(stats["minValues"]["as_of"], "1970-01-01");
    assert_eq!(stats["maxValues"]["as_of"], "2007-06-29");
    assert_eq!(
        (
            &stats["minValues"]["register"],
            &stats["maxValues"]["register"]
        ),
        (&"fac.a".into(), &"fac.c".into())
    );
    assert_eq!(stats["nullCount"]["district_code"], 3);
    assert!(stats["minValues"].get("district_code").is_none());
    let bytes = store
        .get(&Path::from(add.path.as_str()))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(bytes.len() as i64, add.size);
    let read: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let read = arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
    let expected = arrow::compute::concat_batches(&registers_schema(), &written).unwrap();
    assert_eq!(read.columns(), expected.columns());
    assert_eq!(read.column(0).len(), 3);
}

#[tokio::test]
async fn a_partition_must_fit_the_table() {
    let store = InMemory::new();
    assert!(
        write(
            &store,
            &REGISTERS,
            Some("city"),
            &[batch(&["a"], &[1])],
            Effort::Fast
        )
        .await
        .is_err()
    );
}
