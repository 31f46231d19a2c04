//! Partitions that become ours: where they stand in the lake, with everything derived from them brought up to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use siji_lake::{Lake, LakeError};
use siji_schemas::catalogue::Catalogue;

use super::latest::begin_at_the_end;
use crate::AggregatorError;
use crate::commit::Tables;
use crate::config::{KafkaConfig, StartAt};
use crate::position::{Partition, Position};
use crate::reader::LedgerReader;
use crate::recover::catch_up;

/// How often to look again when the last owner still committed.
const ATTEMPTS: u32 = 5;
/// Between looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What assigning needs to know.
#[derive(Debug, Clone)]
pub(super) struct Assigner {
    pub lake: Lake,
    pub kafka: KafkaConfig,
    pub start: StartAt,
    pub catalogue: Arc<Catalogue>,
}

impl Assigner {
    /// Reads the positions of partitions from the newest tables and derives what their last owner did not.
    pub(super) async fn assign(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Position>, AggregatorError> {
        let mut attempt = 1;
        loop {
            match self.read(partitions).await {
                Err(AggregatorError::Lake(LakeError::Conflict { .. })) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                read => return read,
            }
        }
    }

    async fn read(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Position>, AggregatorError> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let topic = &self.kafka.topic;
        let mut tables = Tables::open(&self.lake).await?;
        let mut positions: BTreeMap<Partition, Position> = partitions
            .iter()
            .map(|partition| {
                (
                    *partition,
                    Position::read(tables.ledger.txns(), topic, *partition),
                )
            })
            .collect();
        if self.start == StartAt::Latest {
            begin_at_the_end(&mut tables, &self.kafka, &mut positions, now_ms).await?;
        }
        let ledger = LedgerReader::open(&self.lake)?;
        let rows = catch_up(
            &mut tables,
            &ledger,
            &positions,
            topic,
            &self.catalogue,
            now_ms,
        )
        .await?;
        if rows > 0 {
            tracing::info!(rows, "derived tables caught up with the ledger");
        }
        Ok(positions)
    }
}
