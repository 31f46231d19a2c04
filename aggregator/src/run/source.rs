//! Which topic a lake is fed by, and in which shape: both are part of what its positions and its duplicates rest on.
//!
//! An event's partition follows from its key and the number of partitions, and duplicates are told within a partition.
//! So a topic that grows would let every event that is sent again count twice, and a second topic would have its
//! offsets taken for those of the first.

use serde_json::json;
use siji_lake::Txn;

use crate::AggregatorError;
use crate::commit::{Tables, change};
use crate::position::topic_of;

/// Name of the number of partitions among the ledger's positions.
fn shape_id(topic: &str) -> String {
    format!("{topic}#partitions")
}

/// Refuses a lake that was fed by another topic or by one of another shape; notes both in a new lake.
pub(super) async fn tie(
    tables: &mut Tables,
    topic: &str,
    partitions: i32,
    now_ms: i64,
) -> Result<(), AggregatorError> {
    let shape = shape_id(topic);
    let positions = tables.ledger.txns();
    let other = positions
        .keys()
        .filter_map(|id| topic_of(id))
        .find(|known| *known != topic);
    if let Some(other) = other {
        return Err(AggregatorError::Config(format!(
            "the lake was fed by topic `{other}`, not `{topic}`: name that topic, or use another lake"
        )));
    }
    match positions.get(&shape) {
        Some(known) if *known == i64::from(partitions) => Ok(()),
        Some(known) => Err(AggregatorError::Config(format!(
            "the lake was fed by topic `{topic}` with {known} partitions, now there are {partitions}: events sent again \
             would count twice. Use a topic of {known} partitions, or a new lake"
        ))),
        None => {
            let note = Txn {
                app_id: shape,
                version: i64::from(partitions),
                last_updated: Some(now_ms),
            };
            let info = json!({ "topic": topic, "partitions": partitions });
            let noted = change(Vec::new(), vec![note], info);
            tables.ledger.commit(noted).await?;
            Ok(())
        }
    }
}
