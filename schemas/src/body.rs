//! The body of an event: what its sender said, in a canonical form, as a hash.
//!
//! Two records with the same id and the same body are one event sent twice; with another body the second is refused
//! (V10). Left out is what changes when the same event is sent again: `event_id` itself, what collectors stamp
//! (`schema_version`, `recorded_at`, `source_id`, `incarnation`, `source_seq`) and pseudonyms, whose key rotates.
//! Area codes count in the registry's form. The form and the hash are stored in the ledger: never change them.

use twox_hash::XxHash3_64;

use crate::catalogue::Column;
use crate::event::{EventRef, with_event_columns};
use crate::validate::Judged;

/// XXH3 (64 bits) of the canonical form. `scratch` is only there to save allocations.
pub fn body_hash(event: &EventRef<'_>, judged: &Judged<'_>, scratch: &mut Vec<u8>) -> i64 {
    canonical(event, judged, scratch);
    XxHash3_64::oneshot(scratch) as i64
}

/// Hash of an event id, whatever the case of its letters.
pub fn id_hash(event_id: &str) -> u64 {
    if event_id.bytes().any(|b| b.is_ascii_uppercase()) {
        XxHash3_64::oneshot(event_id.to_ascii_lowercase().as_bytes())
    } else {
        XxHash3_64::oneshot(event_id.as_bytes())
    }
}

/// Every column present as: its number, the length of what follows (text) or 8 bytes little endian (numbers).
fn canonical(event: &EventRef<'_>, judged: &Judged<'_>, out: &mut Vec<u8>) {
    out.clear();
    let mut number = 0u8;
    macro_rules! put {
        ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
            $(
                if counts(Column::$name, judged) && let Some(value) = put!(# $name event judged) {
                    out.push(number);
                    put!(@ $kind value);
                }
                number += 1;
            )*
        };
        (# area_code $event:ident $judged:ident) => { Some($judged.area_code) };
        (# home_area_code $event:ident $judged:ident) => { Some($judged.home_area_code) };
        (# $name:ident $event:ident $judged:ident) => { $event.$name };
        (@ text $value:ident) => {
            out.extend_from_slice(&($value.len() as u32).to_le_bytes());
            out.extend_from_slice($value.as_bytes());
        };
        (@ word $value:ident) => { put!(@ text $value) };
        (@ $number:ident $value:ident) => { out.extend_from_slice(&i64::from($value).to_le_bytes()) };
    }
    with_event_columns!(put);
    let mut attr = |(key, value): (&str, &str)| {
        out.push(number);
        for part in [key, value] {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            out.extend_from_slice(part.as_bytes());
        }
    };
    // siji writes attrs sorted; another producer may not.
    if event.attrs.iter().map(|(key, _)| key).is_sorted() {
        event.attrs.iter().for_each(&mut attr);
    } else {
        let mut entries: Vec<_> = event.attrs.iter().collect();
        entries.sort_unstable();
        entries.into_iter().for_each(&mut attr);
    }
}

fn counts(column: Column, judged: &Judged<'_>) -> bool {
    let stamped = matches!(
        column,
        Column::event_id
            | Column::schema_version
            | Column::recorded_at
            | Column::source_id
            | Column::incarnation
            | Column::source_seq
            | Column::actor_ref
            | Column::resident_ref
    );
    !stamped && !judged.event_type.personal.contains(column)
}

#[cfg(test)]
mod tests;
