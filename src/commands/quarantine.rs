//! `siji quarantine`

use std::process::ExitCode;

use arrow::array::{Array, AsArray, RecordBatch};
use chrono::DateTime;
use futures::TryStreamExt;
use serde_json::{Map, Value, json};
use siji_aggregator::decode::decode;
use siji_query::format::{Format, encode};
use siji_query::{Parameters, Principal, QueryOptions, Session};

use super::sql::to_writer;
use crate::cli::{Output, Quarantine, QuarantineList, QuarantineShow};
use crate::commands::server::engine;
use crate::failure::{DONE, Failure};
use crate::settings::Settings;

/// What `list` shows of each record.
const LISTED: &str = "coalesce(resolves, concat_ws('/', topic_epoch, partition, \"offset\")) AS record, disposition, code, field, reason, \
                      source_id, event_type, event_id, ingested_at";

pub async fn run(job: Quarantine, settings: Settings) -> Result<ExitCode, Failure> {
    match job {
        Quarantine::List(args) => list(args, &settings).await,
        Quarantine::Show(args) => show(args, &settings).await,
    }
}

async fn open(settings: &Settings, lake: Option<&str>) -> Result<Session, Failure> {
    Ok(engine(settings, lake).await?.session(Principal::local()))
}

async fn list(args: QuarantineList, settings: &Settings) -> Result<ExitCode, Failure> {
    let session = open(settings, args.lake.as_deref()).await?;
    let (condition, values) = condition(&args)?;
    let limit = args.limit;
    let sql = if args.summary {
        format!(
            "SELECT count(*) AS records, disposition, code, field, source_id, min(ingested_at) AS first_at, \
             max(ingested_at) AS last_at FROM quarantine {condition} GROUP BY 2, 3, 4, 5 ORDER BY 1 DESC, 3, 4, 5 LIMIT {limit}"
        )
    } else {
        format!(
            "SELECT {LISTED} FROM quarantine {condition} ORDER BY ingested_at DESC, partition, \"offset\" DESC LIMIT {limit}"
        )
    };
    let values = Parameters::from_json(&values)?;
    let result = session.query(&sql, values, QueryOptions::default()).await?;
    let format = match args.output {
        Output::Json => Format::Json,
        Output::Text => Format::Table,
    };
    let bytes = encode(result, format).await?;
    to_writer(bytes, &mut std::io::stdout().lock()).await?;
    Ok(ExitCode::from(DONE))
}

/// `WHERE …` and its values.
fn condition(args: &QuarantineList) -> Result<(String, Vec<Value>), Failure> {
    let instant = |flag: &str, text: &str| match DateTime::parse_from_rfc3339(text) {
        Ok(_) => Ok(json!(text)),
        Err(error) => Err(Failure::usage(format!(
            "{flag} {text}: {error}; write an instant with its zone, such as 2026-03-01T00:00:00+08:00"
        ))),
    };
    let mut terms: Vec<(&str, Value)> = Vec::new();
    if let Some(code) = &args.code {
        terms.push(("code =", json!(code.to_ascii_uppercase())));
    }
    if let Some(source) = &args.source {
        terms.push(("source_id =", json!(source)));
    }
    if let Some(since) = &args.since {
        terms.push(("ingested_at >=", instant("--since", since)?));
    }
    if let Some(until) = &args.until {
        terms.push(("ingested_at <", instant("--until", until)?));
    }
    let texts: Vec<String> = terms
        .iter()
        .zip(1..)
        .map(|((term, _), n)| match term.starts_with("ingested_at") {
            true => format!("{term} CAST(${n} AS TIMESTAMP WITH TIME ZONE)"),
            false => format!("{term} ${n}"),
        })
        .collect();
    let condition = match texts.is_empty() {
        true => String::new(),
        false => format!("WHERE {}", texts.join(" AND ")),
    };
    Ok((
        condition,
        terms.into_iter().map(|(_, value)| value).collect(),
    ))
}

async fn show(args: QuarantineShow, settings: &Settings) -> Result<ExitCode, Failure> {
    let [epoch, partition, offset] = place(&args.record)?;
    let session = open(settings, args.lake.as_deref()).await?;
    let sql = "SELECT * FROM ledger WHERE topic_epoch = $1 AND partition = $2 AND \"offset\" = $3 AND resolves IS NULL \
               AND disposition IN ('quarantined', 'parked')";
    let values = Parameters::from_json(&[json!(epoch), json!(partition), json!(offset)])?;
    let result = session.query(sql, values, QueryOptions::default()).await?;
    let batches: Vec<RecordBatch> = result.rows.try_collect().await?;
    let Some(row) = batches.iter().find(|batch| batch.num_rows() > 0) else {
        return Err(Failure::new(format!(
            "record {} was not refused and waits for nothing, or is not in this lake; siji quarantine list shows those that were",
            args.record
        )));
    };
    let shown = shown(row)?;
    match args.output {
        Output::Json => super::print_json(&Value::Object(shown))?,
        Output::Text => super::print(text(&shown))?,
    }
    Ok(ExitCode::from(DONE))
}

fn place(record: &str) -> Result<[i64; 3], Failure> {
    let parts: Vec<i64> = record
        .split('/')
        .filter_map(|part| part.parse().ok())
        .collect();
    <[i64; 3]>::try_from(parts).map_err(|_| {
        Failure::usage(format!(
            "`{record}` names no record: write epoch/partition/offset, such as 0/3/128"
        ))
    })
}

/// What is known of a record: the columns that have a value, and its bytes as an event, a text or hexadecimal.
fn shown(row: &RecordBatch) -> Result<Map<String, Value>, Failure> {
    let payload = row.column_by_name("payload").and_then(bytes);
    let index = row.schema().index_of("payload").ok();
    let others: Vec<usize> = (0..row.num_columns())
        .filter(|column| Some(*column) != index)
        .collect();
    let mut buffer = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut buffer);
    writer.write(&row.project(&others)?)?;
    writer.finish()?;
    let mut shown: Map<String, Value> = serde_json::from_slice(&buffer)?;
    if let Some(payload) = payload {
        shown.insert("payload".to_owned(), read(&payload));
    }
    Ok(shown)
}

fn bytes(column: &arrow::array::ArrayRef) -> Option<Vec<u8>> {
    if column.is_null(0) {
        return None;
    }
    match (column.as_binary_opt::<i32>(), column.as_binary_view_opt()) {
        (Some(bytes), _) => Some(bytes.value(0).to_owned()),
        (_, Some(bytes)) => Some(bytes.value(0).to_owned()),
        _ => None,
    }
}

fn read(payload: &[u8]) -> Value {
    if let Ok(json) = serde_json::from_slice(payload) {
        return json;
    }
    if let Ok(decoded) = decode(payload)
        && let Ok(event) = serde_json::to_value(decoded.event().to_event())
    {
        return event;
    }
    match std::str::from_utf8(payload) {
        Ok(text) => json!(text),
        Err(_) => json!(
            payload
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        ),
    }
}

fn text(shown: &Map<String, Value>) -> String {
    let width = shown.keys().map(String::len).max().unwrap_or(0);
    let line = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Object(_) => serde_json::to_string_pretty(value)
                .unwrap_or_default()
                .replace('\n', &format!("\n{:width$}  ", "")),
            other => other.to_string(),
        };
        format!("{key:<width$}  {value}\n")
    };
    shown.iter().map(line).collect()
}
