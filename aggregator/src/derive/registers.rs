//! Statements of stocks (`stock.reported`) as of a day. Readers take the greatest (as_of, recorded_at, event_id) of a
//! register and area among those that count; a damaged figure has no value. A statement that counts no more has a second
//! row, whose qualifier is [`REVERSED`].

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{cast, filter_record_batch, nullif};
use arrow::error::ArrowError;
use siji_lake::schema::registers_schema;

use super::{column, counts, text_column};

/// The type of event that states a stock.
pub const STATEMENT: &str = "stock.reported";

/// Qualifier of a row that takes back the statement of the same event.
pub const REVERSED: &str = "reversed";

/// The statements among the rows of a ledger batch that count or count no more, as `registers` rows. `None`: there are none.
pub fn statements(ledger: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
    let types = text_column(ledger, "event_type")?;
    let mut mask: Vec<bool> = types.iter().map(|name| name == Some(STATEMENT)).collect();
    if !mask.contains(&true) {
        return Ok(None);
    }
    for (wanted, counts) in mask.iter_mut().zip(counts(ledger)?) {
        *wanted &= counts != 0;
    }
    let rows = filter_record_batch(ledger, &BooleanArray::from(mask))?;
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    let reversed = counts(&rows)?.into_iter().map(|counts| counts < 0);
    let qualifiers: StringArray = text_column(&rows, "qualifier")?
        .iter()
        .zip(reversed)
        .map(|(word, reversed)| if reversed { Some(REVERSED) } else { word })
        .collect();
    let without_value: BooleanArray = qualifiers
        .iter()
        .map(|word| Some(word == Some("damaged") || word == Some(REVERSED)))
        .collect();
    let qualifiers: ArrayRef = Arc::new(qualifiers);
    let schema = registers_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| -> Result<ArrayRef, ArrowError> {
            let source = match field.name().as_str() {
                "qualifier" => return Ok(Arc::clone(&qualifiers)),
                "register" => "subject_id",
                "as_of" => "local_date",
                other => other,
            };
            let values = column(&rows, source)?;
            if source == "value" {
                nullif(values, &without_value)
            } else {
                cast(values, field.data_type())
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns).map(Some)
}
