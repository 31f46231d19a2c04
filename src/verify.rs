//! The audit of a lake: is every offset there once, and does every figure follow from the ledger?
//!
//! Every table is looked at in one version, pinned at the start, so a lake may be written to meanwhile. The recomputation
//! is plain SQL over the ledger's stored columns. It shares no code with the aggregator's roll-up, so a fault in one
//! shows as a difference to the other.

use std::time::Duration;

use siji_lake::{Lake, LakeError};
use siji_query::{Engine, EngineOptions, Limits, Principal, QueryError, Session};
use siji_schemas::catalogue::Catalogue;

mod amendments;
mod days;
mod derived;
mod files;
mod gaps;
mod log;
mod offsets;
mod pins;
mod report;
mod rollup;
mod rows;
mod slices;

pub use report::Report;

use pins::Tables;
use rows::query;

/// Differences listed at most, of each kind.
const LISTED: usize = 20;
/// How long one query of an audit may take.
const DEADLINE: Duration = Duration::from_secs(3600);

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

/// Audits a lake; the catalogue tells which types state levels, which are not added up.
pub async fn verify(
    lake: &Lake,
    limits: &Limits,
    catalogue: &Catalogue,
) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    let Some(tables) = pins::all(lake, &mut report).await? else {
        return Ok(report);
    };
    for (_, pinned) in tables.each() {
        if let Some(pinned) = pinned {
            files::check(lake, &pinned.snapshot, &mut report).await?;
        }
    }
    if !report.ok() {
        // Sums over a table with missing files would only repeat the finding.
        return Ok(report);
    }
    let session = session(lake, limits, &tables)?;
    offsets::check(lake, &session, &tables.ledger, &mut report).await?;
    amendments::check(&session, &mut report).await?;
    derived::not_ahead(&tables, &mut report);
    days::not_ahead(&tables, &mut report);
    let levels: Vec<&str> = catalogue
        .event_types()
        .iter()
        .filter(|kind| kind.level)
        .map(|kind| kind.name.as_str())
        .collect();
    for days in slices::slices(&session).await? {
        for tier in rollup::TIERS {
            rollup::recompute(&session, tier, &levels, &days, &mut report).await?;
            rollup::recompute_durations(&session, tier, &days, &mut report).await?;
        }
        days::recompute(&session, &tables, &days, &mut report).await?;
    }
    rollup::tiers_agree(&session, &mut report).await?;
    registers(&session, &mut report).await?;
    gaps::list(&session, &mut report).await?;
    derived::follows_on(lake, &session, &mut report).await?;
    Ok(report)
}

/// Queries over the pinned tables.
fn session(lake: &Lake, limits: &Limits, tables: &Tables) -> Result<Session, VerifyError> {
    let limits = Limits {
        deadline: DEADLINE,
        memory_bytes: limits.total_memory_bytes,
        max_rows: None,
        ..limits.clone()
    };
    let snapshots = tables.each().into_iter().map(|(name, pinned)| {
        let snapshot = pinned.map(|pinned| std::sync::Arc::clone(&pinned.snapshot));
        (name.to_owned(), snapshot)
    });
    let followed = derived::followed(tables).map_err(LakeError::from)?;
    let options = EngineOptions {
        limits,
        snapshots: snapshots.collect(),
        tables: [(derived::FOLLOWED.to_owned(), followed)].into(),
        ..EngineOptions::default()
    };
    let engine = Engine::open(lake.clone(), options).map_err(|source| VerifyError::Query {
        what: "the lake",
        source,
    })?;
    Ok(engine.session(Principal::local()))
}

/// `registers` holds the accepted statements of stocks, as far as it has followed the ledger, and no others.
async fn registers(session: &Session, report: &mut Report) -> Result<(), VerifyError> {
    let rows = query(
        session,
        "registers",
        "SELECT event_id, sum(n), sum(v) FROM ( \
           SELECT event_id, CASE WHEN disposition = 'reversed' THEN -1 ELSE 1 END AS n, \
             CASE WHEN disposition = 'reversed' OR qualifier = 'damaged' THEN NULL ELSE value END AS v FROM ledger \
             JOIN followed ON topic_epoch = followed_epoch AND partition = followed_partition \
             WHERE disposition IN ('accepted', 'reversed') AND op <> 'retract' AND event_type = 'stock.reported' \
               AND \"offset\" < registers_next \
           UNION ALL SELECT event_id, CASE WHEN qualifier = 'reversed' THEN 1 ELSE -1 END AS n, -value AS v \
             FROM register_statements) \
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
