//! A lake that is new, one that is gone, and what can be listed of it.

use serde_json::Value;

use crate::lake::{TestLake, rows, value};

#[tokio::test]
async fn a_fresh_lake_has_every_table_empty_with_its_columns() {
    let lake = TestLake::empty().await;
    let engine = lake.engine();
    for table in [
        "ledger",
        "events",
        "quarantine",
        "rollup",
        "rollup_street",
        "registers",
        "areas",
        "sources",
    ] {
        assert_eq!(
            value(&engine, &format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
    let sum = value(
        &engine,
        "SELECT sum(events) FROM rollup_city WHERE hour >= '2026-10-01'",
    )
    .await;
    assert_eq!(sum, Value::Null);
}

#[tokio::test]
async fn added_tables_join_with_the_lakes() {
    let lake = TestLake::with_a_day().await;
    assert_eq!(
        value(&lake.engine(), "SELECT count(*) FROM services").await,
        2
    );
}

#[tokio::test]
async fn tables_and_columns_can_be_listed_but_settings_cannot() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let shown = rows(&engine, "SHOW TABLES").await.unwrap();
    let names: Vec<&str> = shown
        .iter()
        .map(|row| row["table_name"].as_str().unwrap())
        .collect();
    for table in [
        "ledger",
        "events",
        "rollup_street",
        "registers",
        "services",
        "columns",
    ] {
        assert!(names.contains(&table), "{table} in {names:?}");
    }
    assert!(!names.contains(&"df_settings"));
    let columns = rows(&engine, "DESCRIBE rollup_street").await.unwrap();
    assert!(
        columns.iter().any(|c| c["column_name"] == "minutes_hist"),
        "{columns:?}"
    );
    let columns = rows(
        &engine,
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'events'",
    )
    .await
    .unwrap();
    assert!(columns.len() > 40);
    let refused = rows(&engine, "SELECT * FROM information_schema.df_settings")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "plan", "{refused}");
}

#[tokio::test]
async fn a_lake_that_is_gone_is_an_error_and_not_an_empty_answer() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    engine.ready().await.unwrap();
    std::fs::remove_dir_all(lake.path()).unwrap();
    let not_ready = engine.ready().await.unwrap_err();
    assert_eq!(not_ready.code(), "lake");
    for table in ["events", "registers", "areas"] {
        let error = rows(&engine, &format!("SELECT count(*) FROM {table}"))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "lake", "{table}: {error}");
    }
    let fresh = TestLake::empty().await;
    let engine = fresh.engine();
    std::fs::remove_dir_all(fresh.path()).unwrap();
    let error = rows(&engine, "SELECT count(*) FROM events")
        .await
        .unwrap_err();
    assert_eq!(
        error.code(),
        "lake",
        "never made, and now the lake is gone: {error}"
    );
}

#[tokio::test]
async fn a_missing_parquet_file_is_named() {
    let lake = TestLake::with_a_day().await;
    let engine = lake.engine();
    let file = std::fs::read_dir(lake.path().join("ledger"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "parquet"))
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let error = rows(&engine, "SELECT sum(\"offset\") FROM ledger")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "lake", "{error}");
    assert!(
        error
            .to_string()
            .contains(file.file_name().unwrap().to_str().unwrap()),
        "{error}"
    );
}
