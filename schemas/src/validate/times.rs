//! V05: times that can be true.

use crate::area::{Day, Zone};
use crate::{Code, EventRef, Refusal};

/// First local day an event may lie on: 2000-01-01.
pub const FIRST_DAY: Day = Day(10_957);
/// How far business time may run ahead of the collector's clock, in milliseconds: 5 minutes.
pub const MAX_AHEAD_MS: i64 = 5 * 60_000;
/// How far the collector's clock may run ahead of the time of receipt, in milliseconds: 24 hours.
pub const MAX_CLOCK_AHEAD_MS: i64 = 24 * 3_600_000;

/// First instant that no event may name, milliseconds UTC: the year 3000. Storage keeps microseconds, so there is an end.
pub const END_MS: i64 = 32_503_680_000_000;

/// V05: not before 2000, not after it was recorded, not recorded after it was received.
pub(super) fn believable(event: &EventRef<'_>, zone: Zone, now_ms: i64) -> Result<(), Refusal> {
    let (occurred, recorded) = (
        event.occurred_at.unwrap_or_default(),
        event.recorded_at.unwrap_or_default(),
    );
    if occurred < zone.start_of(FIRST_DAY) {
        let reason = format!(
            "occurred_at lies before {FIRST_DAY}: check the date and that it is in milliseconds"
        );
        return Err(Refusal::of(Code::V05, "occurred_at", reason));
    }
    if occurred.saturating_sub(MAX_AHEAD_MS) > recorded {
        let reason = "occurred_at is more than 5 minutes after recorded_at: an event cannot be recorded before it happens";
        return Err(Refusal::of(Code::V05, "occurred_at", reason));
    }
    if recorded.saturating_sub(MAX_CLOCK_AHEAD_MS) > now_ms {
        let reason = "recorded_at is more than 24 hours after the time of receipt: check the clock of the collector";
        return Err(Refusal::of(Code::V05, "recorded_at", reason));
    }
    for (column, instant) in [
        ("due_at", event.due_at),
        ("target_occurred_at", event.target_occurred_at),
    ] {
        if instant.is_some_and(|ms| ms < zone.start_of(FIRST_DAY) || ms >= END_MS) {
            let reason = format!(
                "{column} lies before {FIRST_DAY} or after the year 2999: check the date and that it is in milliseconds"
            );
            return Err(Refusal::of(Code::V05, column, reason));
        }
    }
    Ok(())
}
