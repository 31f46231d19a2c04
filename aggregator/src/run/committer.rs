//! The thread that commits, one batch after another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use siji_lake::{Lake, LakeError, checkpoint};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::Health;
use super::encoder::Encoded;
use crate::AggregatorError;
use crate::commit::Tables;
use crate::consume::Release;
use crate::fence::Fence;
use crate::metrics::Metrics;
use crate::pipeline::Work;
use crate::position::{Partition, Position};

/// How often the registers' positions follow although there is nothing for them.
const REGISTERS_EVERY: Duration = Duration::from_secs(60);

/// Owns the tables' writing side.
pub(super) struct Committer {
    lake: Lake,
    tables: Tables,
    topic: String,
    /// Of the partitions that are ours.
    positions: BTreeMap<Partition, Position>,
    fence: Arc<Fence>,
    health: Arc<Health>,
    metrics: Metrics,
    checkpoint_every: i64,
    /// Version of the last checkpoint begun, by table.
    checkpointed: BTreeMap<&'static str, i64>,
    checkpointing: Option<JoinHandle<()>>,
}

impl Committer {
    /// Goes on where the tables stand.
    pub(super) fn new(
        lake: Lake,
        tables: Tables,
        topic: String,
        fence: Arc<Fence>,
        health: Arc<Health>,
        checkpoint_every: i64,
    ) -> Self {
        Self {
            lake,
            tables,
            topic,
            positions: BTreeMap::new(),
            fence,
            health,
            metrics: Metrics::new(),
            checkpoint_every,
            checkpointed: BTreeMap::new(),
            checkpointing: None,
        }
    }

    /// Commits until nobody seals batches any more, or one cannot be committed.
    pub(super) fn run(
        mut self,
        work: &Receiver<Work<Encoded>>,
        runtime: &Handle,
    ) -> Result<(), AggregatorError> {
        let mut registers_at = Instant::now();
        loop {
            match work.recv_timeout(Duration::from_secs(1)) {
                Ok(Work::Batch(encoded)) => self.commit(encoded, runtime)?,
                Ok(Work::Assigned(positions)) => self.take_over(positions, runtime)?,
                Ok(Work::Release(release)) => self.release(release, runtime)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if registers_at.elapsed() >= REGISTERS_EVERY {
                registers_at = Instant::now();
                self.advance_registers(runtime)?;
            }
        }
        self.advance_registers(runtime)
    }

    fn commit(&mut self, encoded: Encoded, runtime: &Handle) -> Result<(), AggregatorError> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        // A disk that was unmounted leaves an empty directory that could be written to.
        runtime.block_on(self.lake.check())?;
        let Encoded {
            files,
            advance,
            began,
        } = encoded;
        let ledger_rows = files.ledger_rows;
        let commit = self
            .tables
            .commit(files, &advance, &self.topic, &self.fence, now_ms);
        let times = runtime.block_on(commit)?;
        self.positions.extend(
            advance
                .positions
                .iter()
                .map(|(p, position)| (*p, *position)),
        );
        self.metrics
            .committed(&advance.tally, ledger_rows as u64, times);
        self.health.committed(&advance);
        crate::trace::committed(advance.positions.iter(), ledger_rows, began);
        tracing::debug!(
            rows = ledger_rows,
            turn = advance.turn,
            seconds = times.all_s,
            "committed"
        );
        self.checkpoint(runtime);
        Ok(())
    }

    /// These tables must have seen every commit of the last owner, or ours would seem to conflict with them.
    fn take_over(
        &mut self,
        positions: BTreeMap<Partition, Position>,
        runtime: &Handle,
    ) -> Result<(), AggregatorError> {
        runtime.block_on(self.tables.take_over(&positions, &self.topic))?;
        self.health.assigned(&positions);
        self.positions.extend(positions);
        Ok(())
    }

    /// The next owner must find nothing to be derived, so the registers follow first.
    fn release(&mut self, release: Release, runtime: &Handle) -> Result<(), AggregatorError> {
        if !self.fence.is_closed(&release.partitions) {
            self.advance_registers(runtime)?;
        }
        for partition in &release.partitions {
            self.positions.remove(partition);
        }
        self.health.released(&release.partitions);
        release.done();
        Ok(())
    }

    fn advance_registers(&mut self, runtime: &Handle) -> Result<(), AggregatorError> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let advanced = runtime.block_on(self.tables.advance_registers(
            &self.positions,
            &self.topic,
            now_ms,
        ));
        advanced.map_err(AggregatorError::from)
    }

    /// Checkpoints in the background, one at a time; a failure only makes opening slower.
    fn checkpoint(&mut self, runtime: &Handle) {
        if self
            .checkpointing
            .as_ref()
            .is_some_and(|task| !task.is_finished())
            || self.checkpoint_every <= 0
        {
            return;
        }
        let mut due = Vec::new();
        for table in [
            &self.tables.ledger,
            &self.tables.rollup,
            &self.tables.registers,
        ] {
            let (name, version) = (table.spec().name, table.version());
            let last = self.checkpointed.entry(name).or_insert(0);
            // By whole steps, so that restarts do not put it off for ever.
            if version / self.checkpoint_every > *last / self.checkpoint_every {
                *last = version;
                due.push(name);
            }
        }
        if due.is_empty() {
            return;
        }
        let lake = self.lake.clone();
        self.checkpointing = Some(runtime.spawn(async move {
            for table in due {
                match checkpoint::write(&lake, table).await {
                    Ok(version) => tracing::debug!(table, version, "checkpoint"),
                    Err(error) => report_checkpoint(table, &error),
                }
            }
        }));
    }
}

fn report_checkpoint(table: &str, error: &LakeError) {
    tracing::warn!(table, %error, "no checkpoint; the log is read from an older one");
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.health.commits_ended();
    }
}
