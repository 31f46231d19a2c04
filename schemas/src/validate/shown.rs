//! Quoting values of an event without quoting people.

use crate::personal::contains_raw_personal;

const LONGEST: usize = 40;

/// ` "value"` where it is a plain word or code that cannot be personal data, else nothing.
pub(super) fn shown(value: &str) -> String {
    if is_plain(value) {
        format!(" \"{value}\"")
    } else {
        String::new()
    }
}

/// `attrs.<key>` where the key can be shown, else `attrs`.
pub(super) fn attr_field(key: &str) -> String {
    if is_plain(key) {
        format!("attrs.{key}")
    } else {
        "attrs".to_owned()
    }
}

fn is_plain(value: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    value.len() <= LONGEST && value.bytes().all(plain) && !contains_raw_personal(value.as_bytes())
}
