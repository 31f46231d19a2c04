//! Every table once, at one version, with the positions of that version: an audit of a lake that is being written to
//! looks at one moment of each table.

use std::sync::Arc;
use std::time::Duration;

use siji_lake::snapshot::{ReadError, ReaderOptions, Snapshot, TableReader};
use siji_lake::{Lake, LakeError};

use super::log::{self, Positions};
use super::{Report, VerifyError};

/// How often a table that looks damaged or missing is looked at again: a listing made while a commit lands can show a
/// later entry without an earlier one, and a new lake gets its tables one after another.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// One table at one version.
#[derive(Debug)]
pub(super) struct Pinned {
    pub snapshot: Arc<Snapshot>,
    pub positions: Positions,
    /// Where lives of partitions began that may have no rows yet.
    pub beginnings: Positions,
}

/// The tables of a lake.
#[derive(Debug)]
pub(super) struct Tables {
    pub ledger: Pinned,
    pub rollup: Option<Pinned>,
    pub rollup_day: Option<Pinned>,
    pub registers: Option<Pinned>,
    pub ref_areas: Option<Pinned>,
}

impl Tables {
    pub(super) fn each(&self) -> [(&'static str, Option<&Pinned>); 5] {
        [
            ("ledger", Some(&self.ledger)),
            ("rollup", self.rollup.as_ref()),
            ("rollup_day", self.rollup_day.as_ref()),
            ("registers", self.registers.as_ref()),
            ("ref_areas", self.ref_areas.as_ref()),
        ]
    }

    /// Positions of a derived table.
    pub(super) fn positions(&self, table: &str) -> Positions {
        let found = self.each().into_iter().find(|(name, _)| *name == table);
        let pinned = found.and_then(|(_, pinned)| pinned);
        pinned.map_or_else(Positions::new, |pinned| pinned.positions.clone())
    }

    /// Tables that are not there although the ledger holds something. The days come with the first maintenance.
    fn missing(&self) -> Vec<&'static str> {
        if self.ledger.positions.is_empty() && self.ledger.snapshot.files().is_empty() {
            return Vec::new();
        }
        let each = self.each().into_iter();
        each.filter(|(name, pinned)| pinned.is_none() && *name != "rollup_day")
            .map(|(name, _)| name)
            .collect()
    }
}

/// Pins all tables. `None`: what is wrong stands in the report, and nothing more can be looked at.
pub(super) async fn all(lake: &Lake, report: &mut Report) -> Result<Option<Tables>, VerifyError> {
    let mut look = 1;
    loop {
        let mut found = Report::default();
        let tables = look_at(lake, &mut found).await?;
        if found.ok() || look == LOOKS {
            report.differences_of(found);
            return Ok(tables.filter(|_| report.ok()));
        }
        look += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look_at(lake: &Lake, report: &mut Report) -> Result<Option<Tables>, VerifyError> {
    // A derived table before what it follows: then it cannot be the newer one.
    let ref_areas = pin(lake, "ref_areas", report).await?;
    let registers = pin(lake, "registers", report).await?;
    let rollup_day = pin(lake, "rollup_day", report).await?;
    let rollup = pin(lake, "rollup", report).await?;
    let ledger = pin(lake, "ledger", report).await?;
    let Some(ledger) = ledger else {
        if report.ok() {
            report.difference(
                "ledger: there is no such table; it was removed, or no aggregator has opened this lake yet"
                    .to_owned(),
            );
        }
        return Ok(None);
    };
    let tables = Tables {
        ledger,
        rollup,
        rollup_day,
        registers,
        ref_areas,
    };
    if report.ok() {
        for table in tables.missing() {
            report.difference(format!(
                "{table}: there is no such table, but the ledger has come to {:?}; restore it, or let an aggregator \
                 derive it again",
                tables.ledger.positions
            ));
        }
    }
    Ok(Some(tables))
}

async fn pin(
    lake: &Lake,
    table: &'static str,
    report: &mut Report,
) -> Result<Option<Pinned>, VerifyError> {
    match try_pin(lake, table).await {
        Ok(pinned) => Ok(pinned),
        Err(VerifyError::Lake(error @ LakeError::Damaged { .. })) => {
            report.difference(error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn try_pin(lake: &Lake, table: &'static str) -> Result<Option<Pinned>, VerifyError> {
    let Some(state) = siji_lake::table::state(lake, table).await? else {
        return Ok(None);
    };
    let snapshot = snapshot(lake, table).await?;
    let seen = snapshot
        .as_ref()
        .map(|s| i64::try_from(s.version()).unwrap_or(i64::MAX));
    let (Some(snapshot), Some(seen)) = (snapshot, seen.filter(|seen| *seen >= state.version))
    else {
        return Err(damaged(
            table,
            format!(
                "its log stands at version {}, readers see {seen:?}",
                state.version
            ),
        ));
    };
    // The log may have grown between the two looks.
    let mut txns = state.txns;
    for version in state.version + 1..=seen {
        match log::entry(lake, table, version).await? {
            Some(entry) => txns.extend(entry.txns),
            None => return Err(damaged(table, format!("version {version} is missing"))),
        }
    }
    Ok(Some(Pinned {
        snapshot,
        positions: log::positions(&txns),
        beginnings: log::beginnings(&txns),
    }))
}

async fn snapshot(lake: &Lake, table: &'static str) -> Result<Option<Arc<Snapshot>>, VerifyError> {
    let options = ReaderOptions::default();
    let reader = match TableReader::open(lake.root_store(), lake.table_url(table), options) {
        Ok(reader) => reader.current().await,
        Err(error) => Err(error),
    };
    reader.map_err(|error| match error {
        ReadError::Store { source, .. } => LakeError::Store(source).into(),
        error => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            damaged(table, format!("{error}{}", cause.unwrap_or_default()))
        }
    })
}

fn damaged(table: &str, reason: String) -> VerifyError {
    LakeError::Damaged {
        table: table.to_owned(),
        reason,
    }
    .into()
}
