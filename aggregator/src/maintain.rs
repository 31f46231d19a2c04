//! Maintenance of a lake: small files become large ones, the day grain follows the hour grain, logs and unused files are
//! cleaned up. So that a commit a second can go on for weeks (D8, D14).
//!
//! `fold` and `siji_lake::compact::plan` decide and are pure. `table` folds one table, `day` follows, [`rebuild`]
//! makes derived tables anew from the ledger, `task` does rounds in the background.
//!
//! **One maintainer.** Every commit of a maintainer moves the table's transaction [`MAINTAINER`]: of two that start at
//! the same state, one fails and has changed nothing. A maintainer that finds that somebody else has folded since its own
//! last look leaves the table alone in this round; so of several aggregators one does the work, and another one takes
//! over when it is gone. Appends move other transactions: they never fail because of a fold.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use siji_lake::compact::plan::Policy;
use siji_lake::log::cleanup::{self, Cleaned};
use siji_lake::snapshot::Snapshot;
use siji_lake::vacuum::{self, Vacuumed};
use siji_lake::{Lake, LakeError, checkpoint};

mod config;
mod day;
mod fold;
pub mod rebuild;
mod table;
mod tables;
mod task;
#[cfg(test)]
mod tests;

pub use config::MaintainConfig;
pub use day::Followed;
pub use table::{Folded, MAINTAINER};
pub use tables::{MAINTAINED, Maintained, maintained};
pub use task::Maintainer;

use table::{Table, version};
use tables::{DAYS, HOURS};

/// Commits after which a table gets a checkpoint here, if nobody else writes them.
const CHECKPOINT_EVERY: i64 = 50;

/// What was done for one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Files that became others.
    pub folded: Folded,
    /// Of the hour grain: what the day grain followed of it.
    pub followed: Followed,
    /// Files in the table now.
    pub live_files: u64,
    /// Another maintainer is at work there.
    pub left_to_another: bool,
}

/// Maintains the tables of one lake.
#[derive(Debug)]
pub struct Upkeep {
    lake: Lake,
    tables: BTreeMap<&'static str, Table>,
    /// Folds of each table at the last look.
    seen: BTreeMap<&'static str, Option<i64>>,
    /// Somebody else takes care of the roll-up: both grains go together.
    rollup_left: bool,
}

impl Upkeep {
    /// Of an open lake. Nothing is read yet.
    pub fn new(lake: Lake) -> Upkeep {
        Upkeep {
            lake,
            tables: BTreeMap::new(),
            seen: BTreeMap::new(),
            rollup_left: false,
        }
    }

    /// Folds one table, if it is there. `patient`: leaves it alone if another maintainer was there since the last look.
    ///
    /// # Errors
    /// [`LakeError::Conflict`] or [`LakeError::Removed`]: another one was faster; nothing was changed.
    pub async fn table(
        &mut self,
        kept: &'static Maintained,
        policy: &Policy,
        patient: bool,
    ) -> Result<Done, LakeError> {
        self.lake.check().await?;
        let done = self.attempt(kept, policy, patient).await;
        if done.is_err() {
            // What a handle knows after an error is not worth finding out.
            self.tables.clear();
        }
        done
    }

    async fn attempt(
        &mut self,
        kept: &'static Maintained,
        policy: &Policy,
        patient: bool,
    ) -> Result<Done, LakeError> {
        let mut done = Done::default();
        let name = kept.spec.name;
        let Some(mut table) = self.take(kept, false).await? else {
            return Ok(done);
        };
        let snapshot = table.snapshot().await?;
        done.left_to_another = patient && self.is_anothers(&table).await?;
        if !done.left_to_another && name == HOURS.spec.name {
            // The days first: files that they have not followed must not be folded away, for readers of days add them.
            done.followed = self.follow(&snapshot, policy).await?;
        }
        if !done.left_to_another {
            done.folded = table.fold(&snapshot, policy).await?;
        }
        let folded = done.folded;
        done.live_files = snapshot.files().len() as u64 + folded.files_out - folded.files_in;
        self.seen.insert(name, table.folds());
        let at = table.writer.version().max(version(&snapshot));
        self.tables.insert(name, table);
        self.checkpoint(name, at).await?;
        Ok(done)
    }

    /// Whether to leave a table to another maintainer in this round.
    async fn is_anothers(&mut self, table: &Table) -> Result<bool, LakeError> {
        let name = table.name();
        let was_here = self.another_was_here(table);
        if name == DAYS.spec.name {
            return Ok(self.rollup_left);
        }
        if name != HOURS.spec.name {
            return Ok(was_here);
        }
        self.rollup_left = was_here;
        if let Some(mut days) = self.take(&DAYS, false).await? {
            days.writer.refresh().await?;
            self.rollup_left |= self.another_was_here(&days);
            self.tables.insert(DAYS.spec.name, days);
        }
        Ok(self.rollup_left)
    }

    /// Brings the days up to a snapshot of the hours.
    async fn follow(&mut self, hours: &Snapshot, policy: &Policy) -> Result<Followed, LakeError> {
        let Some(mut days) = self.take(&DAYS, true).await? else {
            return Ok(Followed::default());
        };
        let followed = day::follow(&self.lake, &mut days, hours, policy).await?;
        self.seen.insert(DAYS.spec.name, days.folds());
        self.tables.insert(DAYS.spec.name, days);
        Ok(followed)
    }

    async fn take(
        &mut self,
        kept: &'static Maintained,
        make: bool,
    ) -> Result<Option<Table>, LakeError> {
        match self.tables.remove(kept.spec.name) {
            Some(table) => Ok(Some(table)),
            None => Table::open(&self.lake, kept, make).await,
        }
    }

    /// Whether a table was folded since the last look, and not by this maintainer. Remembers the look.
    fn another_was_here(&mut self, table: &Table) -> bool {
        let now = table.folds();
        let seen = self.seen.insert(table.name(), now);
        seen.is_some_and(|seen| seen != now)
    }

    /// A checkpoint where the last one is far behind: the aggregator writes those of the tables it commits to.
    async fn checkpoint(&self, table: &'static str, at: i64) -> Result<(), LakeError> {
        let every = match maintained(table) {
            Some(kept) if kept.spec.name == DAYS.spec.name => CHECKPOINT_EVERY,
            _ => 2 * CHECKPOINT_EVERY,
        };
        let last = checkpoint::last(&self.lake, table).await?;
        if at - last.unwrap_or(0) >= every {
            checkpoint::write(&self.lake, table).await?;
        }
        Ok(())
    }

    /// Cleans up one table's log.
    pub async fn clean_log(&self, table: &str, keep: cleanup::Keep) -> Result<Cleaned, LakeError> {
        cleanup::clean(&self.lake, table, keep, now()).await
    }

    /// What [`Self::clean_log`] would remove.
    pub async fn preview_log(
        &self,
        table: &str,
        keep: cleanup::Keep,
    ) -> Result<Cleaned, LakeError> {
        cleanup::preview(&self.lake, table, keep, now()).await
    }

    /// Deletes files that nobody can need any more.
    pub async fn vacuum(
        &self,
        table: &str,
        options: vacuum::Options,
    ) -> Result<Vacuumed, LakeError> {
        vacuum::vacuum(&self.lake, table, options, now()).await
    }
}

/// Since 1970.
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
