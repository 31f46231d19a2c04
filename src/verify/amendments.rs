//! Decisions about earlier records: who waited, and which version of an event counts, by the rules and not by the code that
//! applied them.

use siji_query::Session;

use super::rows::query;
use super::{Report, VerifyError};

/// Rows that decide about a record that had its row already, but for reversals.
const RESOLVED: &str = "ledger WHERE resolves IS NOT NULL AND disposition <> 'reversed'";

/// Whether each event that was corrected or retracted counts as it should: of an event and its corrections the one with
/// the greatest (recorded_at, event_id), of a retracted one none. An event never counts less than not at all.
const STANDING: &str = "
WITH amendments AS (
  SELECT lower(event_id) AS event_id, op, lower(target_event_id) AS target, recorded_at
  FROM ledger WHERE disposition = 'accepted' AND op <> 'assert'
),
reversed AS (
  SELECT lower(event_id) AS event_id, count(*) AS times FROM ledger WHERE disposition = 'reversed' GROUP BY 1
),
expected AS (
  SELECT event_id, CASE WHEN retracted OR place > 1 THEN 0 ELSE 1 END AS counts
  FROM (
    SELECT event_id, op,
      bool_or(op = 'retract') OVER (PARTITION BY target) AS retracted,
      row_number() OVER (PARTITION BY target, op ORDER BY recorded_at DESC, event_id DESC) AS place
    FROM amendments
  )
  WHERE op = 'correct'
  UNION ALL
  SELECT DISTINCT target, 0 FROM amendments
)
SELECT coalesce(expected.event_id, reversed.event_id), coalesce(counts, 1), 1 - coalesce(times, 0)
FROM expected FULL JOIN reversed ON expected.event_id = reversed.event_id
WHERE coalesce(counts, 1) <> 1 - coalesce(times, 0) ORDER BY 1 LIMIT 20";

/// A reversal takes back what was accepted, to the letter.
const UNLIKE: &str = "
SELECT event_id FROM (
  SELECT event_id, body_hash, local_date, occurred_at, 1 AS n FROM ledger WHERE disposition = 'accepted'
    AND event_id IN (SELECT event_id FROM ledger WHERE disposition = 'reversed')
  UNION ALL SELECT event_id, body_hash, local_date, occurred_at, -1 AS n FROM ledger WHERE disposition = 'reversed'
) GROUP BY event_id, body_hash, local_date, occurred_at HAVING sum(n) < 0 ORDER BY 1 LIMIT 20";

/// Checks them, and counts records by what became of them in the end.
pub(super) async fn check(session: &Session, report: &mut Report) -> Result<(), VerifyError> {
    let what = "decisions about earlier records";
    let counted = format!("SELECT disposition, count(*) FROM {RESOLVED} GROUP BY 1");
    let rows = query(session, what, &counted).await?;
    for row in 0..rows.len() {
        let resolved = rows.integer(row, 1);
        *report.dispositions.entry(rows.text(row, 0)).or_default() += resolved;
        *report.dispositions.entry("parked".to_owned()).or_default() -= resolved;
    }
    let twice = format!(
        "SELECT record, sum(n) FROM ( \
           SELECT resolves AS record, 1 AS n FROM {RESOLVED} \
           UNION ALL SELECT concat_ws('/', topic_epoch, partition, \"offset\") AS record, -1 AS n FROM ledger \
             WHERE disposition = 'parked') \
         GROUP BY record HAVING sum(n) > 0 ORDER BY 1 LIMIT 20"
    );
    let rows = query(session, what, &twice).await?;
    for row in 0..rows.len() {
        report.difference(format!(
            "ledger: record {} (epoch/partition/offset) was not parked as often as it was decided about later",
            rows.text(row, 0)
        ));
    }
    let rows = query(session, "what counts of corrected events", STANDING).await?;
    for row in 0..rows.len() {
        report.difference(format!(
            "event {} should count {} times by its corrections and retractions, the ledger counts it {} times",
            rows.text(row, 0),
            rows.integer(row, 1),
            rows.integer(row, 2)
        ));
    }
    let rows = query(session, "reversals", UNLIKE).await?;
    for row in 0..rows.len() {
        report.difference(format!(
            "ledger: a reversal of event {} does not say what was accepted",
            rows.text(row, 0)
        ));
    }
    Ok(())
}
