//! Statements of stocks (`stock.reported`) as of a day. Readers take the greatest (as_of, recorded_at, event_id) of a
//! register and area; a damaged figure has no value.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, nullif};
use arrow::error::ArrowError;
use siji_lake::schema::registers_schema;

use super::{accepted, column};

/// The type of event that states a stock.
pub const STATEMENT: &str = "stock.reported";

/// The statements among the accepted rows of a ledger batch, as `registers` rows. `None`: there are none.
pub fn statements(ledger: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
    let types = column(ledger, "event_type")?.as_string::<i32>();
    let mask: BooleanArray = types
        .iter()
        .map(|name| Some(name == Some(STATEMENT)))
        .collect();
    if mask.true_count() == 0 {
        return Ok(None);
    }
    let rows = filter_record_batch(ledger, &mask)?;
    let rows = accepted(&rows, column(&rows, "disposition")?)?;
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    let damaged: BooleanArray = column(&rows, "qualifier")?
        .as_string::<i32>()
        .iter()
        .map(|word| Some(word == Some("damaged")))
        .collect();
    let schema = registers_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| -> Result<ArrayRef, ArrowError> {
            let source = match field.name().as_str() {
                "register" => "subject_id",
                "as_of" => "local_date",
                other => other,
            };
            let values = column(&rows, source)?;
            if source == "value" {
                nullif(values, &damaged)
            } else {
                Ok(Arc::clone(values))
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns).map(Some)
}
