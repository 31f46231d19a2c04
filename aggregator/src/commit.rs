//! A sealed batch into the lake: the ledger first, then what is derived from it (D1-D3, D5).

use std::collections::BTreeMap;
use std::time::Instant;

use arrow::array::RecordBatch;
use futures::future::try_join_all;
use serde_json::json;
use siji_lake::datafile::{Effort, EncodedFile};
use siji_lake::log::Change;
use siji_lake::schema::{LEDGER, REGISTERS, ROLLUP};
use siji_lake::{Lake, LakeError, TableWriter, Txn};

use crate::AggregatorError;
use crate::derive::rollup::Rollup;
use crate::fence::Fence;
use crate::judge::Disposition;
use crate::position::{NONE_PARKED, Partition, Position, app_id};

/// A batch that will not change any more.
#[derive(Debug)]
pub struct Sealed {
    /// What goes into the tables.
    pub rows: Rows,
    /// How far it brings them.
    pub advance: Advance,
}

/// What goes into the tables.
#[derive(Debug)]
pub struct Rows {
    /// Ledger rows, by partition and offset.
    pub ledger: Vec<RecordBatch>,
    /// Partial sums.
    pub rollup: Rollup,
    /// Statements of stocks.
    pub registers: Vec<RecordBatch>,
}

/// How far a batch brings the tables.
#[derive(Debug)]
pub struct Advance {
    /// Turn of the pipeline, rising from 1.
    pub turn: u64,
    /// Where the partitions stand after it.
    pub positions: BTreeMap<Partition, Position>,
    /// Records by what was decided.
    pub tally: Tally,
    /// Broker's time of the newest record, by partition, milliseconds UTC.
    pub newest_ms: BTreeMap<Partition, i64>,
}

/// The same as files, not put anywhere yet.
#[derive(Debug)]
pub struct Files {
    ledger: EncodedFile,
    rollup: Vec<EncodedFile>,
    registers: Option<EncodedFile>,
    /// Rows in the ledger's file.
    pub ledger_rows: usize,
    /// Seconds it took to fold the tiers and encode.
    pub encode_s: f64,
}

impl Rows {
    /// Folds the tiers and encodes everything. Works on one core for a while.
    pub fn encode(self) -> Result<Files, AggregatorError> {
        let started = Instant::now();
        let ledger = EncodedFile::new(&LEDGER, None, &self.ledger, Effort::Fast)?;
        let ledger_rows = self.ledger.iter().map(RecordBatch::num_rows).sum();
        drop(self.ledger);
        let mut rollup = Vec::new();
        self.rollup
            .for_each_tier(|tier, rows| -> Result<(), AggregatorError> {
                if rows.num_rows() > 0 {
                    let (partition, rows) = (Some(tier.as_str()), std::slice::from_ref(&rows));
                    rollup.push(EncodedFile::new(&ROLLUP, partition, rows, Effort::Fast)?);
                }
                Ok(())
            })?;
        let registers = (!self.registers.is_empty())
            .then(|| EncodedFile::new(&REGISTERS, None, &self.registers, Effort::Fast))
            .transpose()?;
        Ok(Files {
            ledger,
            rollup,
            registers,
            ledger_rows,
            encode_s: started.elapsed().as_secs_f64(),
        })
    }
}

/// Records by what was decided, and the code of those refused.
pub type Tally = BTreeMap<(&'static str, &'static str), u64>;

/// Records of one disposition.
pub fn tallied(tally: &Tally, disposition: Disposition) -> u64 {
    tally
        .iter()
        .filter(|((word, _), _)| *word == disposition.as_str())
        .map(|(_, n)| n)
        .sum()
}

/// The tables that a batch goes into.
#[derive(Debug)]
pub struct Tables {
    /// `ledger`
    pub ledger: TableWriter,
    /// `rollup`
    pub rollup: TableWriter,
    /// `registers`
    pub registers: TableWriter,
}

impl Tables {
    /// Opens or creates all of them. The ledger last: while another aggregator commits, a table derived from it must
    /// not seem to be ahead of it.
    pub async fn open(lake: &Lake) -> Result<Tables, LakeError> {
        let registers = TableWriter::open(lake, &REGISTERS).await?;
        let rollup = TableWriter::open(lake, &ROLLUP).await?;
        Ok(Tables {
            ledger: TableWriter::open(lake, &LEDGER).await?,
            rollup,
            registers,
        })
    }

