//! The other end of the HTTP door: `siji sql --server URL`.

use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use url::Url;

use crate::QueryError;
use crate::format::{ByteStream, Format};

/// Asks a query server and returns its answer's bytes as they come.
///
/// A JSON answer that ends in an `error` member is passed on as it is: the reader sees it at the end.
///
/// # Errors
/// [`QueryError::Remote`] when the server cannot be reached, refuses the query, or breaks off.
pub async fn run_sql_remote(
    server: &Url,
    token: Option<&str>,
    sql: &str,
    params: &[Value],
    format: Format,
) -> Result<ByteStream, QueryError> {
    let remote = |detail: String| QueryError::Remote {
        url: server.to_string(),
        detail,
    };
    let mut url = server
        .join("v1/sql")
        .map_err(|error| remote(error.to_string()))?;
    url.query_pairs_mut().append_pair("format", format.name());
    if let Format::Csv(style) = format
        && style.escape_formulas
    {
        url.query_pairs_mut().append_pair("escape_formulas", "true");
    }
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| remote(causes(&error)))?;
    let mut request = client
        .post(url)
        .json(&json!({"sql": sql, "params": params}));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request
        .send()
        .await
        .map_err(|error| remote(causes(&error)))?;
    let status = response.status();
    if !status.is_success() {
        let body = response.bytes().await.unwrap_or_else(|_| Bytes::new());
        return Err(remote(refusal(status, &body)));
    }
    let shown = server.to_string();
    let bytes = response.bytes_stream().map(move |chunk| {
        chunk.map_err(|error| QueryError::Remote {
            url: shown.clone(),
            detail: format!("the answer broke off: {}", causes(&error)),
        })
    });
    Ok(bytes.boxed())
}

/// A refusal in the server's words, or its status when it speaks another language.
fn refusal(status: reqwest::StatusCode, body: &[u8]) -> String {
    let problem: Option<Value> = serde_json::from_slice(body).ok();
    let text = |name: &str| {
        problem
            .as_ref()
            .and_then(|p| p.get(name)?.as_str())
            .map(str::to_owned)
    };
    match (text("detail"), text("hint")) {
        (Some(detail), Some(hint)) => format!("{detail} ({hint})"),
        (Some(detail), None) => detail,
        (None, _) => format!("answered {status}"),
    }
}

/// reqwest's own message leaves out why.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
