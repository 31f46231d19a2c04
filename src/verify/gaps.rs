//! What never came: not a difference, but what to ask a broker or a site about.

use serde_json::json;
use siji_query::Session;

use super::report::Gaps;
use super::rows::query;
use super::{Report, VerifyError};

/// Gaps listed at most, of each kind; the totals are of all.
const LISTED: usize = 1000;

const OFFSETS: &str = "SELECT topic_epoch, partition, \"offset\", offset_last, reason, offset_last - \"offset\" + 1 AS missing \
                       FROM ledger WHERE disposition = 'gap'";

/// Sequence numbers by source and opening of its spool.
const SEQUENCES: &str = "SELECT source_id, incarnation, min(source_seq), max(source_seq), \
                         max(source_seq) - min(source_seq) + 1 - count(DISTINCT source_seq) AS missing FROM ledger \
                         WHERE source_seq IS NOT NULL AND source_id IS NOT NULL AND resolves IS NULL GROUP BY 1, 2 \
                         HAVING max(source_seq) - min(source_seq) + 1 > count(DISTINCT source_seq)";

/// Lists the gaps and counts all of them.
pub(super) async fn list(session: &Session, report: &mut Report) -> Result<(), VerifyError> {
    let (what, listed) = ("gaps of offsets", first(OFFSETS));
    let rows = query(session, what, &listed).await?;
    for row in 0..rows.len() {
        report.gaps.push(json!({
            "kind": "offsets", "epoch": rows.integer(row, 0), "partition": rows.integer(row, 1),
            "from": rows.integer(row, 2), "to": rows.integer(row, 3), "reason": rows.text(row, 4),
        }));
    }
    report.offset_gaps = total(session, what, OFFSETS).await?;
    let (what, listed) = ("sequence gaps", first(SEQUENCES));
    let rows = query(session, what, &listed).await?;
    for row in 0..rows.len() {
        report.gaps.push(json!({
            "kind": "sequence", "source_id": rows.text(row, 0), "incarnation": rows.integer(row, 1),
            "missing": rows.integer(row, 4), "from": rows.integer(row, 2), "to": rows.integer(row, 3),
        }));
    }
    report.sequence_gaps = total(session, what, SEQUENCES).await?;
    Ok(())
}

fn first(gaps: &str) -> String {
    format!("{gaps} ORDER BY 1, 2, 3 LIMIT {LISTED}")
}

async fn total(session: &Session, what: &'static str, gaps: &str) -> Result<Gaps, VerifyError> {
    let sql = format!("SELECT count(*), coalesce(sum(missing), 0) FROM ({gaps})");
    let [count, missing] = query(session, what, &sql).await?.integers(0);
    Ok(Gaps { count, missing })
}
