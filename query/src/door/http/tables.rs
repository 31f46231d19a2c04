//! `/v1/tables`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Door;
use super::problem::Problem;
use crate::TableDescription;
use crate::catalogue::description::describe;

/// Every table with what it holds.
pub(super) async fn all(State(door): State<Arc<Door>>) -> Result<Json<Value>, Problem> {
    let tables: Vec<Value> = door
        .engine
        .schemas()
        .await?
        .iter()
        .map(|(name, schema)| {
            let described = describe(name, schema);
            json!({"name": name, "zh": described.zh, "en": described.en, "columns": schema.fields().len()})
        })
        .collect();
    Ok(Json(json!({"tables": tables})))
}

/// One table's columns.
pub(super) async fn one(
    State(door): State<Arc<Door>>,
    Path(table): Path<String>,
) -> Result<Json<TableDescription>, Problem> {
    match door.engine.schemas().await?.get(&table) {
        Some(schema) => Ok(Json(describe(&table, schema))),
        None => Err(Problem {
            status: StatusCode::NOT_FOUND,
            code: "table",
            detail: format!("there is no table `{table}`"),
            hint: "GET /v1/tables lists them",
        }),
    }
}
