//! Limits of the HTTP door.

use serde::Deserialize;

/// What a request may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntakeLimits {
    /// Largest body, in bytes. Default 8 MiB.
    pub max_body_bytes: usize,
    /// Most events of a request. Default 10,000.
    pub max_batch_events: usize,
    /// Largest event as JSON, in bytes; the encoded record is smaller. Default 256 KiB.
    pub max_event_bytes: usize,
    /// Deepest nesting of an event. Default 32.
    pub max_json_depth: usize,
    /// Most requests at a time. Default 256.
    pub max_requests: usize,
    /// Most bytes of bodies in memory at a time, and of the events made from them as many again. Default 8 MiB.
    pub max_bodies_bytes: usize,
    /// Seconds a body may take to arrive. Default 30.
    pub body_timeout_seconds: u64,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        IntakeLimits {
            max_body_bytes: 8 << 20,
            max_batch_events: 10_000,
            max_event_bytes: 256 << 10,
            max_json_depth: 32,
            max_requests: 256,
            max_bodies_bytes: 8 << 20,
            body_timeout_seconds: 30,
        }
    }
}

/// A Kafka broker takes messages up to a megabyte unless told otherwise.
const LARGEST_EVENT: usize = 900_000;

impl IntakeLimits {
    pub(crate) fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |holds: bool, what: String| {
            if !holds {
                problems.push(what);
            }
        };
        need(
            self.max_batch_events > 0,
            "limits.max_batch_events: expected at least 1".to_owned(),
        );
        need(
            self.max_requests > 0,
            "limits.max_requests: expected at least 1".to_owned(),
        );
        need(
            self.body_timeout_seconds > 0,
            "limits.body_timeout_seconds: expected at least 1".to_owned(),
        );
        need(
            (2..=64).contains(&self.max_json_depth),
            "limits.max_json_depth: expected 2 to 64".to_owned(),
        );
        need(
            (1..=LARGEST_EVENT).contains(&self.max_event_bytes),
            format!(
                "limits.max_event_bytes: expected 1 to {LARGEST_EVENT}, what a Kafka broker takes"
            ),
        );
        need(
            self.max_body_bytes > 0 && self.max_body_bytes <= self.max_bodies_bytes,
            "limits.max_body_bytes: expected at least 1 and at most max_bodies_bytes".to_owned(),
        );
        need(
            u32::try_from(self.max_bodies_bytes).is_ok(),
            "limits.max_bodies_bytes: expected less than 4 GiB".to_owned(),
        );
        problems
    }
}
