//! Statistics of a file for the log: rows, and for the columns that readers prune by, smallest, largest, nulls.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{
    DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use crate::LakeError;
use crate::schema::TableSpec;

/// Text longer than this is left out: a cut bound would have to be rounded up.
const LONGEST_TEXT: usize = 64;

/// `{"numRecords", "minValues", "maxValues", "nullCount"}` as in the Delta protocol.
pub fn of(spec: &TableSpec, batches: &[RecordBatch]) -> Result<Value, LakeError> {
    let (mut least, mut most, mut nulls) = (Map::new(), Map::new(), Map::new());
    for name in spec
        .statistics
        .iter()
        .filter(|name| Some(**name) != spec.partition_by)
    {
        let arrays: Vec<&ArrayRef> = batches
            .iter()
            .map(|batch| {
                batch
                    .column_by_name(name)
                    .ok_or_else(|| LakeError::Damaged {
                        table: spec.name.to_owned(),
                        reason: format!("a batch without column `{name}`"),
                    })
            })
            .collect::<Result<_, _>>()?;
        nulls.insert(
            (*name).to_owned(),
            arrays
                .iter()
                .map(|array| array.null_count())
                .sum::<usize>()
                .into(),
        );
        if let Some((low, high)) = range(&arrays) {
            least.insert((*name).to_owned(), low);
            most.insert((*name).to_owned(), high);
        }
    }
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    Ok(json!({ "numRecords": rows, "minValues": least, "maxValues": most, "nullCount": nulls }))
}

fn range(arrays: &[&ArrayRef]) -> Option<(Value, Value)> {
    macro_rules! fold {
        ($type:ty, $show:expr) => {{
            let low = arrays
                .iter()
                .filter_map(|array| min(array.as_primitive::<$type>()))
                .min()?;
            let high = arrays
                .iter()
                .filter_map(|array| max(array.as_primitive::<$type>()))
                .max()?;
            Some(($show(low)?, $show(high)?))
        }};
    }
    match arrays.first()?.data_type() {
        DataType::Int32 => fold!(Int32Type, |value: i32| Some(Value::from(value))),
        DataType::Int64 => fold!(Int64Type, |value: i64| Some(Value::from(value))),
        DataType::Date32 => fold!(Date32Type, date),
        // The log holds milliseconds; siji stores whole ones, so nothing is cut.
        DataType::Timestamp(TimeUnit::Microsecond, _) => fold!(TimestampMicrosecondType, instant),
        DataType::Utf8 | DataType::Dictionary(..) => {
            let ranges: Vec<_> = arrays.iter().filter_map(|array| texts(array)).collect();
            let low = ranges.iter().map(|(low, _)| *low).min()?;
            let high = ranges.iter().map(|(_, high)| *high).max()?;
            (low.len() <= LONGEST_TEXT && high.len() <= LONGEST_TEXT)
                .then(|| (low.into(), high.into()))
        }
        _ => None,
    }
}

/// Smallest and largest text, numbered or not.
fn texts(array: &ArrayRef) -> Option<(&str, &str)> {
    if let Some(texts) = array.as_string_opt::<i32>() {
        return Some((min_string(texts)?, max_string(texts)?));
    }
    let numbered = array.as_dictionary_opt::<Int32Type>()?;
    let texts = numbered.values().as_string_opt::<i32>()?;
    let mut used = vec![false; texts.len()];
    for key in numbered.keys().iter().flatten() {
        used[key as usize] = true;
    }
    let used = || {
        (0..texts.len())
            .filter(|key| used[*key])
            .map(|key| texts.value(key))
    };
    Some((used().min()?, used().max()?))
}

fn date(days: i32) -> Option<Value> {
    let date = arrow::temporal_conversions::date32_to_datetime(days)?.date();
    Some(date.format("%Y-%m-%d").to_string().into())
}

fn instant(micros: i64) -> Option<Value> {
    let time = DateTime::from_timestamp_micros(micros)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true).into())
}
