//! A lake written as the aggregator writes it, and questions to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use siji_lake::log::Change;
use siji_lake::schema::{FOLLOWED_ROLLUP, LEDGER, REF_AREAS, REGISTERS, ROLLUP, TableSpec};
use siji_lake::snapshot::ReaderOptions;
use siji_lake::{Lake, LakeLocation, TableWriter, Txn};
use siji_query::format::{Format, encode};
use siji_query::{
    Engine, EngineOptions, Limits, Parameters, Principal, QueryError, QueryOptions, QueryResult,
};
use tempfile::TempDir;

/// A lake in a directory that goes when the test ends.
pub struct TestLake {
    directory: TempDir,
    lake: Lake,
    writers: BTreeMap<&'static str, TableWriter>,
}

impl TestLake {
    pub async fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lake");
        let location = LakeLocation::parse(path.to_str().unwrap(), BTreeMap::new()).unwrap();
        let lake = Lake::open_or_create(&location, "+08:00").await.unwrap();
        Self {
            directory,
            lake,
            writers: BTreeMap::new(),
        }
    }

    /// A day of a small city in all four tables.
    pub async fn with_a_day() -> Self {
        let mut lake = Self::empty().await;
        lake.commit(&LEDGER, &[ledger_day()]).await;
        lake.commit(&ROLLUP, &rollup_day()).await;
        lake.commit(&REGISTERS, &[registers()]).await;
        lake.commit(&REF_AREAS, &[areas()]).await;
        lake
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("lake")
    }

    /// One commit of one file for each of `files`; a rollup file is of the tier of its first row.
    pub async fn commit(&mut self, spec: &'static TableSpec, files: &[Vec<Value>]) {
        self.commit_with(spec, files, Vec::new()).await;
    }

    /// The same for days that have followed the hours to a version.
    pub async fn commit_following(
        &mut self,
        spec: &'static TableSpec,
        files: &[Vec<Value>],
        followed: i64,
    ) {
        let position = Txn {
            app_id: FOLLOWED_ROLLUP.to_owned(),
            version: followed,
            last_updated: None,
        };
        self.commit_with(spec, files, vec![position]).await;
    }

    async fn commit_with(
        &mut self,
        spec: &'static TableSpec,
        files: &[Vec<Value>],
        txns: Vec<Txn>,
    ) {
        if !self.writers.contains_key(spec.name) {
            self.writers.insert(
                spec.name,
                TableWriter::open(&self.lake, spec).await.unwrap(),
            );
        }
        let writer = self.writers.get_mut(spec.name).unwrap();
        let mut change = Change {
            txns,
            ..Change::default()
        };
        for rows in files {
            let partition = spec
                .partition_by
                .map(|column| rows[0][column].as_str().unwrap().to_owned());
            change.adds.push(
                writer
                    .write_file(partition.as_deref(), &[batch(spec, rows)])
                    .await
                    .unwrap(),
            );
        }
        writer.commit(change).await.unwrap();
    }

    pub fn lake(&self) -> Lake {
        self.lake.clone()
    }

    pub fn engine(&self) -> Engine {
        self.engine_with(Limits::default())
    }

    /// An engine that does not see one of the tables.
    pub fn engine_without(&self, table: &str) -> Engine {
        let options = EngineOptions {
            snapshots: BTreeMap::from([(table.to_owned(), None)]),
            ..EngineOptions::default()
        };
        Engine::open(self.lake.clone(), options).unwrap()
    }

    pub fn engine_with(&self, limits: Limits) -> Engine {
        let reader = ReaderOptions {
            refresh_interval: Duration::ZERO,
            ..ReaderOptions::default()
        };
        let services = BTreeMap::from([("services".to_owned(), services())]);
        Engine::open(
            self.lake.clone(),
            EngineOptions {
                limits,
                reader,
                tables: services,
                ..EngineOptions::default()
            },
        )
        .unwrap()
    }

    /// Every file of the lake with its bytes' length, to see that nothing was written.
    pub fn contents(&self) -> BTreeMap<PathBuf, u64> {
        fn walk(at: &Path, found: &mut BTreeMap<PathBuf, u64>) {
            for entry in std::fs::read_dir(at).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), found);
                } else {
                    found.insert(entry.path(), entry.metadata().unwrap().len());
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.directory.path(), &mut found);
        found
    }
}

