//! `/healthz` and `/readyz`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::Door;
use super::problem::Problem;
use crate::QueryError;

/// How long an engine in health needs at most for `SELECT 1`.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long what was found out stands.
const KEPT: Duration = Duration::from_secs(1);
/// How long looking at the lake may take.
const LAKE_PATIENCE: Duration = Duration::from_secs(5);

/// What was found out last. Held while finding out, so that many who ask cause one question.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Found>>);

#[derive(Debug, Clone)]
struct Found {
    at: Instant,
    /// Why the engine does not answer.
    trouble: Option<String>,
}

impl Health {
    /// What keeps the engine from answering. `ask` is awaited only when it was not asked a moment ago.
    async fn of(&self, ask: impl Future<Output = Result<(), QueryError>>) -> Option<String> {
        let mut last = self.0.lock().await;
        if let Some(found) = last.as_ref().filter(|found| found.at.elapsed() < KEPT) {
            return found.trouble.clone();
        }
        let trouble = match timeout(PATIENCE, ask).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        if let Some(trouble) = &trouble {
            tracing::warn!(trouble, "the query engine does not answer");
        }
        *last = Some(Found {
            at: Instant::now(),
            trouble: trouble.clone(),
        });
        trouble
    }
}

/// Whether the engine answers.
pub(super) async fn healthy(State(door): State<Arc<Door>>) -> Result<&'static str, Problem> {
    match door.health.of(door.engine.answers()).await {
        None => Ok("ok\n"),
        Some(trouble) => Err(Problem {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "engine",
            detail: format!("the query engine does not answer SELECT 1: {trouble}"),
            hint: "try again in a moment; if it stays so, restart the server and look at its log",
        }),
    }
}

/// Whether the lake can be read now.
pub(super) async fn ready(State(door): State<Arc<Door>>) -> Result<&'static str, Problem> {
    match timeout(LAKE_PATIENCE, door.engine.ready()).await {
        Ok(ready) => ready?,
        Err(_) => {
            let seconds = LAKE_PATIENCE.as_secs();
            return Err(Problem {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: "lake",
                detail: format!("the lake could not be looked at within {seconds} s"),
                hint: "check that the lake's directory or bucket answers, and how busy the server is",
            });
        }
    }
    Ok("ready\n")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_engine_that_says_nothing_for_a_second_is_not_healthy() {
        let health = Health::default();
        let began = Instant::now();
        let trouble = health.of(std::future::pending()).await.unwrap();
        assert!(trouble.contains("within 1 s"), "{trouble}");
        assert!(began.elapsed() < PATIENCE * 2, "{:?}", began.elapsed());
        // That stands for a second.
        assert_eq!(health.of(async { Ok(()) }).await, Some(trouble));
        tokio::time::sleep(KEPT).await;
        assert_eq!(health.of(async { Ok(()) }).await, None);
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cause_one_question() {
        let (health, asked) = (Health::default(), AtomicUsize::new(0));
        let ask = || {
            health.of(async {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok(())
            })
        };
        let answers = futures::future::join_all((0..20).map(|_| ask())).await;
        assert!(answers.iter().all(Option::is_none));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
