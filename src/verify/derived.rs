//! How far the derived tables have followed the ledger, and whether they follow on.
//!
//! The ledger is committed first, so a look at a lake that is being written to finds rows that are not derived yet. They
//! are left out of the comparison, and it is waited for that the tables reach them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use siji_lake::Lake;
use siji_query::Session;

use super::log::{self, Positions};
use super::pins::Tables;
use super::rows::query;
use super::{Report, VerifyError};

/// Within this time after a ledger commit, a running aggregator has derived its rows.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Name of the table of positions in the audit's queries.
pub(super) const FOLLOWED: &str = "followed";

/// Ledger rows that count in the rollup as far as it has followed, or take back one that does.
pub(super) const IN_ROLLUP: &str = "ledger JOIN followed ON topic_epoch = followed_epoch AND partition = followed_partition \
                                    WHERE disposition IN ('accepted', 'reversed') AND op <> 'retract' AND \"offset\" < rollup_next";

/// How often such a row counts.
pub(super) const SIGN: &str = "CASE WHEN disposition = 'reversed' THEN -1 ELSE 1 END";

/// The positions of the derived tables for each partition of the ledger, as a table; where there is none nothing was
/// followed.
pub(super) fn followed(tables: &Tables) -> Result<RecordBatch, arrow::error::ArrowError> {
    let (rollup, registers) = (tables.positions("rollup"), tables.positions("registers"));
    let partitions = || tables.ledger.positions.keys();
    let next = |of: &Positions| -> ArrayRef {
        let next = partitions().map(|partition| of.get(partition).copied().unwrap_or(i64::MIN));
        Arc::new(Int64Array::from_iter_values(next))
    };
    let epochs = Int32Array::from_iter_values(partitions().map(|(epoch, _)| *epoch));
    let numbers = Int32Array::from_iter_values(partitions().map(|(_, number)| *number));
    RecordBatch::try_from_iter([
        ("followed_epoch", Arc::new(epochs) as ArrayRef),
        ("followed_partition", Arc::new(numbers)),
        ("rollup_next", next(&rollup)),
        ("registers_next", next(&registers)),
    ])
}

/// No derived table has come further than the ledger.
pub(super) fn not_ahead(tables: &Tables, report: &mut Report) {
    for table in ["rollup", "registers"] {
        for ((epoch, partition), position) in tables.positions(table) {
            let reached = tables.ledger.positions.get(&(epoch, partition));
            if reached.is_none_or(|reached| *reached < position) {
                let reached = reached.map_or("nothing".to_owned(), |reached| reached.to_string());
                report.difference(format!(
                    "{table} has followed epoch {epoch}, partition {partition} to {position}, the ledger stands at {reached}: \
                     commits of the ledger are missing"
                ));
            }
        }
    }
}

/// Every derived table reaches the last ledger row that concerns it, if not at once then in time.
pub(super) async fn follows_on(
    lake: &Lake,
    session: &Session,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let until = Instant::now() + PATIENCE;
    for (table, next, concerned) in [
        (
            "rollup",
            "rollup_next",
            "disposition IN ('accepted', 'reversed')",
        ),
        (
            "registers",
            "registers_next",
            "disposition IN ('accepted', 'reversed') AND event_type = 'stock.reported'",
        ),
    ] {
        let sql = format!(
            "SELECT topic_epoch, partition, max(\"offset\") + 1 FROM ledger JOIN {FOLLOWED} \
             ON topic_epoch = followed_epoch AND partition = followed_partition \
             WHERE {concerned} AND \"offset\" >= {next} GROUP BY 1, 2"
        );
        let rows = query(session, "rows that are not derived yet", &sql).await?;
        let number = |row, column| i32::try_from(rows.integer(row, column)).unwrap_or(i32::MAX);
        let wanted: Positions = (0..rows.len())
            .map(|row| ((number(row, 0), number(row, 1)), rows.integer(row, 2)))
            .collect();
        for ((epoch, partition), (wanted, reached)) in behind(lake, table, wanted, until).await {
            let reached = reached.map_or("nothing".to_owned(), |reached| reached.to_string());
            report.difference(format!(
                "{table}, epoch {epoch}, partition {partition}: derived to {reached}, the ledger has rows up to {wanted}; an \
                 aggregator derives the rest when it starts"
            ));
        }
    }
    Ok(())
}

/// What a table has not reached by then: wanted and reached, by partition.
async fn behind(
    lake: &Lake,
    table: &str,
    wanted: Positions,
    until: Instant,
) -> Vec<((i32, i32), (i64, Option<i64>))> {
    loop {
        // A log that cannot be read just now is read again; when time is up it counts as not reached.
        let reached = match siji_lake::table::state(lake, table).await {
            Ok(state) => log::positions(&state.unwrap_or_default().txns),
            Err(_) => Positions::new(),
        };
        let behind: Vec<_> = wanted
            .iter()
            .map(|(partition, wanted)| (*partition, (*wanted, reached.get(partition).copied())))
            .filter(|(_, (wanted, reached))| reached.is_none_or(|reached| reached < *wanted))
            .collect();
        if behind.is_empty() || Instant::now() >= until {
            return behind;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
