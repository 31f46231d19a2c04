//! The body of a request, unpacked, within the limits of size, memory and time.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::limits::IntakeLimits;
use super::memory::Memory;
use super::problem::Problem;
use super::unpack::{Encoding, STEP, Unpacker, too_large};

/// Most bytes of a body that is too large which are read off, so that the sender gets to read the answer.
const MAX_DISCARDED: usize = 64 << 20;

/// What a byte of a body is charged: the allocator holds what was freed for a moment longer.
const HELD: usize = 2;

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
    encoding: Encoding,
    limits: &IntakeLimits,
    memory: &Memory,
) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    let max = limits.max_body_bytes;
    let timeout = Duration::from_secs(limits.body_timeout_seconds);
    if announced.is_some_and(|length| length > max) {
        discard(body, timeout).await;
        return Err(too_large(max));
    }
    let mut chunks = body.into_data_stream();
    let read = async {
        match encoding {
            Encoding::Identity => plain(&mut chunks, announced, max, memory).await,
            packed => unpacked(&mut chunks, packed, max, memory).await,
        }
    };
    match tokio::time::timeout(timeout, read).await {
        Ok(Err(problem)) => {
            if problem.status == StatusCode::PAYLOAD_TOO_LARGE {
                discard(Body::from_stream(chunks), timeout).await;
            }
            Err(problem)
        }
        Ok(read) => read,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body took longer than {} s", timeout.as_secs()),
        )),
    }
}

async fn plain(
    chunks: &mut BodyDataStream,
    announced: Option<usize>,
    max: usize,
    memory: &Memory,
) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    let share = memory
        .share(announced.unwrap_or(max).saturating_mul(HELD))
        .await;
    let share = share.ok_or_else(too_much_at_a_time)?;
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = next(chunks).await? {
        if bytes.len() + chunk.len() > max {
            return Err(too_large(max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.freeze(), share))
}

async fn unpacked(
    chunks: &mut BodyDataStream,
    encoding: Encoding,
    max: usize,
    memory: &Memory,
) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    let unpacker = Unpacker::new(encoding, max, memory).await?;
    let mut unpacker = unpacker.ok_or_else(too_much_at_a_time)?;
    let mut packed = 0;
    while let Some(chunk) = next(chunks).await? {
        packed += chunk.len();
        if packed > max {
            return Err(too_large(max));
        }
        for part in chunk.chunks(STEP) {
            unpacker.add(part)?;
            tokio::task::yield_now().await;
        }
    }
    unpacker.finish()
}

async fn next(chunks: &mut BodyDataStream) -> Result<Option<Bytes>, Problem> {
    chunks.next().await.transpose().map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "the body ended before it was complete",
        )
    })
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
