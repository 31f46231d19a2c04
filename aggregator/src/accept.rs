//! An operator's word that records are gone: a gap is recorded, or a new epoch begins (D1, D2).

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;
use siji_lake::{Lake, LakeLocation};
use siji_schemas::validate::Reference;

use crate::AggregatorError;
use crate::commit::{Tables, change};
use crate::config::KafkaConfig;
use crate::consume::ConsumeError;
use crate::ledger;
use crate::position::{Partition, Position, Standing, standing};
use crate::reader::LedgerReader;
use crate::recover::catch_up;

/// What was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Life of the topic from now on.
    pub epoch: i32,
    /// Next offset to take.
    pub next: i64,
    /// Offsets recorded as gone, both included.
    pub gap: Option<(i64, i64)>,
}

impl std::fmt::Display for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.gap {
            Some((from, to)) => write!(
                f,
                "offsets {from} to {to} are recorded as a gap, next is {}",
                self.next
            ),
            None => write!(f, "epoch {} begins at offset {}", self.epoch, self.next),
        }
    }
}

/// Reason on the gap's row.
const REASON: &str = "records were deleted before they were read; accepted by an operator";

/// Lets a stopped partition go on. Run it while no aggregator has the partition; if one has, its next commit fails and
/// it starts over from the new position.
///
/// # Errors
/// Besides lake and broker: the partition is in order, so there is nothing to accept.
pub async fn accept(
    lake: &LakeLocation,
    kafka: &KafkaConfig,
    reference: &Arc<Reference>,
    number: i32,
) -> Result<Accepted, AggregatorError> {
    let now_ms = chrono::Utc::now().timestamp_millis();
    let lake = Lake::open(lake).await?;
    let mut tables = Tables::open(&lake).await?;
    let partition = Partition(number);
    let position = Position::read(tables.ledger.txns(), &kafka.topic, partition);
    let (low, high) = watermarks(kafka, number).await?;
    let accepted = match standing(&position, low, high) {
        Standing::Deleted => {
            let next = position.next.unwrap_or(low);
            Accepted {
                epoch: position.epoch,
                next: low,
                gap: Some((next, low - 1)),
            }
        }
        Standing::Lost | Standing::Resume { .. } | Standing::ResumeUnverified => Accepted {
            epoch: position.epoch + 1,
            next: low,
            gap: None,
        },
        Standing::Fresh => {
            return Err(AggregatorError::Config(format!(
                "partition {number} has nothing in the ledger yet: nothing to accept"
            )));
        }
    };
    // The epoch that ends must be derived completely: recovery looks only at the present one.
    let ledger_reader = LedgerReader::open(&lake)?;
    let catalogue = Arc::new(reference.catalogue.clone());
    let positions = [(partition, position)].into();
    catch_up(
        &mut tables,
        &ledger_reader,
        &positions,
        &kafka.topic,
        &catalogue,
        now_ms,
    )
    .await?;

    let moved = Position {
        epoch: accepted.epoch,
        next: Some(accepted.next),
        last: None,
    };
    let mut adds = Vec::new();
    if let Some((from, to)) = accepted.gap {
        let row = ledger::gap(number, from, to, REASON, accepted.epoch, now_ms)?;
        adds.push(tables.ledger.write_file(None, &[row]).await?);
    }
    let info = json!({ "accepted": accepted.to_string() });
    tables
        .ledger
        .commit(change(
            adds,
            moved.txns(&kafka.topic, partition, now_ms),
            info,
        ))
        .await?;
    tracing::info!(partition = number, %accepted, "offsets accepted");
    Ok(accepted)
}

/// First offset a partition's log has, and the one it will give next.
pub(crate) async fn watermarks(
    kafka: &KafkaConfig,
    partition: i32,
) -> Result<(i64, i64), AggregatorError> {
    let (client, topic) = (kafka.client(), kafka.topic.clone());
    let asked = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = client.create()?;
        consumer.fetch_watermarks(&topic, partition, Duration::from_secs(10))
    });
    let asked = asked
        .await
        .map_err(|_| AggregatorError::Thread("kafka client"))?;
    asked.map_err(|error| ConsumeError::Kafka(error).into())
}
