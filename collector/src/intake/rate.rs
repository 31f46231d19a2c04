//! What a sender is told of its rate: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), and what
//! this request took of it.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::bucket::Standing;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Events that this request was charged.
const CHARGED: HeaderName = HeaderName::from_static("x-ratelimit-charged");

/// Puts the fields into the head of an answer.
pub(super) fn tell(headers: &mut HeaderMap, standing: Standing, charged: usize) {
    let Standing {
        quota,
        window_s,
        left,
        full_in_s,
    } = standing;
    let policy = format!("\"events\";q={quota};qu=\"events\";w={window_s}");
    let limit = format!("\"events\";r={left};t={full_in_s}");
    for (name, text) in [(POLICY, policy), (LIMIT, limit)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
    headers.insert(CHARGED, HeaderValue::from(charged));
}
