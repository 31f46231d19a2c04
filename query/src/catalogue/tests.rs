use std::collections::BTreeSet;

use super::description::{describe, type_name};
use super::*;

/// A template as the engine makes it.
fn template() -> SessionState {
    let mut config = datafusion::config::ConfigOptions::new();
    config.catalog.default_catalog = CATALOGUE.to_owned();
    config.catalog.default_schema = SCHEMA.to_owned();
    config.catalog.create_default_catalog_and_schema = false;
    crate::functions::Functions::new(1 << 20)
        .register(SessionStateBuilder::new().with_config(config.into()))
        .build()
}

/// All tables over an empty directory: each has the columns it will have.
async fn schemas() -> BTreeMap<String, arrow::datatypes::SchemaRef> {
    let directory = tempfile::tempdir().unwrap();
    let location =
        siji_lake::LakeLocation::parse(directory.path().to_str().unwrap(), BTreeMap::new())
            .unwrap();
    let lake = Lake::open_or_create(&location, "+08:00").await.unwrap();
    let sources = LAKE_TABLES
        .iter()
        .map(|spec| {
            let reader = TableReader::open(
                lake.root_store(),
                lake.table_url(spec.name),
                Default::default(),
            );
            (spec.name, Source::Newest(Arc::new(reader.unwrap())))
        })
        .collect();
    let store = ObjectStoreUrl::parse("lake://test").unwrap();
    let pinned = Arc::new(PinnedTables::new(lake, store, &sources, Arc::default()));
    let state = VisibleTables::session(&template(), pinned, Arc::default());
    let schema = state.schema_for_ref("events").unwrap();
    let mut all = BTreeMap::new();
    for name in schema.table_names() {
        all.insert(
            name.clone(),
            schema.table(&name).await.unwrap().expect(&name).schema(),
        );
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_and_column_is_described_in_both_languages() {
    let mut missing = BTreeSet::new();
    for (table, schema) in schemas().await {
        let described = describe(&table, &schema);
        if described.zh.is_empty() || described.en.is_empty() {
            missing.insert(table.clone());
        }
        for column in described
            .columns
            .iter()
            .filter(|c| c.zh.is_empty() || c.en.is_empty())
        {
            missing.insert(format!("{table}.{}", column.name));
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_named_for_a_unit_state_it() {
    for (table, schema) in schemas().await {
        for column in describe(&table, &schema).columns {
            let unit = column.unit.as_deref().unwrap_or_default();
            for (part, stated) in [
                ("fen", "fen"),
                ("seconds", "s"),
                ("minutes_sum", "min"),
                ("bytes", "byte"),
            ] {
                if column.name.contains(part) {
                    assert!(
                        unit.starts_with(stated),
                        "{table}.{} has unit `{unit}`",
                        column.name
                    );
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_have_every_event_column_and_no_refusal() {
    let schemas = schemas().await;
    let events = &schemas["events"];
    for field in siji_schemas::arrow::event_schema().fields() {
        assert!(
            events.field_with_name(field.name()).is_ok(),
            "{} is missing",
            field.name()
        );
    }
    for refusal in ["disposition", "code", "reason", "payload"] {
        assert!(
            events.field_with_name(refusal).is_err(),
            "{refusal} does not belong here"
        );
    }
}

#[test]
fn types_are_named_as_people_say_them() {
    let named = |t: &arrow::datatypes::DataType| type_name(t);
    assert_eq!(named(&siji_schemas::arrow::attrs_type()), "map<text,text>");
    assert_eq!(named(&siji_lake::schema::stored_instant()), "timestamptz");
    assert_eq!(
        named(&arrow::datatypes::DataType::Decimal128(18, 6)),
        "decimal(18,6)"
    );
}
