//! A table as Parquet files with a manifest, so that whoever gets them can tell that they are whole.

mod files;
mod manifest;

pub use files::Destination;
pub use manifest::Manifest;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::util::display::array_value_to_string;
use futures::StreamExt;
use indicatif::ProgressBar;
use siji_query::check_condition;
use siji_query::format::ByteStream;

use crate::failure::Failure;
use files::PartitionValue;

/// What is to be exported.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Table or view.
    pub table: String,
    /// Condition on its rows, in SQL.
    pub condition: Option<String>,
    /// Column of which each value gets files of its own.
    pub partition_by: Option<String>,
}

impl Selection {
    /// As one query: all files are of the same snapshot of the table.
    pub fn sql(&self) -> Result<String, Failure> {
        let mut sql = format!("SELECT * FROM {}", quoted("--table", &self.table)?);
        if let Some(condition) = &self.condition {
            check_condition(condition)
                .map_err(|error| Failure::usage(format!("--where {condition}: {error}")))?;
            sql.push_str(&format!(" WHERE ({condition}\n)"));
        }
        if let Some(column) = &self.partition_by {
            let column = quoted("--partition-by", column)?;
            sql.push_str(&format!(" ORDER BY {column} NULLS LAST"));
        }
        Ok(sql)
    }
}

fn quoted(flag: &str, name: &str) -> Result<String, Failure> {
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(Failure::usage(format!(
            "{flag} {name}: expected a plain name; `siji sql \"SELECT table_name FROM information_schema.tables\"` lists the tables"
        )));
    }
    Ok(format!("\"{name}\""))
}

/// Writes the rows of an Arrow stream to files. `manifest` is completed with what they are.
pub async fn write(
    mut bytes: ByteStream,
    selection: &Selection,
    mut destination: Destination,
    manifest: &mut Manifest,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut decoder = StreamDecoder::new();
    while let Some(chunk) = bytes.next().await {
        let mut buffer = Buffer::from(chunk?);
        while !buffer.is_empty() {
            if let Some(batch) = decoder.decode(&mut buffer)? {
                take(&batch, selection, &mut destination)?;
                bar.inc(batch.num_rows() as u64);
            }
        }
    }
    decoder.finish()?;
    let schema = decoder
        .schema()
        .ok_or_else(|| Failure::new("the answer ended before its columns were named"))?;
    manifest.describe(&selection.table, &schema);
    if let Some(column) = &selection.partition_by
        && schema.index_of(column).is_err()
    {
        return Err(unknown_column(column));
    }
    destination.finish(&schema, selection.partition_by.as_deref(), manifest)
}

fn unknown_column(column: &str) -> Failure {
    Failure::usage(format!(
        "--partition-by {column}: the table has no such column"
    ))
}

/// Passes the rows on, a run of equal values at a time.
fn take(
    batch: &RecordBatch,
    selection: &Selection,
    destination: &mut Destination,
) -> Result<(), Failure> {
    let Some(column) = &selection.partition_by else {
        return destination.write(None, batch);
    };
    let Ok(index) = batch.schema().index_of(column) else {
        return Err(unknown_column(column));
    };
    let key = batch.column(index);
    let mut rest = batch.clone();
    rest.remove_column(index);
    for run in arrow::compute::partition(std::slice::from_ref(key))?.ranges() {
        let value = if key.is_null(run.start) {
            None
        } else {
            Some(array_value_to_string(key, run.start)?)
        };
        let partition = PartitionValue {
            column: column.clone(),
            value,
        };
        destination.write(Some(partition), &rest.slice(run.start, run.len()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(table: &str, partition_by: Option<&str>) -> Selection {
        Selection {
            table: table.to_owned(),
            condition: Some("events > 3 -- many".to_owned()),
            partition_by: partition_by.map(str::to_owned),
        }
    }

    #[test]
    fn a_selection_is_one_query_whatever_its_condition_ends_with() {
        assert_eq!(
            selection("rollup_city", Some("event_type")).sql().unwrap(),
            "SELECT * FROM \"rollup_city\" WHERE (events > 3 -- many\n) ORDER BY \"event_type\" NULLS LAST"
        );
    }

    #[test]
    fn a_condition_cannot_leave_its_brackets() {
        let mut selection = selection("rollup_city", None);
        selection.condition = Some("1=1) or (1=1".to_owned());
        assert!(selection.sql().is_err());
    }

    #[test]
    fn a_table_is_a_name_and_not_a_query() {
        for table in ["", "events; DROP", "a\"b", "information_schema.tables"] {
            assert!(selection(table, None).sql().is_err(), "{table}");
        }
        assert!(selection("events", Some("a,b")).sql().is_err());
    }
}
