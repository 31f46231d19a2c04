//! Beginning after what a topic holds already.

use std::collections::BTreeMap;

use serde_json::json;
use siji_lake::Txn;

use crate::AggregatorError;
use crate::accept::ask;
use crate::commit::{Tables, change};
use crate::config::KafkaConfig;
use crate::consume::watermarks;
use crate::position::{Partition, Position, began_id};

/// Commits the end of the log as the position of every partition that the ledger does not know. It is committed
/// before anything is read, so a crash does not move it.
pub(super) async fn begin_at_the_end(
    tables: &mut Tables,
    kafka: &KafkaConfig,
    positions: &mut BTreeMap<Partition, Position>,
    now_ms: i64,
) -> Result<(), AggregatorError> {
    let mut txns = Vec::new();
    for (partition, position) in positions
        .iter_mut()
        .filter(|(_, position)| position.next.is_none())
    {
        let (client, topic, number) = (kafka.client(), kafka.topic.clone(), partition.0);
        let (_, high) = ask(move || watermarks(&client, &topic, number)).await?;
        position.next = Some(high);
        txns.extend(position.txns(&kafka.topic, *partition, now_ms));
        txns.push(Txn {
            app_id: began_id(&kafka.topic, position.epoch, *partition),
            version: high,
            last_updated: Some(now_ms),
        });
    }
    if !txns.is_empty() {
        tables
            .ledger
            .commit(change(Vec::new(), txns, json!({ "start": "latest" })))
            .await?;
    }
    Ok(())
}
