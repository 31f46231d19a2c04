//! What became of the events of a request.

use serde::Serialize;
use siji_schemas::Code;

/// The answer to a submission: everything in it is in the spool, accepted or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubmitReport {
    /// Number of accepted events.
    pub accepted: u64,
    /// The others, in the order of the request.
    pub rejected: Vec<Rejection>,
}

/// Why one event was refused. Quotes no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Position in the request, from 0.
    pub index: usize,
    /// Its id, where it has one that is a UUID.
    pub event_id: Option<String>,
    /// The rule.
    #[serde(serialize_with = "code")]
    pub code: Code,
    /// The column at fault, or `attrs.<key>`.
    pub field: Option<String>,
    /// What was expected.
    pub reason: String,
}

fn code<S: serde::Serializer>(code: &Code, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(code.as_str())
}
