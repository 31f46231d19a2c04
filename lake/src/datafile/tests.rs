use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, DictionaryArray, MapArray, StringArray,
    StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Int32Type};
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
    let file = EncodedFile::new(&REGISTERS, None, &written, Effort::Fast).unwrap();
    let add = file.put(&store).await.unwrap();
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

#[test]
fn a_partition_must_fit_the_table() {
    let rows = [batch(&["a"], &[1])];
    assert!(EncodedFile::new(&REGISTERS, Some("city"), &rows, Effort::Fast).is_err());
}

/// A numbered column of the given texts.
fn numbered(texts: &[Option<&str>]) -> ArrayRef {
    let numbered: DictionaryArray<Int32Type> = texts.iter().copied().collect();
    Arc::new(numbered)
}

fn read_back(bytes: Vec<u8>) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))
        .unwrap()
        .with_batch_size(1 << 20)
        .build()
        .unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// One table of a required and an optional text.
fn two_texts() -> arrow::datatypes::SchemaRef {
    Arc::new(arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("required", arrow::datatypes::DataType::Utf8, false),
        arrow::datatypes::Field::new("optional", arrow::datatypes::DataType::Utf8, true),
    ]))
}

static TWO_TEXTS: TableSpec = TableSpec {
    name: "two_texts",
    schema: two_texts,
    partition_by: None,
    statistics: &["optional"],
    unique: &[],
};

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    /// Runs and single texts, with and without nulls, in batches that number texts each in its own way.
    #[test]
    fn texts_read_back_as_written_however_they_were_numbered(
        batches in proptest::collection::vec(
            (proptest::collection::vec((0usize..400, 1usize..40), 1..60), proptest::bool::ANY, 0u8..3),
            1..5,
        ),
    ) {
        let mut expected: Vec<(String, Option<String>)> = Vec::new();
        let mut written = Vec::new();
        for (runs, plain, nulls) in batches {
            let rows: Vec<(String, Option<String>)> = runs
                .into_iter()
                .flat_map(|(n, times)| std::iter::repeat_n(n, times))
                .map(|n| {
                    let null = match nulls { 0 => false, 1 => n % 3 == 0, _ => true };
                    (format!("文{n}"), (!null).then(|| "x".repeat(n % 70)))
                })
                .collect();
            let required: Vec<Option<&str>> = rows.iter().map(|row| Some(row.0.as_str())).collect();
            let optional: Vec<Option<&str>> = rows.iter().map(|row| row.1.as_deref()).collect();
            let column = |texts: &[Option<&str>]| -> ArrayRef {
                if plain { Arc::new(StringArray::from(texts.to_vec())) } else { numbered(texts) }
            };
            let (required, optional) = (column(&required), column(&optional));
            let schema = arrow::datatypes::Schema::new(vec![
                arrow::datatypes::Field::new("required", required.data_type().clone(), false),
                arrow::datatypes::Field::new("optional", optional.data_type().clone(), true),
            ]);
            written.push(RecordBatch::try_new(Arc::new(schema), vec![required, optional]).unwrap());
            expected.extend(rows);
        }
        let bytes = encode(&TWO_TEXTS, &written, Effort::Fast).unwrap();
        let read = read_back(bytes);
        let (required, optional) = (read.column(0).as_string::<i32>(), read.column(1).as_string::<i32>());
        let read: Vec<(String, Option<String>)> = (0..read.num_rows())
            .map(|row| {
                let optional = optional.is_valid(row).then(|| optional.value(row).to_owned());
                (required.value(row).to_owned(), optional)
            })
            .collect();
        proptest::prop_assert_eq!(&read, &expected);
        let stats = statistics(&TWO_TEXTS, &written).unwrap();
        let texts = || expected.iter().filter_map(|row| row.1.as_deref());
        if texts().all(|text| text.len() <= 64) {
            proptest::prop_assert_eq!(stats["minValues"]["optional"].as_str(), texts().min());
            proptest::prop_assert_eq!(stats["maxValues"]["optional"].as_str(), texts().max());
        }
    }
}

