//! Events of months that were locked before they came (V15): accepted, and told apart wherever they are counted, so that a
//! published figure can be computed again as it was printed.

use siji_schemas::area::{AreaId, Day};
use siji_schemas::lock::locked;
use siji_schemas::validate::Reference;

use crate::amend::Op;
use crate::judge::{Disposition, Verdict};

/// Marks those of some settled verdicts that count.
pub fn mark(verdicts: &mut [Verdict<'_>], reference: &Reference, now_ms: i64) {
    if reference.locks.is_empty() {
        return;
    }
    for verdict in verdicts {
        // Of a retraction, what it takes back is marked.
        let retracts = verdict
            .amends
            .as_ref()
            .is_some_and(|it| it.op == Op::Retract);
        let (Disposition::Accepted, Some(judged), false) =
            (verdict.disposition, verdict.judged, retracts)
        else {
            continue;
        };
        let lies_in = |area: AreaId| judged.place.is_within(area);
        let lock = reference.locks.last_before(judged.day, now_ms, lies_in);
        verdict.after_lock = lock;
        verdict.refusal = lock.map(locked);
    }
}

/// The same of a row that is read again: its local day, and the codes of its area and what that lies in.
pub fn last_before<'c>(
    reference: &Reference,
    day: Day,
    codes: impl Iterator<Item = &'c str>,
    now_ms: i64,
) -> Option<i64> {
    let areas: Vec<AreaId> = codes.filter_map(|code| reference.areas.id(code)).collect();
    let lies_in = |area| areas.contains(&area);
    reference.locks.last_before(day, now_ms, lies_in)
}
