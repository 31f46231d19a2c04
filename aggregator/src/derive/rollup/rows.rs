//! Folded sums as `rollup` rows, sorted for reading.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Builder, Int64Array, Int64Builder, MapBuilder,
    MapFieldNames, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
    new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use siji_lake::schema::rollup_schema;
use siji_schemas::area::Tier;

use super::super::Measure;
use super::super::measure::Sum;
use super::texts::NULL;
use super::tiers::Folded;
use super::{ANCESTORS, EVENT_TYPE, Key, Terms, WORDS};

/// Of [`ANCESTORS`].
const DISTRICT: usize = 1;

/// All texts of a batch as an array, and their order.
pub(super) struct Vocabulary {
    texts: StringArray,
    ranks: Vec<u32>,
    /// Place of each time when all are sorted.
    time_ranks: Vec<u32>,
}

impl Vocabulary {
    pub(super) fn of(terms: &Terms) -> Vocabulary {
        let times = terms.times.keys();
        let mut order: Vec<u32> = (0..times.len() as u32).collect();
        order.sort_unstable_by_key(|number| times[*number as usize]);
        let mut time_ranks = vec![0; times.len()];
        for (rank, number) in (0..).zip(order) {
            time_ranks[number as usize] = rank;
        }
        Vocabulary {
            texts: terms.texts.array(),
            ranks: terms.texts.ranks(),
            time_ranks,
        }
    }

    /// A column of texts.
    fn column(&self, numbers: Vec<u32>) -> Result<ArrayRef, ArrowError> {
        if numbers.iter().all(|number| *number == NULL) {
            return Ok(new_null_array(&DataType::Utf8, numbers.len()));
        }
        take(&self.texts, &UInt32Array::from(numbers), None)
    }
}

/// One tier's rows by district, area, hour and type.
pub(super) fn rows(
    tier: Tier,
    terms: &Terms,
    vocabulary: &Vocabulary,
    folded: &Folded<'_>,
) -> Result<RecordBatch, ArrowError> {
    let order = order(terms, vocabulary, folded);
    let keys = || order.iter().map(|row| &folded.keys[*row as usize]);
    let measures: Vec<&Measure> = order
        .iter()
        .map(|row| &folded.measures[*row as usize])
        .collect();
    let place = |key: &Key| &folded.places[key.place as usize];
    let time = |key: &Key| terms.times.keys()[key.time as usize];
    let words = |key: &Key| &terms.words.keys()[key.words as usize];

    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            tier.as_str(),
            order.len(),
        ))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(keys().map(|key| time(key).hour))
                .with_timezone("UTC"),
        ),
        Arc::new(Date32Array::from_iter_values(
            keys().map(|key| time(key).local_date),
        )),
        vocabulary.column(keys().map(|key| place(key).area).collect())?,
        Arc::new(StringArray::from_iter_values(
            keys().map(|key| place(key).placement.as_str()),
        )),
    ];
    for n in 0..ANCESTORS.len() {
        columns.push(vocabulary.column(keys().map(|key| place(key).ancestors[n]).collect())?);
    }
    for n in 0..WORDS.len() {
        columns.push(vocabulary.column(keys().map(|key| words(key)[n]).collect())?);
    }
    columns.extend(sums(&measures)?);
    columns.push(histograms(&measures)?);
    RecordBatch::try_new(rollup_schema(), columns)
}

/// Rows in the order they are stored in.
fn order(terms: &Terms, vocabulary: &Vocabulary, folded: &Folded<'_>) -> Vec<u32> {
    let rank = |text: u32| u128::from(vocabulary.ranks[text as usize]);
    let sorted_by = |key: &Key| {
        let place = &folded.places[key.place as usize];
        let event_type = terms.words.keys()[key.words as usize][EVENT_TYPE];
        let time = u128::from(vocabulary.time_ranks[key.time as usize]);
        rank(place.ancestors[DISTRICT]) << 96
            | rank(place.area) << 64
            | time << 32
            | rank(event_type)
    };
    let mut order: Vec<(u128, u32)> = folded.keys.iter().map(sorted_by).zip(0..).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, row)| row).collect()
}

/// `events` to `rating_5`.
fn sums(measures: &[&Measure]) -> Result<Vec<ArrayRef>, ArrowError> {
    let whole = |of: fn(&Measure) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            measures.iter().map(|measure| of(measure)),
        ))
    };
    let sum = |of: fn(&Measure) -> Sum| -> Result<ArrayRef, ArrowError> {
        let sums = measures.iter().map(|measure| narrow(of(measure)));
        Ok(Arc::new(sums.collect::<Result<Int64Array, _>>()?))
    };
    let values: Decimal128Array = measures
        .iter()
        .map(|m| (m.value_micros.n != 0).then_some(m.value_micros.sum))
        .collect();
    Ok(vec![
        whole(|m| m.events),
        whole(|m| m.count.n),
        sum(|m| m.count)?,
        whole(|m| m.amount_fen.n),
        sum(|m| m.amount_fen)?,
        whole(|m| m.minutes.n),
        sum(|m| m.minutes)?,
        whole(|m| m.value_micros.n),
        Arc::new(values.with_precision_and_scale(38, 6)?),
        whole(|m| m.ratings[0]),
        whole(|m| m.ratings[1]),
        whole(|m| m.ratings[2]),
        whole(|m| m.ratings[3]),
        whole(|m| m.ratings[4]),
    ])
}

/// A sum as it is stored; nothing is no sum.
fn narrow(sum: Sum) -> Result<Option<i64>, ArrowError> {
    if sum.n == 0 && sum.sum == 0 {
        return Ok(None);
    }
    i64::try_from(sum.sum)
        .map(Some)
        .map_err(|_| ArrowError::ArithmeticOverflow("a sum of one batch exceeds 64 bits".into()))
}

fn histograms(measures: &[&Measure]) -> Result<ArrayRef, ArrowError> {
    let names = MapFieldNames {
        entry: "key_value".into(),
        key: "key".into(),
        value: "value".into(),
    };
    let mut maps = MapBuilder::new(Some(names), Int32Builder::new(), Int64Builder::new());
    for measure in measures {
        for (bucket, n) in &measure.minutes_hist {
            maps.keys().append_value(*bucket);
            maps.values().append_value(*n);
        }
        maps.append(!measure.minutes_hist.is_empty())?;
    }
    Ok(Arc::new(maps.finish()))
}
