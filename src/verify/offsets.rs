//! Every offset between the first and the next stands in exactly one row (D1), and the log's position says the same.

use siji_lake::Lake;
use siji_query::Session;

use super::log::{self, Positions};
use super::pins::Pinned;
use super::rows::query;
use super::{Report, VerifyError};

/// Checks the ledger by itself.
pub(super) async fn check(
    lake: &Lake,
    session: &Session,
    ledger: &Pinned,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let rows = query(
        session,
        "offsets",
        "SELECT topic_epoch, partition, min(\"offset\"), max(offset_last) + 1, sum(offset_last - \"offset\" + 1) \
         FROM ledger WHERE resolves IS NULL GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .await?;
    let mut without_rows = ledger.positions.clone();
    for row in 0..rows.len() {
        let [epoch, partition, first, next, covered] = rows.integers(row);
        report.offsets += covered;
        if covered != next - first {
            report.difference(format!(
                "ledger, epoch {epoch}, partition {partition}: offsets {first} to {} need {} rows' worth, found {covered}",
                next - 1,
                next - first
            ));
        }
        let (epoch, partition) = (narrow(epoch), narrow(partition));
        match without_rows.remove(&(epoch, partition)) {
            Some(position) if position == next => {}
            position => report.difference(format!(
                "ledger, epoch {epoch}, partition {partition}: rows end before offset {next}, the log's position is {}",
                position.map_or("missing".to_owned(), |position| position.to_string())
            )),
        }
    }
    unbegun(lake, ledger, without_rows, report).await?;
    order(session, report).await?;
    accepted_once(session, report).await
}

fn narrow(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A partition without rows stands where its epoch began; anywhere else its rows are gone. Reads the log from the
/// start, as far as need be.
async fn unbegun(
    lake: &Lake,
    ledger: &Pinned,
    mut positions: Positions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    positions.retain(|partition, position| ledger.beginnings.get(partition) != Some(position));
    let last = i64::try_from(ledger.snapshot.version()).unwrap_or(i64::MAX);
    // Lakes from before these marks tell it in the entries themselves, as long as they are kept.
    let mut version = 0;
    while !positions.is_empty() && version <= last {
        if let Some(entry) = log::entry(lake, "ledger", version).await?
            && entry.begins_epochs()
        {
            let begun = log::positions(entry.txns.iter().map(|(id, next)| (id, next)));
            positions.retain(|partition, position| begun.get(partition) != Some(position));
        }
        version += 1;
    }
    for ((epoch, partition), position) in positions {
        report.difference(format!(
            "ledger, epoch {epoch}, partition {partition}: the log's position is {position}, but there are no rows"
        ));
    }
    Ok(())
}

async fn order(session: &Session, report: &mut Report) -> Result<(), VerifyError> {
    let broken = query(
        session,
        "order of offsets",
        "SELECT topic_epoch, partition, \"offset\", previous + 1 FROM (SELECT topic_epoch, partition, \"offset\", \
         lag(offset_last) OVER (PARTITION BY topic_epoch, partition ORDER BY \"offset\", offset_last) AS previous \
         FROM ledger WHERE resolves IS NULL) WHERE previous IS NOT NULL AND \"offset\" <> previous + 1 \
         ORDER BY 1, 2, 3 LIMIT 20",
    )
    .await?;
    for row in 0..broken.len() {
        let [epoch, partition, offset, expected] = broken.integers(row);
        report.difference(format!(
            "ledger, epoch {epoch}, partition {partition}: offset {expected} expected, {offset} found"
        ));
    }
    let dispositions = query(
        session,
        "dispositions",
        "SELECT disposition, sum(offset_last - \"offset\" + 1) FROM ledger WHERE resolves IS NULL GROUP BY 1",
    )
    .await?;
    for row in 0..dispositions.len() {
        let count = dispositions.integer(row, 1);
        report.dispositions.insert(dispositions.text(row, 0), count);
    }
    Ok(())
}

/// No event id is accepted twice.
async fn accepted_once(session: &Session, report: &mut Report) -> Result<(), VerifyError> {
    let twice = query(
        session,
        "event ids",
        "SELECT event_id, count(*) FROM ledger WHERE disposition = 'accepted' GROUP BY event_id HAVING count(*) > 1 \
         ORDER BY 1 LIMIT 20",
    )
    .await?;
    for row in 0..twice.len() {
        report.difference(format!(
            "event {} is accepted {} times",
            twice.text(row, 0),
            twice.integer(row, 1)
        ));
    }
    Ok(())
}
