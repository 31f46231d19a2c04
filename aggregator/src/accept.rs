//! An operator's word that records are gone: a gap is recorded, or a new epoch begins (D1, D2).

use std::sync::Arc;

use serde_json::json;
use siji_lake::{Lake, LakeLocation, Txn};
use siji_schemas::validate::Reference;

use crate::AggregatorError;
use crate::commit::{Tables, change};
use crate::config::KafkaConfig;
use crate::consume::{ConsumeError, is_the_record, watermarks};
use crate::ledger;
use crate::position::{LastRecord, Partition, Position, Standing, began_id, standing};
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

/// Lets a stopped partition go on. An aggregator that runs meanwhile notices and starts over from the new position: by
/// itself where the partition is stopped, else because its next commit conflicts with this one.
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
    let (client, topic) = (kafka.client(), kafka.topic.clone());
    let (low, high) = ask(move || watermarks(&client, &topic, number)).await?;
    let accepted = match standing(&position, low, high) {
        Standing::Resume { verify } if found_again(kafka, number, verify).await? => {
            return Err(AggregatorError::Config(format!(
                "partition {number} is in order: the record at offset {} is the one in the ledger; nothing to accept",
                verify.offset
            )));
        }
        // All that was taken has been deleted since, as retention does, and nothing is missing.
        Standing::ResumeUnverified if Some(low) == position.next => {
            return Err(AggregatorError::Config(format!(
                "partition {number} is in order: its log goes on where the ledger stands, at offset {low}; nothing to accept"
            )));
        }
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
        parked: position.parked,
    };
    let mut adds = Vec::new();
    if let Some((from, to)) = accepted.gap {
        let row = ledger::gap(number, from, to, REASON, accepted.epoch, now_ms)?;
        adds.push(tables.ledger.write_file(None, &[row]).await?);
    }
    let info = json!({ "accepted": accepted.to_string() });
    let mut txns = moved.txns(&kafka.topic, partition, now_ms);
    if moved.epoch != position.epoch {
        // Said again, so that whoever still writes in the epoch that ends conflicts with this commit.
        txns.extend(position.txns(&kafka.topic, partition, now_ms));
        txns.push(Txn {
            app_id: began_id(&kafka.topic, moved.epoch, partition),
            version: accepted.next,
            last_updated: Some(now_ms),
        });
    }
    tables.ledger.commit(change(adds, txns, info)).await?;
    tracing::info!(partition = number, %accepted, "offsets accepted");
    Ok(accepted)
}

async fn found_again(
    kafka: &KafkaConfig,
    partition: i32,
    last: LastRecord,
) -> Result<bool, AggregatorError> {
    let (client, topic) = (kafka.client(), kafka.topic.clone());
    ask(move || is_the_record(&client, &topic, partition, last)).await
}

/// Asks Kafka on a thread that may block.
pub(crate) async fn ask<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, ConsumeError> + Send + 'static,
) -> Result<T, AggregatorError> {
    let asked = tokio::task::spawn_blocking(question).await;
    Ok(asked.map_err(|_| AggregatorError::Thread("kafka client"))??)
}
