//! Errors as problem details (RFC 9457).

use axum::Json;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::QueryError;

/// What went wrong, for programs (`code`) and people (`detail`, `hint`).
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) detail: String,
    /// What to do; may be empty.
    pub(super) hint: &'static str,
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let status = match &error {
            QueryError::Syntax(_)
            | QueryError::Plan(_)
            | QueryError::Parameters(_)
            | QueryError::Format(_) => StatusCode::BAD_REQUEST,
            QueryError::ReadOnly(_) => StatusCode::FORBIDDEN,
            QueryError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            QueryError::Execution(_) | QueryError::Memory(_) | QueryError::Rows(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            QueryError::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
            QueryError::Busy { .. } | QueryError::Lake(_) => StatusCode::SERVICE_UNAVAILABLE,
            QueryError::Remote { .. } => StatusCode::BAD_GATEWAY,
            QueryError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            code: error.code(),
            detail: error.to_string(),
            hint: error.hint(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if !self.hint.is_empty() {
            body["hint"] = self.hint.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

/// No such path.
pub(super) async fn unknown_path(uri: Uri) -> Problem {
    Problem {
        status: StatusCode::NOT_FOUND,
        code: "path",
        detail: format!("there is nothing at {}", uri.path()),
        hint: "the paths are /v1/sql, /v1/tables, /v1/tables/{t}, /healthz and /readyz",
    }
}

/// No such method here.
pub(super) async fn unknown_method(method: Method, uri: Uri) -> Problem {
    Problem {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method",
        detail: format!("{} does not take {method}", uri.path()),
        hint: "ask with GET, or POST /v1/sql",
    }
}