#[test]
fn more_rows_than_a_row_group_holds_read_back_in_order() {
    let rows = ROW_GROUP_ROWS + 1000;
    let texts: Vec<String> = (0..rows).map(|n| format!("{}", n / 3)).collect();
    let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    let columns = vec![
        numbered(&texts),
        new_null_array(&arrow::datatypes::DataType::Utf8, rows),
    ];
    let schema = arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("required", columns[0].data_type().clone(), false),
        arrow::datatypes::Field::new("optional", arrow::datatypes::DataType::Utf8, true),
    ]);
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let read = read_back(encode(&TWO_TEXTS, &[batch], Effort::Fast).unwrap());
    let read_texts: Vec<Option<&str>> = read.column(0).as_string::<i32>().iter().collect();
    assert_eq!(read_texts, texts);
    assert_eq!(read.column(1).null_count(), rows);
}

fn numbers() -> arrow::datatypes::SchemaRef {
    use arrow::datatypes::{DataType, Field, Schema};
    Arc::new(Schema::new(vec![
        Field::new("long", DataType::Int64, false),
        Field::new("int", DataType::Int32, true),
        Field::new("instant", crate::schema::stored_instant(), true),
    ]))
}

static NUMBERS: TableSpec = TableSpec {
    name: "numbers",
    schema: numbers,
    partition_by: None,
    statistics: &["long", "int", "instant"],
    unique: &[],
};

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
    /// Small, large, rising and extreme ones, with and without nulls.
    #[test]
    fn numbers_read_back_as_written(
        longs in proptest::collection::vec(
            proptest::prop_oneof![0i64..20, proptest::prelude::any::<i64>(), proptest::prelude::Just(i64::MIN), proptest::prelude::Just(i64::MAX)],
            1..500,
        ),
        ints in proptest::collection::vec(proptest::option::weighted(0.7, proptest::prelude::any::<i32>()), 500),
        cut in 0usize..500,
    ) {
        let rows = longs.len();
        let ints = &ints[..rows];
        let instants: Vec<Option<i64>> = ints.iter().enumerate()
            .map(|(n, int)| int.map(|_| 1_772_323_200_000_000 + n as i64 * 1000))
            .collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(arrow::array::Int64Array::from(longs.clone())),
            Arc::new(arrow::array::Int32Array::from(ints.to_vec())),
            Arc::new(arrow::array::TimestampMicrosecondArray::from(instants).with_timezone("UTC")),
        ];
        let batch = RecordBatch::try_new(numbers(), columns).unwrap();
        let cut = cut % rows;
        let parts = [batch.slice(0, cut), batch.slice(cut, rows - cut)];
        let read = read_back(encode(&NUMBERS, &parts, Effort::Fast).unwrap());
        proptest::prop_assert_eq!(read.columns(), batch.columns());
    }
}

fn facts() -> arrow::datatypes::SchemaRef {
    use arrow::datatypes::{DataType, Field, Schema};
    let attrs = siji_schemas::arrow::attrs_type();
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("hash", DataType::Int64, true),
        Field::new("value", DataType::Decimal128(18, 6), true),
        Field::new("sum", DataType::Decimal128(38, 6), true),
        Field::new("attrs", attrs.clone(), true),
        Field::new("more", attrs, false),
    ]))
}

static FACTS: TableSpec = TableSpec {
    name: "facts",
    schema: facts,
    partition_by: None,
    statistics: &[],
    unique: &["id", "hash"],
};

/// Maps by row; a null map may span entries all the same.
type Maps = Vec<(bool, Vec<(u8, Option<u16>)>)>;