    /// Commits a batch, unless one of its partitions was revoked meanwhile. When this returns an error the tables must be
    /// opened again: what landed is then told by their positions, and recovery derives what is missing.
    pub async fn commit(
        &mut self,
        files: Files,
        advance: &Advance,
        topic: &str,
        fence: &Fence,
        now_ms: i64,
    ) -> Result<CommitTimes, AggregatorError> {
        let started = Instant::now();
        // Files first, positions last: until its commit nobody sees a file.
        let registers = async {
            match files.registers {
                Some(file) => self.registers.put_file(file).await.map(Some),
                None => Ok(None),
            }
        };
        let (ledger_file, rollup_files, registers_file) = futures::try_join!(
            self.ledger.put_file(files.ledger),
            try_join_all(
                files
                    .rollup
                    .into_iter()
                    .map(|file| self.rollup.put_file(file))
            ),
            registers,
        )?;
        let written = started.elapsed();
        let txns = advance
            .positions
            .iter()
            .flat_map(|(partition, position)| position.txns(topic, *partition, now_ms))
            .filter(|txn| self.is_news(txn))
            .collect();
        let _publishing = fence.enter(advance.positions.keys())?;
        let info = json!({ "rows": files.ledger_rows, "turn": advance.turn });
        self.ledger
            .commit(change(vec![ledger_file], txns, info))
            .await?;
        let ledger = started.elapsed();
        let derived = derived_txns(&advance.positions, topic, now_ms);
        self.rollup
            .commit(change(
                rollup_files,
                derived.clone(),
                json!({ "turn": advance.turn }),
            ))
            .await?;
        if let Some(file) = registers_file {
            self.registers
                .commit(change(vec![file], derived, json!({ "turn": advance.turn })))
                .await?;
        }
        Ok(CommitTimes {
            encode_s: files.encode_s,
            write_s: written.as_secs_f64(),
            ledger_s: ledger.as_secs_f64(),
            all_s: started.elapsed().as_secs_f64(),
        })
    }

    /// Whether a transaction of the ledger tells something: marks of who waits are the same in most commits.
    fn is_news(&self, txn: &Txn) -> bool {
        let known = self.ledger.txn(&txn.app_id).unwrap_or(NONE_PARKED);
        !txn.app_id.contains("#parked") || known != txn.version
    }

    /// Reads what others committed, and checks that it left these partitions where they were assigned.
    ///
    /// # Errors
    /// [`LakeError::Conflict`]: their last owner committed once more after their positions had been read.
    pub async fn take_over(
        &mut self,
        positions: &BTreeMap<Partition, Position>,
        topic: &str,
    ) -> Result<(), LakeError> {
        self.ledger.refresh().await?;
        self.rollup.refresh().await?;
        self.registers.refresh().await?;
        for (partition, position) in positions {
            let now = Position::read(self.ledger.txns(), topic, *partition);
            if now != *position {
                return Err(LakeError::Conflict {
                    table: self.ledger.spec().name.to_owned(),
                    app_id: app_id(topic, now.epoch, *partition),
                    version: now.next.unwrap_or_default(),
                });
            }
        }
        Ok(())
    }

    /// Moves the registers' positions to those of the ledger although there were no statements, so that recovery need
    /// not look for some since long ago.
    pub async fn advance_registers(
        &mut self,
        positions: &BTreeMap<Partition, Position>,
        topic: &str,
        now_ms: i64,
    ) -> Result<(), LakeError> {
        let behind = |(partition, position): &(&Partition, &Position)| {
            position.next
                != self
                    .registers
                    .txn(&app_id(topic, position.epoch, **partition))
        };
        let moved: BTreeMap<_, _> = positions
            .iter()
            .filter(behind)
            .map(|(p, position)| (*p, *position))
            .collect();
        if moved.is_empty() {
            return Ok(());
        }
        let change = change(
            Vec::new(),
            derived_txns(&moved, topic, now_ms),
            json!({ "rows": 0 }),
        );
        self.registers.commit(change).await.map(|_| ())
    }
}

/// Seconds since the start of a commit.
#[derive(Debug, Clone, Copy)]
pub struct CommitTimes {
    /// Spent before, to fold the tiers and encode the files.
    pub encode_s: f64,
    /// Until the files were written.
    pub write_s: f64,
    /// Until the ledger had them.
    pub ledger_s: f64,
    /// Until all tables had them.
    pub all_s: f64,
}

/// The positions of a derived table: how far it has followed the ledger.
pub fn derived_txns(
    positions: &BTreeMap<Partition, Position>,
    topic: &str,
    now_ms: i64,
) -> Vec<Txn> {
    positions
        .iter()
        .filter_map(|(partition, position)| {
            let app_id = app_id(topic, position.epoch, *partition);
            position.next.map(|version| Txn {
                app_id,
                version,
                last_updated: Some(now_ms),
            })
        })
        .collect()
}

/// One commit of added files.
pub fn change(adds: Vec<siji_lake::log::Add>, txns: Vec<Txn>, info: serde_json::Value) -> Change {
    let info = match info {
        serde_json::Value::Object(info) => [("siji".to_owned(), serde_json::Value::Object(info))]
            .into_iter()
            .collect(),
        _ => serde_json::Map::new(),
    };
    Change {
        adds,
        txns,
        info,
        ..Change::default()
    }
}
