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

/// What a roll-up takes from a row, besides what it is found by.
const TAKEN: &str = "partition, event_id, body_hash, local_date, occurred_at, area_code, area_tier, street_code, district_code, \
                     city_code, province_code, event_type, service_code, channel, case_kind, outcome, fund_source, fee_mode, \
                     unit, qualifier, handler_code, handler_street_code, handler_district_code, handler_city_code, \
                     handler_province_code, count, amount_fen, minutes, value, rating";

/// Whoever is still parked although its target is there: the same id, instant and key.
const FORGOTTEN: &str = "
SELECT waiting.event_id FROM ledger AS waiting JOIN ledger AS target
  ON lower(waiting.target_event_id) = lower(target.event_id) AND waiting.partition = target.partition
    AND waiting.target_occurred_at = target.occurred_at AND waiting.home_area_code = target.home_area_code
WHERE waiting.disposition = 'parked' AND target.disposition = 'accepted' AND target.op = 'assert'
  AND NOT EXISTS (SELECT 1 FROM ledger AS later WHERE later.resolves IS NOT NULL AND later.disposition <> 'reversed'
    AND later.resolves = concat_ws('/', waiting.topic_epoch, waiting.partition, waiting.\"offset\"))
ORDER BY 1 LIMIT 20";

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
    let rows = query(session, "who waits for a target", FORGOTTEN).await?;
    for row in 0..rows.len() {
        report.difference(format!(
            "event {} is parked although its target was accepted",
            rows.text(row, 0)
        ));
    }
    // To the letter.
    let unlike = format!(
        "SELECT event_id FROM ( \
           SELECT {TAKEN}, 1 AS n FROM ledger WHERE disposition = 'accepted' \
             AND event_id IN (SELECT event_id FROM ledger WHERE disposition = 'reversed') \
           UNION ALL SELECT {TAKEN}, -1 AS n FROM ledger WHERE disposition = 'reversed') \
         GROUP BY {TAKEN} HAVING sum(n) < 0 ORDER BY 1 LIMIT 20"
    );
    let rows = query(session, "reversals", &unlike).await?;
    for row in 0..rows.len() {
        report.difference(format!(
            "ledger: a reversal of event {} does not say what was accepted",
            rows.text(row, 0)
        ));
    }
    Ok(())
}