/// Rows as a batch of the table; what a row leaves out is null.
pub fn batch(spec: &TableSpec, rows: &[Value]) -> RecordBatch {
    let mut decoder = arrow::json::ReaderBuilder::new((spec.schema)())
        .build_decoder()
        .unwrap();
    decoder.serialize(rows).unwrap();
    decoder.flush().unwrap().unwrap()
}

/// One ledger row of the given offset, overlaid with `own`.
pub fn ledger_row(offset: i64, own: Value) -> Value {
    let mut row = json!({
        "topic_epoch": 0, "partition": 0, "offset": offset, "offset_last": offset, "disposition": "accepted",
        "ingested_at": "2026-10-01T00:00:05Z", "broker_at": "2026-10-01T00:00:04Z", "ref_version": "v1",
        "local_date": "2026-10-01", "street_code": "330502001", "district_code": "330502", "city_code": "3305",
        "province_code": "33", "event_id": format!("e{offset}"), "schema_version": 1, "event_type": "case.opened",
        "op": "assert", "occurred_at": "2026-10-01T00:00:00Z", "recorded_at": "2026-10-01T00:00:01Z",
        "source_id": "c1", "incarnation": 7, "source_seq": offset, "area_code": "330502001001",
        "home_area_code": "330502001001", "subject_kind": "case", "subject_id": format!("s{offset}"),
        "qualifier": "exact", "attrs": {"line": "12345"},
    });
    for (name, value) in own.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

/// Ten offsets: six accepted, a duplicate, two refused, one gap; the source's sequence lacks 4 and 5.
pub fn ledger_day() -> Vec<Value> {
    vec![
        ledger_row(0, json!({"source_seq": 1})),
        ledger_row(
            1,
            json!({"source_seq": 2, "district_code": "330521", "amount_fen": 12345, "value": "3.5", "unit": "m2"}),
        ),
        ledger_row(
            2,
            json!({"source_seq": 3, "event_type": "case.closed", "outcome": "resolved", "minutes": 90}),
        ),
        ledger_row(
            3,
            json!({"source_seq": 3, "event_id": "e2", "disposition": "duplicate"}),
        ),
        ledger_row(
            4,
            json!({
                "disposition": "quarantined", "code": "V04", "field": "area_code", "reason": "unknown area",
                "source_seq": 6, "payload": "7b7d", "payload_bytes": 2, "event_id": null, "event_type": null,
            }),
        ),
        ledger_row(5, json!({"source_seq": 7})),
        ledger_row(
            6,
            json!({"source_id": "c2", "incarnation": 9, "source_seq": 0, "district_code": "330521"}),
        ),
        ledger_row(
            7,
            json!({"source_id": "c2", "incarnation": 10, "source_seq": 0}),
        ),
        ledger_row(
            8,
            json!({
                "disposition": "parked", "code": "V11", "reason": "target not seen", "source_id": "c2", "incarnation": 10,
                "source_seq": 1,
            }),
        ),
        json!({
            "topic_epoch": 0, "partition": 0, "offset": 9, "offset_last": 11, "disposition": "gap",
            "reason": "control records", "ingested_at": "2026-10-01T00:00:06Z",
        }),
    ]
}

/// One rollup row.
pub fn rollup_row(tier: &str, area: &str, hour: u32, own: Value) -> Value {
    let mut row = json!({
        "tier": tier, "hour": format!("2026-10-01T{hour:02}:00:00Z"), "local_date": "2026-10-01", "area_code": area,
        "placement": "placed", "city_code": "3305", "province_code": "33", "event_type": "case.opened", "events": 1,
    });
    for (name, value) in own.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

/// The same eleven events at street, district and city, with durations 1 to 11 minutes.
fn rollup_day() -> Vec<Vec<Value>> {
    let hist = |minutes: &[u32]| {
        let counts: serde_json::Map<String, Value> =
            minutes.iter().map(|m| (m.to_string(), json!(1))).collect();
        Value::Object(counts)
    };
    let low: Vec<u32> = (1..=6).collect();
    let high: Vec<u32> = (7..=11).collect();
    let measured = |minutes: &[u32]| {
        json!({
            "events": minutes.len(), "minutes_n": minutes.len(), "minutes_sum": minutes.iter().sum::<u32>(),
            "minutes_hist": hist(minutes), "value_sum": "1.25", "value_n": 1,
        })
    };
    vec![
        vec![
            rollup_row("street", "330502001", 1, measured(&low)),
            rollup_row("street", "330521001", 2, measured(&high)),
        ],
        vec![
            rollup_row("district", "330502", 1, measured(&low)),
            rollup_row("district", "330521", 2, measured(&high)),
        ],
        vec![
            rollup_row("city", "3305", 1, measured(&low)),
            rollup_row("city", "3305", 2, measured(&high)),
        ],
    ]
}

fn register(area: &str, as_of: &str, recorded: &str, id: &str, own: Value) -> Value {
    let mut row = json!({
        "register": "fac.total", "area_code": area, "area_tier": 1, "as_of": as_of, "qualifier": "exact",
        "event_id": id, "recorded_at": recorded, "topic_epoch": 0, "partition": 0, "offset": 0,
    });
    for (name, value) in own.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

/// Two areas: one restated and then superseded, one damaged.
fn registers() -> Vec<Value> {
    vec![
        register(
            "a1",
            "2007-06-28",
            "2026-01-01T00:00:00Z",
            "r1",
            json!({"value": "10"}),
        ),
        register(
            "a1",
            "2007-06-28",
            "2026-01-02T00:00:00Z",
            "r2",
            json!({"value": "12"}),
        ),
        register(
            "a1",
            "2007-06-28",
            "2026-01-02T00:00:00Z",
            "r0",
            json!({"value": "11"}),
        ),
        register(
            "a1",
            "2008-01-01",
            "2026-01-01T00:00:00Z",
            "r3",
            json!({"value": "20"}),
        ),
        register(
            "a2",
            "2007-01-01",
            "2026-01-01T00:00:00Z",
            "r4",
            json!({"qualifier": "damaged"}),
        ),
    ]
}

fn areas() -> Vec<Value> {
    let area = |version: &str, code: &str, name: &str, loaded: &str| json!({"ref_version": version, "area_code": code, "tier": "district", "name": name, "loaded_at": loaded});
    vec![
        area("v9", "330502", "旧名", "2026-01-01T00:00:00Z"),
        area("v10", "330502", "吴兴区", "2026-02-01T00:00:00Z"),
        area("v10", "330521", "德清县", "2026-02-01T00:00:00Z"),
    ]
}

fn services() -> RecordBatch {
    use arrow::array::StringArray;
    let codes = StringArray::from(vec!["01.01", "01.02"]);
    RecordBatch::try_from_iter([("service_code", std::sync::Arc::new(codes) as _)]).unwrap()
}

/// Runs a query as the command line does.
pub async fn run(engine: &Engine, sql: &str) -> Result<QueryResult, QueryError> {
    run_with(engine, sql, &[]).await
}

pub async fn run_with(
    engine: &Engine,
    sql: &str,
    params: &[Value],
) -> Result<QueryResult, QueryError> {
    let parameters = Parameters::from_json(params)?;
    engine
        .session(Principal::local())
        .query(sql, parameters, QueryOptions::default())
        .await
}

/// The rows as JSON objects.
pub async fn rows(engine: &Engine, sql: &str) -> Result<Vec<Value>, QueryError> {
    rows_with(engine, sql, &[]).await
}

pub async fn rows_with(
    engine: &Engine,
    sql: &str,
    params: &[Value],
) -> Result<Vec<Value>, QueryError> {
    let bytes = bytes(run_with(engine, sql, params).await?, Format::Ndjson).await?;
    Ok(std::str::from_utf8(&bytes)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect())
}

/// The single value of a single row.
pub async fn value(engine: &Engine, sql: &str) -> Value {
    let rows = rows(engine, sql).await.unwrap();
    assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
    let row = rows[0].as_object().unwrap();
    assert_eq!(row.len(), 1, "{sql}: {row:?}");
    row.values().next().unwrap().clone()
}

/// A result's bytes in a format.
pub async fn bytes(result: QueryResult, format: Format) -> Result<Vec<u8>, QueryError> {
    encode(result, format)
        .await?
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
}

/// The error a query ends with, at once or while its rows are read.
pub async fn failure(engine: &Engine, sql: &str) -> QueryError {
    match run(engine, sql).await {
        Err(error) => error,
        Ok(mut result) => loop {
            match result.rows.next().await {
                Some(Err(error)) => return error,
                Some(Ok(_)) => {}
                None => panic!("did not fail: {sql}"),
            }
        },
    }
}
