//! The tables of a lake and their columns. Once a lake holds data, a change here is a migration; a test pins them.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use siji_schemas::arrow::{attrs_type, event_schema};

/// One table: what the writer needs to know of it.
#[derive(Debug)]
pub struct TableSpec {
    /// Folder under the lake.
    pub name: &'static str,
    /// All columns, partition columns included.
    pub schema: fn() -> SchemaRef,
    /// The column that names the folder of a file, if any.
    pub partition_by: Option<&'static str>,
    /// Columns with statistics in the log: those that readers prune files by.
    pub statistics: &'static [&'static str],
    /// Columns whose values hardly repeat: stored without a dictionary.
    pub unique: &'static [&'static str],
}

/// Every Kafka offset the aggregator has passed, with what was decided about it (D1).
pub static LEDGER: TableSpec = TableSpec {
    name: "ledger",
    schema: ledger_schema,
    partition_by: None,
    statistics: &[
        "topic_epoch",
        "partition",
        "offset",
        "offset_last",
        "disposition",
        "code",
        "resolves",
        "ingested_at",
        "local_date",
        "street_code",
        "district_code",
        "city_code",
        "handler_district_code",
        "event_type",
        "occurred_at",
        "target_occurred_at",
        "source_id",
    ],
    unique: &[
        "event_id",
        "target_event_id",
        "subject_id",
        "resident_ref",
        "body_hash",
        "payload_sha256",
    ],
};

/// Signed partial sums by hour and tier (D4, D5).
pub static ROLLUP: TableSpec = TableSpec {
    name: "rollup",
    schema: rollup_schema,
    partition_by: Some("tier"),
    statistics: &[
        "hour",
        "local_date",
        "area_code",
        "street_code",
        "district_code",
        "city_code",
        "event_type",
    ],
    unique: &[],
};

/// The same sums by local day (D14): follows [`ROLLUP`] from the day's position in its log on.
pub static ROLLUP_DAY: TableSpec = TableSpec {
    name: "rollup_day",
    schema: rollup_day_schema,
    partition_by: Some("tier"),
    statistics: &[
        "local_date",
        "area_code",
        "street_code",
        "district_code",
        "city_code",
        "event_type",
    ],
    unique: &[],
};

/// Application in the log of [`ROLLUP_DAY`] whose version is the version of [`ROLLUP`] that it has followed to.
pub const FOLLOWED_ROLLUP: &str = "siji.rollup";

/// Statements of stocks as of a day.
pub static REGISTERS: TableSpec = TableSpec {
    name: "registers",
    schema: registers_schema,
    partition_by: None,
    statistics: &[
        "register",
        "area_code",
        "district_code",
        "city_code",
        "as_of",
        "partition",
        "offset",
    ],
    unique: &["event_id"],
};

/// The area registries the aggregator has worked with, by version.
pub static REF_AREAS: TableSpec = TableSpec {
    name: "ref_areas",
    schema: ref_areas_schema,
    partition_by: None,
    statistics: &["ref_version"],
    unique: &["area_code"],
};

/// An instant as stored: microseconds, UTC. siji's own are whole milliseconds.
pub fn stored_instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn long(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

/// The event's columns as the ledger stores them.
fn stored_event_fields() -> Vec<Field> {
    event_schema()
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Timestamp(..) => Field::new(field.name(), stored_instant(), true),
            // Numbered in memory only.
            DataType::Dictionary(_, texts) => {
                Field::new(field.name(), texts.as_ref().clone(), true)
            }
            other => Field::new(field.name(), other.clone(), true),
        })
        .collect()
}

macro_rules! once {
    ($fields:expr) => {{
        static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::new($fields)));
        Arc::clone(&SCHEMA)
    }};
}

