//! Folded sums as `rollup` rows, sorted for reading.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Builder, DictionaryArray, Int32Array, Int32Builder,
    Int64Array, Int64Builder, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Fields, Int32Type, Schema};
use arrow::error::ArrowError;
use siji_lake::schema::rollup_schema;
use siji_schemas::area::{Placement, Tier};

use super::super::Measure;
use super::super::measure::Sum;
use super::texts::NULL;
use super::tiers::Folded;
use super::{ANCESTORS, EVENT_TYPE, Key, Terms, WORDS};

/// Of [`ANCESTORS`].
const DISTRICT: usize = 1;

/// All texts of a batch as an array, and their order.
pub(super) struct Vocabulary {
    texts: ArrayRef,
    ranks: Vec<u32>,
    /// Place of each time when all are sorted.
    time_ranks: Vec<u32>,
}

impl Vocabulary {
    pub(super) fn of(terms: &mut Terms) -> Vocabulary {
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
        let nulls = numbers.iter().filter(|number| **number == NULL).count();
        if nulls == numbers.len() {
            return Ok(new_null_array(&DataType::Utf8, numbers.len()));
        }
        let valid = (nulls > 0)
            .then(|| NullBuffer::from_iter(numbers.iter().map(|number| *number != NULL)));
        let keys: ScalarBuffer<i32> = numbers
            .iter()
            .map(|number| number.saturating_sub(1) as i32)
            .collect();
        numbered(Int32Array::try_new(keys, valid)?, &self.texts)
    }
}

fn numbered(keys: Int32Array, texts: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let numbered = DictionaryArray::<Int32Type>::try_new(keys, Arc::clone(texts))?;
    Ok(Arc::new(numbered))
}

