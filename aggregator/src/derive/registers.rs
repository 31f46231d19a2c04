//! Statements of stocks (`stock.reported`) as of a day. Readers take the greatest (as_of, recorded_at, event_id) of a
//! register and area; a damaged figure has no value.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch, nullif};
use arrow::error::ArrowError;
use siji_lake::schema::registers_schema;

use super::{accepted, column, text_column};

/// The type of event that states a stock.
pub const STATEMENT: &str = "stock.reported";

/// The statements among the accepted rows of a ledger batch, as `registers` rows. `None`: there are none.
pub fn statements(ledger: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
    let types = text_column(ledger, "event_type")?;
    let mut mask: Vec<bool> = types.iter().map(|name| name == Some(STATEMENT)).collect();
    if !mask.contains(&true) {
        return Ok(None);
    }
    for (wanted, accepted) in mask.iter_mut().zip(accepted(ledger)?) {
        *wanted &= accepted;
    }
    let rows = filter_record_batch(ledger, &BooleanArray::from(mask))?;
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    let damaged: BooleanArray = text_column(&rows, "qualifier")?
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
                cast(values, field.data_type())
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns).map(Some)
}
