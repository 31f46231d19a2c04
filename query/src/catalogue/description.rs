//! What every table and column means, in Chinese and English, with its unit. Text is data: `columns.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arrow::datatypes::{DataType, Schema};
use serde::{Deserialize, Serialize};

/// A table as `/v1/tables/{t}` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDescription {
    /// Its name in SQL.
    pub name: String,
    /// What it holds, in Chinese.
    pub zh: String,
    /// What it holds, in English.
    pub en: String,
    /// Its columns in order.
    pub columns: Vec<ColumnDescription>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDescription {
    /// Its name in SQL.
    pub name: String,
    /// Its type in words: `text`, `int`, `bigint`, `double`, `decimal(18,6)`, `timestamptz`, `date`, `map<text,text>`.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it can be null.
    pub nullable: bool,
    /// Unit of its values; none for codes, names and times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Its meaning, in Chinese.
    pub zh: String,
    /// Its meaning, in English.
    pub en: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    table: BTreeMap<String, Text>,
    /// Meaning of a column by its name, in whichever table.
    column: BTreeMap<String, Text>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    zh: String,
    en: String,
    unit: Option<String>,
    /// In a table: columns that mean something else there.
    #[serde(default)]
    column: BTreeMap<String, Text>,
}

static TEXTS: LazyLock<Option<Texts>> =
    LazyLock::new(|| match toml::from_str(include_str!("columns.toml")) {
        Ok(texts) => Some(texts),
        Err(error) => {
            tracing::error!(%error, "the column descriptions cannot be read");
            None
        }
    });

/// A table's description; what has no text is described by empty words.
pub fn describe(table: &str, schema: &Schema) -> TableDescription {
    let texts = TEXTS.as_ref();
    let own = texts.and_then(|t| t.table.get(table));
    let columns = schema.fields().iter().map(|field| {
        let text = own
            .and_then(|t| t.column.get(field.name()))
            .or_else(|| texts.and_then(|t| t.column.get(field.name())));
        ColumnDescription {
            name: field.name().clone(),
            data_type: type_name(field.data_type()),
            nullable: field.is_nullable(),
            unit: text.and_then(|t| t.unit.clone()),
            zh: text.map(|t| t.zh.clone()).unwrap_or_default(),
            en: text.map(|t| t.en.clone()).unwrap_or_default(),
        }
    });
    TableDescription {
        name: table.to_owned(),
        zh: own.map(|t| t.zh.clone()).unwrap_or_default(),
        en: own.map(|t| t.en.clone()).unwrap_or_default(),
        columns: columns.collect(),
    }
}

/// A type as people say it: `text`, `int` (32 bits), `bigint`, `decimal(18,6)`, `timestamptz`, `date`, `map<text,text>`.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "null".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            "int".to_owned()
        }
        DataType::Int64 | DataType::UInt32 => "bigint".to_owned(),
        DataType::UInt64 => "decimal(20,0)".to_owned(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double".to_owned(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => format!("decimal({p},{s})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytes".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "interval".to_owned(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => format!("list<{}>", type_name(item.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                format!(
                    "map<{},{}>",
                    type_name(fields[0].data_type()),
                    type_name(fields[1].data_type())
                )
            }
            _ => "map".to_owned(),
        },
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|f| format!("{} {}", f.name(), type_name(f.data_type())))
                .collect();
            format!("struct<{}>", fields.join(","))
        }
        DataType::Dictionary(_, values) => type_name(values),
        DataType::RunEndEncoded(_, values) => type_name(values.data_type()),
        DataType::Union(..) => "union".to_owned(),
    }
}