/// One tier's rows by district, area, hour and type.
pub(super) fn rows(
    tier: Tier,
    terms: &Terms,
    vocabulary: &Vocabulary,
    folded: &Folded<'_>,
) -> Result<RecordBatch, ArrowError> {
    let order = order(terms, vocabulary, folded);
    let mut rows = Rows::with_capacity(order.len());
    // In this order the groups lie anywhere in memory. A column of a block at a time: in so short a loop the processor
    // fetches many of them at once, and the other columns find them in its cache.
    for block in order.chunks(BLOCK) {
        let keys = block.iter().map(|row| folded.keys[*row as usize]);
        rows.keys(&keys.collect::<Vec<_>>(), terms, folded);
        let measures = block.iter().map(|row| &folded.measures[*row as usize]);
        rows.sums(&measures.collect::<Vec<_>>())?;
    }
    rows.finish(tier, vocabulary)
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

/// Rows looked up at a time.
const BLOCK: usize = 64;
/// Whole numbers of a measure, by column.
const WHOLE: usize = 10;

/// Columns under way.
struct Rows {
    hours: Vec<i64>,
    days: Vec<i32>,
    areas: Vec<u32>,
    placements: Vec<i32>,
    ancestors: [Vec<u32>; ANCESTORS.len()],
    words: [Vec<u32>; WORDS.len()],
    /// `events`, `count_n`, `amount_n`, `minutes_n`, `value_n`, `rating_1` to `rating_5`.
    whole: [Vec<i64>; WHOLE],
    /// `count_sum`, `amount_fen_sum`, `minutes_sum`.
    sums: [Int64Builder; 3],
    values: Decimal128Builder,
    histograms: MapBuilder<Int32Builder, Int64Builder>,
}

impl Rows {
    fn with_capacity(rows: usize) -> Rows {
        let names = MapFieldNames {
            entry: "key_value".into(),
            key: "key".into(),
            value: "value".into(),
        };
        Rows {
            hours: Vec::with_capacity(rows),
            days: Vec::with_capacity(rows),
            areas: Vec::with_capacity(rows),
            placements: Vec::with_capacity(rows),
            ancestors: std::array::from_fn(|_| Vec::with_capacity(rows)),
            words: std::array::from_fn(|_| Vec::with_capacity(rows)),
            whole: std::array::from_fn(|_| Vec::with_capacity(rows)),
            sums: std::array::from_fn(|_| Int64Builder::with_capacity(rows)),
            values: Decimal128Builder::with_capacity(rows),
            histograms: MapBuilder::new(Some(names), Int32Builder::new(), Int64Builder::new()),
        }
    }

    fn keys(&mut self, keys: &[Key], terms: &Terms, folded: &Folded<'_>) {
        for key in keys {
            let time = terms.times.keys()[key.time as usize];
            self.hours.push(time.hour);
            self.days.push(time.local_date);
        }
        for key in keys {
            let place = &folded.places[key.place as usize];
            self.areas.push(place.area);
            self.placements.push(place.placement as i32);
            for (column, code) in self.ancestors.iter_mut().zip(place.ancestors) {
                column.push(code);
            }
        }
        for key in keys {
            let words = &terms.words.keys()[key.words as usize];
            for (column, word) in self.words.iter_mut().zip(words) {
                column.push(*word);
            }
        }
    }

    fn sums(&mut self, measures: &[&Measure]) -> Result<(), ArrowError> {
        if measures.iter().any(|measure| measure.overflowed) {
            let reason = "a sum of one batch exceeds 64 bits";
            return Err(ArrowError::ArithmeticOverflow(reason.to_owned()));
        }
        let [events, counts, amounts, minutes, values, ratings @ ..] = &mut self.whole;
        events.extend(measures.iter().map(|m| i64::from(m.events)));
        counts.extend(measures.iter().map(|m| i64::from(m.count.n)));
        amounts.extend(measures.iter().map(|m| i64::from(m.amount_fen.n)));
        minutes.extend(measures.iter().map(|m| i64::from(m.minutes.n)));
        values.extend(measures.iter().map(|m| i64::from(m.value_n)));
        for (rating, column) in ratings.iter_mut().enumerate() {
            column.extend(measures.iter().map(|m| i64::from(m.ratings[rating])));
        }
        // Nothing is no sum.
        let given = |sum: &Sum| (sum.n != 0 || sum.sum != 0).then_some(sum.sum);
        let [count, amount, minute] = &mut self.sums;
        count.extend(measures.iter().map(|m| given(&m.count)));
        amount.extend(measures.iter().map(|m| given(&m.amount_fen)));
        minute.extend(measures.iter().map(|m| given(&m.minutes)));
        for measure in measures {
            let value = measure.value_micros;
            self.values
                .append_option((measure.value_n != 0 || value != 0).then_some(value));
            for (bucket, n) in &measure.minutes_hist {
                self.histograms.keys().append_value(*bucket);
                self.histograms.values().append_value(i64::from(*n));
            }
            self.histograms.append(!measure.minutes_hist.is_empty())?;
        }
        Ok(())
    }

    fn finish(self, tier: Tier, vocabulary: &Vocabulary) -> Result<RecordBatch, ArrowError> {
        let rows = self.hours.len();
        let tiers: ArrayRef = Arc::new(StringArray::from(vec![tier.as_str()]));
        let placements: ArrayRef = Arc::new(StringArray::from_iter_values(
            Placement::ALL.iter().map(|placement| placement.as_str()),
        ));
        let mut columns: Vec<ArrayRef> = vec![
            numbered(Int32Array::from_value(0, rows), &tiers)?,
            Arc::new(TimestampMicrosecondArray::from(self.hours).with_timezone("UTC")),
            Arc::new(Date32Array::from(self.days)),
            vocabulary.column(self.areas)?,
            numbered(Int32Array::from(self.placements), &placements)?,
        ];
        for numbers in self.ancestors.into_iter().chain(self.words) {
            columns.push(vocabulary.column(numbers)?);
        }
        let [events, counts, amounts, minutes, values, ratings @ ..] = self
            .whole
            .map(|numbers| -> ArrayRef { Arc::new(Int64Array::from(numbers)) });
        let [count, amount, minute] = self
            .sums
            .map(|mut sums| -> ArrayRef { Arc::new(sums.finish()) });
        let mut decimals = self.values.with_precision_and_scale(38, 6)?;
        columns.extend([
            events, counts, count, amounts, amount, minutes, minute, values,
        ]);
        columns.push(Arc::new(decimals.finish()));
        columns.extend(ratings);
        let mut histograms = self.histograms;
        columns.push(Arc::new(histograms.finish()));
        let stored = rollup_schema();
        let fields = stored.fields().iter().zip(&columns).map(|(field, column)| {
            field
                .as_ref()
                .clone()
                .with_data_type(column.data_type().clone())
        });
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Fields>())), columns)
    }
}
