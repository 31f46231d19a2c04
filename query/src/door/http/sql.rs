//! `/v1/sql`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use axum::{Json, http};
use serde::Deserialize;

use super::problem::Problem;
use super::{Door, negotiation};
use crate::format::{Format, encode_telling};
use crate::{Parameters, Principal, QueryError, QueryOptions};

const VERSIONS: HeaderName = HeaderName::from_static("x-siji-versions");

/// The answer's shape, from the URL.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    q: Option<String>,
    format: Option<String>,
    #[serde(default)]
    escape_formulas: bool,
}

/// The question, from the body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    sql: String,
    #[serde(default)]
    params: Vec<serde_json::Value>,
}

pub(super) async fn by_url(
    State(door): State<Arc<Door>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    shape: Result<Query<Shape>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(shape) = shape.map_err(|rejection| unusable(rejection.body_text()))?;
    let sql = shape
        .q
        .clone()
        .ok_or_else(|| unusable("the parameter q with the SQL is missing".to_owned()))?;
    answer(&door, principal, &headers, &shape, &sql, &[]).await
}

pub(super) async fn by_body(
    State(door): State<Arc<Door>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    shape: Result<Query<Shape>, QueryRejection>,
    question: Result<Json<Question>, JsonRejection>,
) -> Result<Response, Problem> {
    let Query(shape) = shape.map_err(|rejection| unusable(rejection.body_text()))?;
    let Json(question) = question.map_err(|rejection| Problem {
        status: rejection.status(),
        code: "request",
        detail: rejection.body_text(),
        hint: "send {\"sql\": \"SELECT ..\", \"params\": [..]} with Content-Type: application/json",
    })?;
    answer(
        &door,
        principal,
        &headers,
        &shape,
        &question.sql,
        &question.params,
    )
    .await
}

fn unusable(detail: String) -> Problem {
    Problem {
        status: StatusCode::BAD_REQUEST,
        code: "request",
        detail,
        hint: "GET /v1/sql takes q, format and escape_formulas",
    }
}

async fn answer(
    door: &Door,
    principal: Principal,
    headers: &HeaderMap,
    shape: &Shape,
    sql: &str,
    params: &[serde_json::Value],
) -> Result<Response, Problem> {
    let format = negotiation::format(shape.format.as_deref(), shape.escape_formulas, headers)?;
    let parameters = Parameters::from_json(params)?;
    let max_rows = (format == Format::Json).then_some(door.options.json_rows);
    let options = QueryOptions {
        max_rows,
        door: "http",
    };
    let name = principal.name().to_owned();
    let result = door
        .engine
        .session(principal)
        .query(sql, parameters, options)
        .await?;
    let versions = versions_header(&result.versions)?;
    let asker = name.clone();
    let bytes = encode_telling(result, format, move |error| report(&asker, error))
        .await
        .inspect_err(|error| report(&name, error))?;
    let mut response = http::Response::builder()
        .header(CONTENT_TYPE, format.media_type())
        .header(VERSIONS, versions)
        .header(CACHE_CONTROL, "no-store")
        .header("x-content-type-options", "nosniff");
    if let Format::Parquet | Format::Arrow = format {
        response = response.header(
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"siji.{}\"", format.name()),
        );
    }
    response
        .body(Body::from_stream(bytes))
        .map_err(|error| QueryError::Internal(error.to_string()).into())
}

/// A query that failed while it ran. Its text goes to the one who asked, not into the log.
fn report(principal: &str, error: &QueryError) {
    tracing::info!(
        principal,
        code = error.code(),
        reason = error.for_log(),
        "a query failed"
    );
}

fn versions_header(versions: &BTreeMap<String, u64>) -> Result<HeaderValue, QueryError> {
    let named: Vec<String> = versions
        .iter()
        .map(|(table, version)| format!("{table}={version}"))
        .collect();
    HeaderValue::from_str(&named.join(",")).map_err(|error| QueryError::Internal(error.to_string()))
}
