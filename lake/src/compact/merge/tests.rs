use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;

use super::*;

type Row = (Option<i64>, Option<String>, i64);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("t", DataType::Utf8, true),
        Field::new("x", DataType::Int64, false),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(
                rows.iter()
                    .map(|row| row.1.clone())
                    .collect::<StringArray>(),
            ),
            Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>()),
        ],
    )
    .unwrap()
}

async fn files(store: &Arc<dyn ObjectStore>, files: &[Vec<Row>]) -> Vec<DataFile> {
    let mut written = Vec::new();
    for (n, rows) in files.iter().enumerate() {
        let mut writer = ArrowWriter::try_new(Vec::new(), schema(), None).unwrap();
        writer.write(&batch(rows)).unwrap();
        let bytes = writer.into_inner().unwrap();
        let (path, size) = (Path::from(format!("{n}.parquet")), bytes.len() as u64);
        store.put(&path, bytes.into()).await.unwrap();
        written.push(DataFile {
            path,
            size,
            rows: None,
        });
    }
    written
}

async fn merged(
    store: &Arc<dyn ObjectStore>,
    source: &Source,
    sort: &HashSet<usize>,
) -> Result<Vec<Row>, MergeError> {
    let mut merge = Merge::open(store, source, sort).await?;
    let mut rows = Vec::new();
    while let Some(batch) = merge.next().await? {
        let (n, t) = (
            batch.column(0).as_primitive::<Int64Type>(),
            batch.column(1).as_string::<i32>(),
        );
        let x = batch.column(2).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let number = n.is_valid(row).then(|| n.value(row));
            let text = t.is_valid(row).then(|| t.value(row).to_owned());
            rows.push((number, text, x.value(row)));
        }
    }
    Ok(rows)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #[test]
    fn all_rows_come_once_and_in_order(
        mut given in proptest::collection::vec(
            proptest::collection::vec((proptest::option::of(0i64..20), proptest::option::of("[a-c]{0,2}"), 0i64..1000), 0..60),
            1..6,
        ),
        unsorted in 0usize..6,
    ) {
        for (n, rows) in given.iter_mut().enumerate() {
            if n != unsorted {
                rows.sort();
            }
        }
        run(async {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let source = Source { files: files(&store, &given).await, schema: schema(), order: vec!["n", "t"] };
            let sort = HashSet::from([unsorted]);
            let rows = merged(&store, &source, &sort).await.unwrap();
            let keys: Vec<_> = rows.iter().map(|row| (row.0, row.1.clone())).collect();
            assert!(keys.is_sorted());
            let mut all: Vec<Row> = given.concat();
            let mut rows = rows;
            all.sort();
            rows.sort();
            assert_eq!(rows, all);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Runs that are given out as they are, before, after and between rows that are gathered.
    #[test]
    fn long_and_short_runs_of_files_come_in_order(
        blocks in proptest::collection::vec((0usize..3, prop_oneof![1usize..5, 900usize..5000]), 1..12),
    ) {
        let mut given: Vec<Vec<Row>> = vec![Vec::new(); 3];
        let mut all = 0;
        for (file, rows) in blocks {
            given[file].extend((all..all + rows).map(|n| (Some(n as i64), None, n as i64)));
            all += rows;
        }
        run(async {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let source = Source { files: files(&store, &given).await, schema: schema(), order: vec!["n", "t"] };
            let rows = merged(&store, &source, &HashSet::new()).await.unwrap();
            assert!(rows.iter().map(|row| row.2).eq(0..all as i64));
        });
    }
}

#[test]
fn a_file_that_is_not_in_order_is_named() {
    run(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let given = [
            vec![(Some(1), None, 0)],
            vec![(Some(2), None, 0), (Some(1), None, 1)],
        ];
        let mut source = Source {
            files: files(&store, &given).await,
            schema: schema(),
            order: vec!["n"],
        };
        let error = merged(&store, &source, &HashSet::new()).await.unwrap_err();
        assert!(matches!(error, MergeError::Unsorted(1)), "{error}");
        source.order.clear();
        let as_they_came = merged(&store, &source, &HashSet::new()).await.unwrap();
        assert_eq!(as_they_came, given.concat());
    });
}