/// Columns of `ledger`.
pub fn ledger_schema() -> SchemaRef {
    once!({
        let mut fields = vec![
            required("topic_epoch", DataType::Int32),
            required("partition", DataType::Int32),
            required("offset", DataType::Int64),
            required("offset_last", DataType::Int64),
            required("disposition", DataType::Utf8),
            text("code"),
            text("field"),
            text("reason"),
            text("resolves"),
            required("ingested_at", stored_instant()),
            Field::new("broker_at", stored_instant(), true),
            text("ref_version"),
            Field::new("after_lock", stored_instant(), true),
            Field::new("local_date", DataType::Date32, true),
            long("body_hash"),
            Field::new("area_tier", DataType::Int32, true),
            text("street_code"),
            text("district_code"),
            text("city_code"),
            text("province_code"),
            text("handler_street_code"),
            text("handler_district_code"),
            text("handler_city_code"),
            text("handler_province_code"),
        ];
        fields.extend(stored_event_fields());
        fields.extend([
            Field::new("payload", DataType::Binary, true),
            long("payload_bytes"),
            text("payload_sha256"),
        ]);
        fields
    })
}

/// Columns of `rollup`. Every measure but `events` has its count beside it: missing is not zero.
pub fn rollup_schema() -> SchemaRef {
    once!({
        let mut fields = vec![
            required("tier", DataType::Utf8),
            required("hour", stored_instant()),
            required("local_date", DataType::Date32),
            Field::new("after_lock", stored_instant(), true),
            required("area_code", DataType::Utf8),
            required("placement", DataType::Utf8),
        ];
        fields.extend(
            [
                "street_code",
                "district_code",
                "city_code",
                "province_code",
                "event_type",
                "service_code",
                "channel",
                "case_kind",
                "outcome",
                "fund_source",
                "fee_mode",
                "unit",
                "qualifier",
                "handler_code",
                "handler_street_code",
                "handler_district_code",
                "handler_city_code",
                "handler_province_code",
            ]
            .map(text),
        );
        fields.push(required("events", DataType::Int64));
        fields.extend(
            [
                "count_n",
                "count_sum",
                "amount_n",
                "amount_fen_sum",
                "minutes_n",
                "minutes_sum",
            ]
            .map(long),
        );
        fields.push(long("value_n"));
        fields.push(Field::new("value_sum", DataType::Decimal128(38, 6), true));
        fields.extend(["rating_1", "rating_2", "rating_3", "rating_4", "rating_5"].map(long));
        fields.push(Field::new("minutes_hist", histogram_type(), true));
        fields
    })
}

/// Columns of `rollup_day`: those of `rollup` without `hour`.
pub fn rollup_day_schema() -> SchemaRef {
    once!(
        rollup_schema()
            .fields()
            .iter()
            .filter(|field| field.name() != "hour")
            .map(|field| field.as_ref().clone())
            .collect::<Vec<_>>()
    )
}

/// Arrow type of a histogram: bucket (`siji_schemas::buckets`) to signed count.
pub fn histogram_type() -> DataType {
    let entry = DataType::Struct(
        vec![
            Field::new("key", DataType::Int32, false),
            Field::new("value", DataType::Int64, true),
        ]
        .into(),
    );
    DataType::Map(Arc::new(Field::new("key_value", entry, false)), false)
}

/// Columns of `registers`.
pub fn registers_schema() -> SchemaRef {
    once!(vec![
        required("register", DataType::Utf8),
        required("area_code", DataType::Utf8),
        required("area_tier", DataType::Int32),
        text("street_code"),
        text("district_code"),
        text("city_code"),
        text("province_code"),
        required("as_of", DataType::Date32),
        Field::new("value", DataType::Decimal128(18, 6), true),
        text("unit"),
        required("qualifier", DataType::Utf8),
        Field::new("attrs", attrs_type(), true),
        required("event_id", DataType::Utf8),
        required("recorded_at", stored_instant()),
        text("source_id"),
        required("topic_epoch", DataType::Int32),
        required("partition", DataType::Int32),
        required("offset", DataType::Int64),
        text("ref_version"),
        Field::new("after_lock", stored_instant(), true),
    ])
}

/// Columns of `ref_areas`.
pub fn ref_areas_schema() -> SchemaRef {
    once!(vec![
        required("ref_version", DataType::Utf8),
        required("area_code", DataType::Utf8),
        text("parent_code"),
        required("tier", DataType::Utf8),
        required("name", DataType::Utf8),
        text("kind"),
        Field::new("valid_from", DataType::Date32, true),
        Field::new("valid_to", DataType::Date32, true),
        required("loaded_at", stored_instant()),
    ])
}