fn maps(rows: &Maps, may_be_null: bool) -> ArrayRef {
    let DataType::Map(entries, sorted) = siji_schemas::arrow::attrs_type() else {
        unreachable!("attrs are maps")
    };
    let DataType::Struct(fields) = entries.data_type().clone() else {
        unreachable!("of keys and values")
    };
    let all = || rows.iter().flat_map(|(_, pairs)| pairs);
    let keys: StringArray = all().map(|(key, _)| Some(format!("键{key}"))).collect();
    let values: StringArray = all().map(|(_, v)| v.map(|v| format!("v{v}"))).collect();
    let pairs = StructArray::new(fields, vec![Arc::new(keys), Arc::new(values)], None);
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|(_, pairs)| pairs.len()));
    let nulls = may_be_null.then(|| rows.iter().map(|(valid, _)| *valid).collect());
    Arc::new(MapArray::new(entries, offsets, pairs, nulls, sorted))
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
    #[test]
    fn ids_decimals_and_maps_read_back_as_written(
        ids in proptest::collection::vec(proptest::option::weighted(0.8, proptest::prelude::any::<i64>()), 1..200),
        rows in proptest::collection::vec(
            (proptest::prelude::any::<bool>(), proptest::collection::vec((0u8..6, proptest::option::weighted(0.8, 0u16..300)), 0..4)),
            200,
        ),
        numbered_ids in proptest::prelude::any::<bool>(),
        entries in proptest::prelude::any::<bool>(),
        cut in 0usize..200,
    ) {
        let length = ids.len();
        let mut rows = rows[..length].to_vec();
        if !entries {
            rows.iter_mut().for_each(|(_, pairs)| pairs.clear());
        }
        let texts: Vec<Option<String>> = ids.iter().map(|id| id.map(|id| id.to_string())).collect();
        let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
        let plain: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let decimals: Decimal128Array = ids.iter().map(|id| id.map(|id| i128::from(id % 1_000_000_000_000_000_000))).collect();
        let sums: Decimal128Array = ids.iter().map(|id| id.map(|id| i128::from(id) * -7_000_000_000_000_000_003)).collect();
        let mut columns: Vec<ArrayRef> = vec![
            if numbered_ids { numbered(&texts) } else { Arc::clone(&plain) },
            Arc::new(arrow::array::Int64Array::from(ids)),
            Arc::new(decimals.with_precision_and_scale(18, 6).unwrap()),
            Arc::new(sums.with_precision_and_scale(38, 6).unwrap()),
            maps(&rows, true),
            maps(&rows, false),
        ];
        let fields: Vec<arrow::datatypes::Field> = facts()
            .fields()
            .iter()
            .zip(&columns)
            .map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()))
            .collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let batch = RecordBatch::try_new(schema, columns.clone()).unwrap();
        let cut = cut % length;
        let parts = [batch.slice(0, cut), batch.slice(cut, length - cut)];
        let read = read_back(encode(&FACTS, &parts, Effort::Fast).unwrap());
        columns[0] = plain;
        for (read, written) in read.columns().iter().zip(&columns) {
            proptest::prop_assert_eq!(read, written);
        }
    }
}

#[test]
fn what_cannot_be_stored_is_refused_and_not_left_out() {
    let nullable = |column: &ArrayRef| {
        let field = |name: &str, column: &ArrayRef| {
            arrow::datatypes::Field::new(name, column.data_type().clone(), true)
        };
        let optional = new_null_array(&DataType::Utf8, column.len());
        let schema = arrow::datatypes::Schema::new(vec![
            field("required", column),
            field("optional", &optional),
        ]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(column), optional]);
        encode(&TWO_TEXTS, &[batch.unwrap()], Effort::Fast)
    };
    let null: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    assert!(nullable(&null).is_err());
    let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1, 2]));
    assert!(nullable(&numbers).is_err());
    let numbered = arrow::compute::cast(
        &numbers,
        &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Int64)),
    );
    assert!(nullable(&numbered.unwrap()).is_err());
}
