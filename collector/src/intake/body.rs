//! The body of a request, within the limits of size, memory and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::limits::IntakeLimits;
use super::memory::Memory;
use super::problem::Problem;

/// Most bytes of a body that is too large which are read off, so that the sender gets to read the answer.
const MAX_DISCARDED: usize = 64 << 20;

/// The answer to a request that there is no memory for.
pub(super) fn too_much_at_a_time() -> Problem {
    Problem::retry(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many large requests at a time",
        1,
    )
}

/// The whole body, and the share of memory it holds.
pub(super) async fn read(
    body: Body,
    announced: Option<usize>,
    limits: &IntakeLimits,
    memory: &Memory,
) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    let max = limits.max_body_bytes;
    let timeout = Duration::from_secs(limits.body_timeout_seconds);
    let too_large = || {
        let detail = format!("the body is larger than {max} bytes: send smaller batches");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    if announced.is_some_and(|length| length > max) {
        discard(body, timeout).await;
        return Err(too_large());
    }
    let share = memory.share(announced.unwrap_or(max)).await;
    let memory = share.ok_or_else(too_much_at_a_time)?;
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
