//! Writes the area registry into the lake, so that readers of any kind have it (D13).

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde_json::json;
use siji_lake::schema::{REF_AREAS, ref_areas_schema};
use siji_lake::{Lake, LakeError, TableWriter, Txn};
use siji_schemas::area::Area;
use siji_schemas::validate::Reference;

use crate::commit::change;

/// Appends the registry unless it is the one that was written last.
pub async fn write_areas(lake: &Lake, reference: &Reference, now_ms: i64) -> Result<(), LakeError> {
    let mut table = TableWriter::open(lake, &REF_AREAS).await?;
    let app_id = format!("ref_areas/{}", reference.version());
    let latest = table
        .txns()
        .iter()
        .max_by_key(|(_, loaded)| **loaded)
        .map(|(id, _)| id.as_str());
    if latest == Some(app_id.as_str()) {
        return Ok(());
    }
    let file = table.write_file(None, &[rows(reference, now_ms)?]).await?;
    let txn = Txn {
        app_id,
        version: now_ms,
        last_updated: Some(now_ms),
    };
    match table
        .commit(change(
            vec![file],
            vec![txn],
            json!({ "ref_version": reference.version() }),
        ))
        .await
    {
        // Another aggregator with the same registry was faster.
        Err(LakeError::Conflict { .. }) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn rows(reference: &Reference, now_ms: i64) -> Result<RecordBatch, LakeError> {
    let areas = reference.areas.rows();
    let text = |get: &dyn Fn(&Area) -> Option<&str>| -> ArrayRef {
        Arc::new(areas.iter().map(get).collect::<StringArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            reference.version(),
            areas.len(),
        ))),
        text(&|area| Some(&area.code)),
        text(&|area| area.parent.as_deref()),
        text(&|area| Some(area.tier.as_str())),
        text(&|area| Some(&area.name)),
        text(&|area| Some(area.kind.as_str()).filter(|kind| !kind.is_empty())),
        Arc::new(
            areas
                .iter()
                .map(|area| area.valid_from.map(|day| day.0))
                .collect::<Date32Array>(),
        ),
        Arc::new(
            areas
                .iter()
                .map(|area| area.valid_to.map(|day| day.0))
                .collect::<Date32Array>(),
        ),
        Arc::new(
            TimestampMicrosecondArray::from_value(now_ms * 1000, areas.len()).with_timezone("UTC"),
        ),
    ];
    Ok(RecordBatch::try_new(ref_areas_schema(), columns)?)
}
