//! The audit of a lake: is every offset there once, and does every figure follow from the ledger?
//!
//! The recomputation is plain SQL over the ledger's stored columns. It shares no code with the aggregator's roll-up, so
//! a fault in one shows as a difference to the other.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use siji_lake::{Lake, LakeError};
use siji_query::{Engine, EngineOptions, Limits, Principal, QueryError, Session};
use siji_schemas::catalogue::Catalogue;

mod files;
mod report;
mod rollup;
mod rows;

pub use report::Report;

use rows::{Rows, query};

/// Differences listed at most, of each kind.
const LISTED: usize = 20;
/// How often a lake that is being written to is looked at again before a difference counts.
const ATTEMPTS: usize = 5;

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The lake.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A query of the audit.
    #[error("while checking {what}: {source}")]
    Query {
        /// What was checked.
        what: &'static str,
        /// Why it failed.
        source: QueryError,
    },
}

/// Audits a lake; the catalogue tells which types state levels, which are not added up. While it is written to, tables are read at slightly different moments; a difference counts only
/// if it is still there when nothing moved during the look.
pub async fn verify(
    lake: &Lake,
    limits: &Limits,
    catalogue: &Catalogue,
) -> Result<Report, VerifyError> {
    let mut attempt = 1;
    loop {
        let before = versions(lake).await;
        let report = look(lake, limits, catalogue).await?;
        let moved = before != versions(lake).await;
        if report.ok() || !moved || attempt == ATTEMPTS {
            return Ok(report);
        }
        attempt += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

const TABLES: [&str; 4] = ["ledger", "rollup", "registers", "ref_areas"];

async fn versions(lake: &Lake) -> Vec<Option<i64>> {
    let mut versions = Vec::new();
    for table in TABLES {
        let state = siji_lake::table::state(lake, table).await;
        versions.push(state.ok().flatten().map(|state| state.version));
    }
    versions
}

async fn look(lake: &Lake, limits: &Limits, catalogue: &Catalogue) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    let mut positions: BTreeMap<&str, HashMap<String, i64>> = BTreeMap::new();
    for table in TABLES {
        match siji_lake::table::state(lake, table).await {
            Ok(state) => {
                positions.insert(table, state.map(|state| state.txns).unwrap_or_default());
            }
            Err(error @ LakeError::Damaged { .. }) => report.difference(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        files::check(lake, table, &mut report).await?;
    }
    if !report.ok() {
        // Sums over a table with missing files would only repeat the finding.
        return Ok(report);
    }
    let limits = Limits {
        deadline: Duration::from_secs(3600),
        memory_bytes: limits.total_memory_bytes,
        ..limits.clone()
    };
    let engine = Engine::open(
        lake.clone(),
        EngineOptions {
            limits,
            ..EngineOptions::default()
        },
    )
    .map_err(|source| VerifyError::Query {
        what: "the lake",
        source,
    })?;
    let session = engine.session(Principal::local());
    let empty = HashMap::new();
    let of = |table: &str| positions.get(table).unwrap_or(&empty);
    offsets(&session, of("ledger"), &mut report).await?;
    derived(of("ledger"), of("rollup"), of("registers"), &mut report);
    accepted_once(&session, &mut report).await?;
    let levels: Vec<&str> = catalogue
        .event_types()
        .iter()
        .filter(|kind| kind.level)
        .map(|kind| kind.name.as_str())
        .collect();
    for tier in rollup::TIERS {
        rollup::recompute(&session, tier, &levels, &mut report).await?;
    }
    rollup::tiers_agree(&session, &mut report).await?;
    rollup::histograms(&session, &mut report).await?;
    registers(&session, &mut report).await?;
    sequences(&session, &mut report).await?;
    Ok(report)
}

/// Every offset between the first and the next stands in exactly one row (D1), and the log's position says the same.
async fn offsets(
    session: &Session,
    positions: &HashMap<String, i64>,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let rows = query(
        session,
        "offsets",
        "SELECT topic_epoch, partition, min(\"offset\"), max(offset_last) + 1, sum(offset_last - \"offset\" + 1) \
         FROM ledger WHERE resolves IS NULL GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .await?;
    let mut ends: HashMap<(i64, i64), i64> = HashMap::new();
    for row in 0..rows.len() {
        let [epoch, partition, first, next, covered] = rows.integers(row);
        report.offsets += covered;
        ends.insert((epoch, partition), next);
        if covered != next - first {
            report.difference(format!(
                "ledger, epoch {epoch}, partition {partition}: offsets {first} to {} need {} rows' worth, found {covered}",
                next - 1,
                next - first
            ));
        }
    }
    for (epoch, partition, position) in partition_positions(positions) {
        let end = ends.get(&(epoch, partition)).copied();
        // An epoch that was only opened by an operator has a position and no rows yet.
        if end.is_some_and(|end| end != position) {
            report.difference(format!(
                "ledger, epoch {epoch}, partition {partition}: rows end before offset {}, the log's position is {position}",
                end.unwrap_or_default()
            ));
        }
    }
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
    let dispositions =
        query(session, "dispositions", "SELECT disposition, sum(offset_last - \"offset\" + 1) FROM ledger WHERE resolves IS NULL GROUP BY 1")
            .await?;
    for row in 0..dispositions.len() {
        let count = dispositions.integer(row, 1);
        report.dispositions.insert(dispositions.text(row, 0), count);
    }
    let gaps = query(
        session,
        "gaps of offsets",
        "SELECT topic_epoch, partition, \"offset\", offset_last, reason FROM ledger WHERE disposition = 'gap' ORDER BY 1, 2, 3 LIMIT 1000",
    )
    .await?;
    for row in 0..gaps.len() {
        report.gaps.push(serde_json::json!({
            "kind": "offsets", "epoch": gaps.integer(row, 0), "partition": gaps.integer(row, 1),
            "from": gaps.integer(row, 2), "to": gaps.integer(row, 3), "reason": gaps.text(row, 4),
        }));
    }
    Ok(())
}

/// `siji.events/0/3` → (0, 3, position); the record marks (`#last`, `#check`) are not positions.
fn partition_positions(positions: &HashMap<String, i64>) -> Vec<(i64, i64, i64)> {
    positions
        .iter()
        .filter_map(|(id, position)| {
            let mut parts = id.rsplit('/');
            let partition = parts.next()?.parse().ok()?;
            let epoch = parts.next()?.parse().ok()?;
            parts.next()?;
            Some((epoch, partition, *position))
        })
        .collect()
}

/// Derived tables stand where the ledger stands: the rollup exactly, the registers not ahead.
fn derived(
    ledger: &HashMap<String, i64>,
    rollup: &HashMap<String, i64>,
    registers: &HashMap<String, i64>,
    report: &mut Report,
) {
    for (table, positions) in [("rollup", rollup), ("registers", registers)] {
        for (id, position) in positions {
            if ledger.get(id).is_none_or(|reached| reached < position) {
                report.difference(format!(
                    "{table} has followed {id} to {position}, the ledger only to {:?}: commits of the ledger are missing",
                    ledger.get(id)
                ));
            }
        }
    }
    for (epoch, partition, position) in partition_positions(ledger) {
        let reached = partition_positions(rollup)
            .into_iter()
            .find(|(e, p, _)| (*e, *p) == (epoch, partition));
        if reached.is_none_or(|(_, _, reached)| reached < position) {
            report.difference(format!(
                "rollup, epoch {epoch}, partition {partition}: derived to {:?}, the ledger is at {position}; an aggregator \
                 derives the rest when it starts",
                reached.map(|(_, _, reached)| reached)
            ));
        }
    }
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

/// `registers` holds the accepted statements of stocks and no others.
async fn registers(session: &Session, report: &mut Report) -> Result<(), VerifyError> {
    let rows = query(
        session,
        "registers",
        "SELECT event_id, sum(n), sum(v) FROM ( \
           SELECT event_id, 1 AS n, CASE WHEN qualifier = 'damaged' THEN NULL ELSE value END AS v FROM ledger \
             WHERE disposition = 'accepted' AND event_type = 'stock.reported' \
           UNION ALL SELECT event_id, -1 AS n, -value AS v FROM register_statements) \
         GROUP BY event_id HAVING sum(n) <> 0 OR sum(v) <> 0 ORDER BY 1 LIMIT 20",
    )
    .await?;
    for row in 0..rows.len() {
        report.difference(format!(
            "registers: the statement of event {} does not stand there as accepted",
            rows.text(row, 0)
        ));
    }
    Ok(())
}

/// Sequence numbers that never arrived, by source and spool opening: not a difference, but what to ask a site about.
async fn sequences(session: &Session, report: &mut Report) -> Result<(), VerifyError> {
    let rows: Rows = query(
        session,
        "sequence gaps",
        "SELECT source_id, incarnation, max(source_seq) - min(source_seq) + 1 - count(DISTINCT source_seq), min(source_seq), \
         max(source_seq) FROM ledger WHERE source_seq IS NOT NULL AND source_id IS NOT NULL AND resolves IS NULL \
         GROUP BY 1, 2 HAVING max(source_seq) - min(source_seq) + 1 > count(DISTINCT source_seq) ORDER BY 1, 2 LIMIT 1000",
    )
    .await?;
    for row in 0..rows.len() {
        report.gaps.push(serde_json::json!({
            "kind": "sequence", "source_id": rows.text(row, 0), "incarnation": rows.integer(row, 1),
            "missing": rows.integer(row, 2), "from": rows.integer(row, 3), "to": rows.integer(row, 4),
        }));
    }
    Ok(())
}
