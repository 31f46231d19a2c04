//! The HTTP door.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use siji_schemas::wire;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::Problem;
use super::split::{self, Form};
use super::submit::{Intake, Submission};
use super::token::{Principal, Right, Tokens};
use crate::metrics;
use crate::ship::ShipStatus;
use crate::spool::AppendError;

/// How long a request waits for memory for its body.
const BODY_WAIT: Duration = Duration::from_secs(5);
/// Most bytes of a body that is too large which are read off, so that the sender gets to read the answer.
const MAX_DISCARDED: usize = 64 << 20;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Door {
    pub intake: Arc<Intake>,
    pub tokens: Tokens,
    pub ship: Arc<ShipStatus>,
    pub stopping: AtomicBool,
    requests: Semaphore,
    bodies: Semaphore,
}

impl Door {
    pub fn new(intake: Arc<Intake>, tokens: Tokens, ship: Arc<ShipStatus>) -> Door {
        let (requests, bodies) = (intake.limits.max_requests, intake.limits.max_bodies_bytes);
        Door {
            intake,
            tokens,
            ship,
            stopping: AtomicBool::new(false),
            requests: Semaphore::new(requests),
            bodies: Semaphore::new(bodies),
        }
    }

    /// Whether an event would be taken now.
    pub fn ready(&self) -> Result<(), AppendError> {
        if self.stopping.load(Ordering::Acquire) {
            Err(AppendError::Closed)
        } else {
            self.intake.spool.admits()
        }
    }
}

/// `POST /v1/events`, `GET /healthz`, `GET /readyz`.
pub(crate) fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/v1/events", post(post_events))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "events are sent by POST /v1/events; /healthz and /readyz are read by GET",
            )
        })
        .fallback(|| async {
            Problem::new(
                StatusCode::NOT_FOUND,
                "there is /v1/events, /healthz and /readyz",
            )
        })
        .with_state(door)
}

async fn post_events(State(door): State<Arc<Door>>, request: Request) -> Response {
    let started = Instant::now();
    let mut response = match take(&door, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    if door.stopping.load(Ordering::Acquire) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    metrics::request(response.status().as_u16(), started.elapsed());
    response
}

async fn take(door: &Door, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let principal = authenticate(door, &head.headers)?;
    let _request = door.requests.try_acquire().map_err(|_| {
        Problem::retry(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests at a time",
            1,
        )
    })?;
    door.ready()?;
    principal.admit().map_err(|wait| {
        let detail = format!(
            "token {} sends more events a second than it may",
            principal.name()
        );
        Problem::retry(StatusCode::TOO_MANY_REQUESTS, detail, wait.as_secs() + 1)
    })?;
    let form = form_of(&head.headers)?;
    let (bytes, _memory) = read_body(door, &head.headers, body).await?;
    let limits = &door.intake.limits;
    let events = split::events(&bytes, form, limits.max_batch_events)?;
    principal.charge(events.len());
    let traceparent = text(
        &head.headers,
        HeaderName::from_static(wire::HEADER_TRACEPARENT),
    )
    .filter(|t| is_traceparent(t));
    let events = events.into_iter().map(Submission::Json).collect();
    let report = door
        .intake
        .take(events, principal, "http", traceparent)
        .await?;
    let nothing_good = report.accepted == 0 && !report.rejected.is_empty();
    let status = if nothing_good {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::ACCEPTED
    };
    Ok((status, Json(report)).into_response())
}

fn authenticate<'d>(door: &'d Door, headers: &HeaderMap) -> Result<&'d Principal, Problem> {
    let unauthorized = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
    let header = text(headers, AUTHORIZATION)
        .ok_or_else(|| unauthorized("send a token: `Authorization: Bearer ...`"))?;
    let token = match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => return Err(unauthorized("expected `Authorization: Bearer ...`")),
    };
    let principal = door
        .tokens
        .find(token)
        .ok_or_else(|| unauthorized("the token is not known here"))?;
    if !principal.may(Right::Write) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("token {} has no right to write", principal.name()),
        ));
    }
    Ok(principal)
}

fn form_of(headers: &HeaderMap) -> Result<Form, Problem> {
    if text(headers, CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"))
    {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the body without content-encoding",
        ));
    }
    Form::of(text(headers, CONTENT_TYPE))
}

/// The whole body, and the share of memory it holds.
async fn read_body<'d>(
    door: &'d Door,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, SemaphorePermit<'d>), Problem> {
    let limits = &door.intake.limits;
    let max = limits.max_body_bytes;
    let announced = text(headers, CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    let timeout = Duration::from_secs(limits.body_timeout_seconds);
    let too_large = || {
        let detail = format!("the body is larger than {max} bytes: send smaller batches");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    if announced.is_some_and(|length| length > max) {
        discard(body, timeout).await;
        return Err(too_large());
    }
    let share = u32::try_from(announced.unwrap_or(max)).unwrap_or(u32::MAX);
    let memory = tokio::time::timeout(BODY_WAIT, door.bodies.acquire_many(share)).await;
    let Ok(Ok(memory)) = memory else {
        return Err(Problem::retry(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many large requests at a time",
            1,
        ));
    };
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0));
    let mut chunks = body.into_data_stream();
    let read = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "the body ended before it was complete",
                )
            })?;
            if bytes.len() + chunk.len() > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(timeout, read).await {
        Ok(Ok(())) => Ok((bytes.freeze(), memory)),
        Ok(Err(problem)) => {
            if problem.status == StatusCode::PAYLOAD_TOO_LARGE {
                discard(Body::from_stream(chunks), timeout).await;
            }
            Err(problem)
        }
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body took longer than {} s", timeout.as_secs()),
        )),
    }
}

/// Reads a body off and keeps nothing of it: a sender that is still sending does not see an answer.
async fn discard(body: Body, timeout: Duration) {
    let mut chunks = body.into_data_stream();
    let read = async {
        let mut discarded = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            discarded += chunk.len();
            if discarded > MAX_DISCARDED {
                break;
            }
        }
    };
    if tokio::time::timeout(timeout, read).await.is_err() {
        tracing::debug!("a body that is too large did not end in time");
    }
}

async fn healthz(State(door): State<Arc<Door>>) -> Response {
    if door.intake.spool.is_alive() {
        Json(serde_json::json!({"status": "ok"})).into_response()
    } else {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the spool's writer has stopped",
        )
        .into_response()
    }
}

async fn readyz(State(door): State<Arc<Door>>) -> Response {
    let gauges = door.intake.spool.gauges();
    let ready = door.ready();
    let degraded = door
        .ship
        .degraded()
        .map(|(since, why)| format!("{why} (for {} s)", since.as_secs()));
    let body = serde_json::json!({
        "ready": ready.is_ok(),
        "reason": ready.as_ref().err().map(ToString::to_string),
        "degraded": degraded,
        "spool": {"depth_events": gauges.depth, "bytes": gauges.waiting_bytes, "limit_bytes": gauges.limit_bytes,
            "oldest_age_seconds": gauges.oldest_age_s, "stuck": gauges.stuck},
    });
    let status = if ready.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body)).into_response()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, of W3C trace context; anything else does not travel on.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    parts.iter().map(|part| part.len()).eq([2, 32, 16, 2]) && parts.iter().all(|part| hex(part))
}
