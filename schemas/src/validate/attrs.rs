//! V13: attrs within their limits, keys that the type allows.

use super::shown::attr_field;
use crate::catalogue::EventType;
use crate::{Code, EventRef, Refusal};

/// Most entries attrs may have.
pub const MAX_ATTRS: usize = 16;
/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 64;
/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 256;

/// V13.
pub(super) fn allowed(event: &EventRef<'_>, event_type: &EventType) -> Result<(), Refusal> {
    let count = event.attrs.len();
    if count > MAX_ATTRS {
        return Err(Refusal::of(
            Code::V13,
            "attrs",
            format!("attrs has {count} entries: at most {MAX_ATTRS}"),
        ));
    }
    for (key, value) in event.attrs.iter() {
        let refuse = |reason: String| Err(Refusal::of(Code::V13, &attr_field(key), reason));
        if key.len() > MAX_KEY_BYTES {
            return refuse(format!(
                "a key of attrs is longer than {MAX_KEY_BYTES} bytes"
            ));
        }
        if value.len() > MAX_VALUE_BYTES {
            return refuse(format!(
                "a value of attrs is longer than {MAX_VALUE_BYTES} bytes"
            ));
        }
        if !event_type.allows(key) {
            let keys: Vec<&str> = event_type
                .attrs
                .iter()
                .map(|attr| attr.key.as_str())
                .collect();
            return refuse(format!(
                "{} does not allow this key of attrs: expected {}",
                event_type.name,
                keys.join(", ")
            ));
        }
    }
    Ok(())
}
