//! Every format gives back what was asked, and says when it could not.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use arrow::ipc::reader::StreamReader;
use futures::TryStreamExt;
use serde_json::{Value, json};
use siji_lake::schema::LEDGER;
use siji_query::Limits;
use siji_query::format::{CsvStyle, Format, encode_telling};

use crate::lake::{TestLake, bytes, ledger_row, run};

/// One row of many types, one of nulls.
const MIXED: &str = "SELECT event_id, \"offset\", value, occurred_at, local_date, minutes, attrs, \
                     \"offset\" = 1 AS first, CAST(\"offset\" AS DOUBLE) / 4 AS ratio \
                     FROM events WHERE \"offset\" IN (1, 5) ORDER BY \"offset\"";

async fn text(lake: &TestLake, sql: &str, format: Format) -> String {
    let engine = lake.engine();
    String::from_utf8(
        bytes(run(&engine, sql).await.unwrap(), format)
            .await
            .unwrap(),
    )
    .unwrap()
}

#[tokio::test]
async fn json_has_columns_versions_rows_and_their_count() {
    let lake = TestLake::with_a_day().await;
    let answer: Value = serde_json::from_str(&text(&lake, MIXED, Format::Json).await).unwrap();
    assert_eq!(answer["versions"], json!({"ledger": 1}));
    assert_eq!(answer["row_count"], 2);
    assert_eq!(
        answer["columns"][2],
        json!({"name": "value", "type": "decimal(18,6)"})
    );
    assert_eq!(answer["columns"][3]["type"], "timestamptz");
    let first = json!({
        "event_id": "e1", "offset": 1, "value": "3.500000", "occurred_at": "2026-10-01T00:00:00Z",
        "local_date": "2026-10-01", "minutes": null, "attrs": {"line": "12345"}, "first": true, "ratio": 0.25,
    });
    assert_eq!(answer["rows"][0], first);
    assert_eq!(answer["rows"][1]["value"], Value::Null);
}

#[tokio::test]
async fn an_empty_result_is_still_a_whole_document() {
    let lake = TestLake::with_a_day().await;
    let none = "SELECT event_id FROM events WHERE false";
    let answer: Value = serde_json::from_str(&text(&lake, none, Format::Json).await).unwrap();
    assert_eq!(
        (&answer["rows"], &answer["row_count"]),
        (&json!([]), &json!(0))
    );
    assert_eq!(text(&lake, none, Format::Ndjson).await, "");
    assert_eq!(
        text(&lake, none, Format::Csv(CsvStyle::default())).await,
        "event_id\r\n"
    );
    assert_eq!(
        text(&lake, none, Format::Table).await,
        " event_id\n----------\n(0 rows)\n"
    );
    let engine = lake.engine();
    for format in [Format::Arrow, Format::Parquet] {
        let (schema, batches) = read_back(
            bytes(run(&engine, none).await.unwrap(), format)
                .await
                .unwrap(),
            format,
        );
        assert_eq!(schema, [("event_id".to_owned(), DataType::Utf8)]);
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    }
}

#[tokio::test]
async fn integers_keep_all_their_digits_and_histograms_their_keys() {
    let lake = TestLake::with_a_day().await;
    let big = text(
        &lake,
        "SELECT 9007199254740993 AS n, 0.1 + 0.2 AS f",
        Format::Ndjson,
    )
    .await;
    assert!(big.contains("9007199254740993"), "{big}");
    let hist = text(
        &lake,
        "SELECT minutes_hist FROM rollup_city WHERE hour = '2026-10-01T02:00:00Z'",
        Format::Ndjson,
    )
    .await;
    let hist: Value = serde_json::from_str(&hist).unwrap();
    assert_eq!(
        hist["minutes_hist"],
        json!({"7": 1, "8": 1, "9": 1, "10": 1, "11": 1})
    );
}

#[tokio::test]
async fn equal_column_names_are_told_apart() {
    let lake = TestLake::with_a_day().await;
    let sql = "SELECT a.area_code, b.area_code FROM areas a JOIN areas b ON a.area_code = b.area_code LIMIT 1";
    let row: Value = serde_json::from_str(&text(&lake, sql, Format::Ndjson).await).unwrap();
    assert_eq!(
        row.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["area_code", "area_code_2"]
    );
}

#[tokio::test]
async fn csv_follows_rfc_4180() {
    let lake = TestLake::with_a_day().await;
    let sql = "SELECT * FROM (VALUES (1, 'plain'), (2, 'a,b'), (3, 'say \"hi\"'), (4, E'two\\nlines'), (5, NULL), (6, '社区')) t(n, x)";
    let csv = text(&lake, sql, Format::Csv(CsvStyle::default())).await;
    assert_eq!(
        csv,
        "n,x\r\n1,plain\r\n2,\"a,b\"\r\n3,\"say \"\"hi\"\"\"\r\n4,\"two\nlines\"\r\n5,\r\n6,社区\r\n"
    );
    let mixed = text(&lake, MIXED, Format::Csv(CsvStyle::default())).await;
    let second = mixed.lines().nth(1).unwrap();
    assert_eq!(
        second,
        "e1,1,3.500000,2026-10-01T00:00:00Z,2026-10-01,,\"{\"\"line\"\":\"\"12345\"\"}\",true,0.25"
    );
}

