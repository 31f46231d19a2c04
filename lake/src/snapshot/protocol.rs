//! Which tables may be read: those a plain Parquet scan shows correctly.

use deltalake_core::kernel::{Metadata, Protocol};

/// The Delta feature, in words, that makes a plain scan of the table's files wrong; `None` when the table is readable.
pub(super) fn unreadable_feature(protocol: &Protocol, metadata: &Metadata) -> Option<String> {
    let mapping = metadata
        .configuration()
        .get("delta.columnMapping.mode")
        .filter(|mode| mode.as_str() != "none");
    if let Some(mode) = mapping {
        return Some(format!("column mapping (mode {mode})"));
    }
    let features: Vec<String> = protocol
        .reader_features()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect();
    match protocol.min_reader_version() {
        // 2 only announces that column mapping may be used, which was ruled out above.
        1 | 2 => None,
        3 if features.is_empty() => None,
        3 => Some(format!("the reader features {}", features.join(", "))),
        other => Some(format!("reader protocol version {other}")),
    }
}
