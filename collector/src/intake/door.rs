//! The HTTP door.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use siji_schemas::trace::TraceContext;
use siji_schemas::wire;
use tokio::sync::Semaphore;

use super::body;
use super::cloudevents::CloudEvent;
use super::memory::Memory;
use super::problem::Problem;
use super::rate;
use super::split::{self, Form};
use super::submit::{EVENT_BYTES, Intake, Submission};
use super::token::{Principal, Right, Tokens};
use super::unpack::Encoding;
use crate::ship::ShipStatus;
use crate::spool::AppendError;
use crate::{metrics, trace};

/// What the door is, for programs that talk to it.
const OPENAPI: &str = include_str!("../../openapi.json");
/// How long a request waits for memory.
const MEMORY_WAIT: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Door {
    pub intake: Arc<Intake>,
    pub tokens: Tokens,
    pub ship: Arc<ShipStatus>,
    pub stopping: AtomicBool,
    traces: trace::Requests,
    requests: Arc<Semaphore>,
    bodies: Memory,
    events: Memory,
}

impl Door {
    pub fn new(intake: Arc<Intake>, tokens: Tokens, ship: Arc<ShipStatus>) -> Door {
        let limits = &intake.limits;
        Door {
            requests: Arc::new(Semaphore::new(limits.max_requests)),
            bodies: Memory::new(limits.max_bodies_bytes, MEMORY_WAIT),
            events: Memory::new(limits.max_bodies_bytes, MEMORY_WAIT),
            intake,
            tokens,
            ship,
            stopping: AtomicBool::new(false),
            traces: trace::Requests::new(),
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

/// What the door has, as `openapi.json` describes it.
pub(crate) fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/v1/events", post(post_events))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/openapi.json", get(openapi))
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "events are sent by POST /v1/events; /healthz, /readyz and /openapi.json are read by GET",
            )
        })
        .fallback(|| async {
            Problem::new(
                StatusCode::NOT_FOUND,
                "there is /v1/events, /healthz, /readyz and /openapi.json",
            )
        })
        .with_state(door)
}

async fn openapi() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], OPENAPI).into_response()
}

async fn post_events(State(door): State<Arc<Door>>, request: Request) -> Response {
    let started = Instant::now();
    let (head, body) = request.into_parts();
    let mut body = Some(body);
    let mut response = match authenticate(&door, &head.headers) {
        Err(problem) => problem.into_response(),
        Ok(principal) => {
            let mut charged = 0;
            let parent = head.headers.get(wire::HEADER_TRACEPARENT);
            let parent = parent.and_then(|value| TraceContext::parse(value.as_bytes()));
            let span = door.traces.begin(parent);
            let request = (&head.headers, &mut body, span.carried);
            let taken = take(&door, principal, request, &mut charged).await;
            let mut response = taken.unwrap_or_else(IntoResponse::into_response);
            settle(principal, response.status(), &mut charged);
            span.end(response.status().as_u16(), charged);
            rate::tell(response.headers_mut(), principal.standing(), charged);
            response
        }
    };
    // What is left unread ends the connection: a sender that did not know would send its next request into nothing.
    if body.is_some() || door.stopping.load(Ordering::Acquire) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    metrics::request(response.status().as_u16(), started.elapsed());
    response
}

/// What is charged in the end: nothing for what the collector could not take, one for what it could not read.
fn settle(principal: &Principal, status: StatusCode, charged: &mut usize) {
    if status.is_server_error() {
        principal.give_back(*charged);
        *charged = 0;
    } else if *charged == 0 && status != StatusCode::TOO_MANY_REQUESTS {
        // Who has used up the rate meanwhile is not charged for having been slow.
        *charged = usize::from(principal.charge(1).is_ok());
    }
}

async fn take(
    door: &Arc<Door>,
    principal: &Arc<Principal>,
    (headers, body, trace): (&HeaderMap, &mut Option<Body>, Option<TraceContext>),
    charged: &mut usize,
) -> Result<Response, Problem> {
    let place = Arc::clone(&door.requests)
        .try_acquire_owned()
        .map_err(|_| {
            Problem::retry(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests at a time",
                1,
            )
        })?;
    door.ready()?;
    principal
        .admit()
        .map_err(|wait| too_fast(principal, wait))?;
    let (encoding, form) = (Encoding::of(headers)?, Form::of(headers)?);
    let limits = &door.intake.limits;
    let announced = text(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let body = body.take().unwrap_or_default();
    let (bytes, body_memory) = body::read(body, announced, encoding, limits, &door.bodies).await?;
    let events = split::events(&bytes, form, limits.max_batch_events)?;
    // Only now the size is known; of requests that came at the same time, others may have used up the rate.
    principal
        .charge(events.len())
        .map_err(|wait| too_fast(principal, wait))?;
    *charged = events.len();
    let event_memory = door.events.share(events.len() * EVENT_BYTES).await;
    let event_memory = event_memory.ok_or_else(body::too_much_at_a_time)?;
    let submission = |event: Bytes| match form {
        Form::Json | Form::Lines | Form::Unsaid => Submission::Json(event),
        Form::Cloud | Form::CloudBatch => {
            Submission::Cloud(Box::new(CloudEvent::structured(event)))
        }
        Form::Binary => Submission::Cloud(Box::new(CloudEvent::binary(headers, event))),
    };
    let events = events.into_iter().map(submission).collect();
    let (intake, principal) = (Arc::clone(&door.intake), Arc::clone(principal));
    // A task of its own: a sender that hangs up does not take its records back from the spool's queue, so the memory
    // is not free before they are on disk.
    let taking = tokio::spawn(async move {
        let _held = (place, body_memory, event_memory);
        intake.take(events, &principal, "http", trace).await
    });
    let report = taking.await.map_err(|_| {
        // What a panic says may quote an event.
        tracing::error!("a request was stopped by a defect");
        let detail = "the collector failed; send the request again";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })??;
    let nothing_good = report.accepted == 0 && !report.rejected.is_empty();
    let status = if nothing_good {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::ACCEPTED
    };
    Ok((status, Json(report)).into_response())
}

fn too_fast(principal: &Principal, wait: Duration) -> Problem {
    let detail = format!(
        "token {} sends more events a second than it may",
        principal.name()
    );
    Problem::retry(StatusCode::TOO_MANY_REQUESTS, detail, wait.as_secs() + 1)
}

fn authenticate<'d>(door: &'d Door, headers: &HeaderMap) -> Result<&'d Arc<Principal>, Problem> {
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

/// Whether the threads of the collector work; whether Kafka can be reached, is another question.
async fn healthz(State(door): State<Arc<Door>>) -> Response {
    let fault = if !door.intake.spool.is_alive() {
        "the spool's writer has stopped: restart the collector"
    } else if !door.ship.is_alive() {
        "the sender has stopped: restart the collector"
    } else {
        return Json(serde_json::json!({"status": "ok"})).into_response();
    };
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, fault).into_response()
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