#[tokio::test]
async fn csv_escapes_formulas_only_when_asked() {
    let lake = TestLake::with_a_day().await;
    let sql = "SELECT * FROM (VALUES ('=1+1', -5), ('@x', 1), ('-2.5', 2), ('plain', 3)) t(x, n)";
    let raw = text(&lake, sql, Format::Csv(CsvStyle::default())).await;
    assert_eq!(raw, "x,n\r\n=1+1,-5\r\n@x,1\r\n-2.5,2\r\nplain,3\r\n");
    let safe = text(
        &lake,
        sql,
        Format::Csv(CsvStyle {
            escape_formulas: true,
        }),
    )
    .await;
    assert_eq!(safe, "x,n\r\n'=1+1,-5\r\n'@x,1\r\n-2.5,2\r\nplain,3\r\n");
}

type Columns = Vec<(String, DataType)>;

fn read_back(bytes: Vec<u8>, format: Format) -> (Columns, Vec<RecordBatch>) {
    let (schema, batches) = match format {
        Format::Arrow => {
            let reader = StreamReader::try_new(Cursor::new(bytes), None).unwrap();
            (
                reader.schema(),
                reader.collect::<Result<Vec<_>, _>>().unwrap(),
            )
        }
        _ => {
            let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
                bytes::Bytes::from(bytes),
            )
            .unwrap();
            (
                Arc::clone(builder.schema()),
                builder
                    .build()
                    .unwrap()
                    .collect::<Result<Vec<_>, _>>()
                    .unwrap(),
            )
        }
    };
    let columns = schema
        .fields()
        .iter()
        .map(|f| (f.name().clone(), f.data_type().clone()))
        .collect();
    (columns, batches)
}

#[tokio::test]
async fn arrow_and_parquet_keep_types_and_values() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    for format in [Format::Arrow, Format::Parquet] {
        let (columns, batches) = read_back(
            bytes(run(&engine, MIXED).await.unwrap(), format)
                .await
                .unwrap(),
            format,
        );
        let types: Vec<&DataType> = columns.iter().map(|(_, t)| t).collect();
        assert_eq!(
            types[0],
            &DataType::Utf8,
            "{format:?}: no view types outside"
        );
        assert_eq!(types[2], &DataType::Decimal128(18, 6));
        assert_eq!(types[3], &siji_lake::schema::stored_instant());
        let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(batch.column(0).as_string::<i32>().value(0), "e1");
        assert_eq!(
            batch.column(1).as_primitive::<Int64Type>().values(),
            &[1, 5]
        );
        let value = batch.column(2).as_primitive::<Decimal128Type>();
        assert_eq!((value.value(0), value.is_null(1)), (3_500_000, true));
        assert_eq!(
            batch
                .column(6)
                .as_map()
                .value(0)
                .column(1)
                .as_string::<i32>()
                .value(0),
            "12345"
        );
    }
}

#[tokio::test]
async fn a_large_parquet_result_is_sent_in_row_groups_and_adds_up() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let sql =
        "SELECT value, 'text ' || CAST(value AS VARCHAR) AS t FROM generate_series(1, 400000)";
    let file = bytes(run(&engine, sql).await.unwrap(), Format::Parquet)
        .await
        .unwrap();
    let (_, batches) = read_back(file, Format::Parquet);
    let sum: i64 = batches
        .iter()
        .map(|b| arrow::compute::sum(b.column(0).as_primitive::<Int64Type>()).unwrap())
        .sum();
    assert_eq!(sum, 400_000 * 400_001 / 2);
}

#[tokio::test]
async fn a_table_lines_up_with_chinese_in_it() {
    let lake = TestLake::with_a_day().await;
    let sql = "SELECT * FROM (VALUES ('吴兴区', 12), ('Deqing', NULL), (E'a\\u0007b', 3)) t(district, events)";
    let expected = [
        " district | events",
        "----------+--------",
        " 吴兴区   |     12",
        " Deqing   |      —",
        " a·b      |      3",
        "(3 rows)",
        "",
    ];
    assert_eq!(text(&lake, sql, Format::Table).await, expected.join("\n"));
}

#[tokio::test]
async fn a_query_that_breaks_off_is_seen_in_every_format() {
    let mut lake = TestLake::empty().await;
    // The failing row comes late: rows before it have been sent.
    for i in 0..4 {
        let rows: Vec<Value> = (0..9000)
            .map(|j| ledger_row(i * 9000 + j, json!({})))
            .collect();
        lake.commit(&LEDGER, &[rows]).await;
    }
    let engine = lake.engine_with(Limits {
        threads: 1,
        ..Limits::default()
    });
    let sql = "SELECT \"offset\", 1 / (35000 - \"offset\") AS x FROM ledger";
    // A reader with a status line behind it is told in the text, and so is who writes the log.
    let (tell, told) = std::sync::mpsc::channel();
    let result = run(&engine, sql).await.unwrap();
    let json: Vec<_> = encode_telling(result, Format::Json, move |error| {
        tell.send(error.code()).unwrap();
    })
    .await
    .unwrap()
    .try_collect()
    .await
    .unwrap();
    let json: Value = serde_json::from_slice(&json.concat()).unwrap();
    assert_eq!(told.recv(), Ok("execution"));
    assert_eq!(json["error"]["code"], "execution");
    assert!(
        json["error"]["detail"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .contains("divide by zero"),
        "{}",
        json["error"]
    );
    assert!(json.get("row_count").is_none());
    for format in [
        Format::Json,
        Format::Ndjson,
        Format::Csv(CsvStyle::default()),
        Format::Arrow,
        Format::Parquet,
        Format::Table,
    ] {
        let error = bytes(run(&engine, sql).await.unwrap(), format)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "execution", "{format:?}: {error}");
    }
}
