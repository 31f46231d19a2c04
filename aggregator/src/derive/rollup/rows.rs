//! Folded sums as `rollup` rows, sorted for reading.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Builder, DictionaryArray, Int32Array, Int32Builder,
    Int64Array, Int64Builder, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Fields, Int32Type, Schema};
use arrow::error::ArrowError;
use siji_lake::schema::rollup_schema;
use siji_schemas::area::{Placement, Tier};
use siji_schemas::arrow::absent;

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
            return Ok(absent(&DataType::Utf8, numbers.len()));
        }
        let valid = (nulls > 0).then(|| {
            NullBuffer::from(BooleanBuffer::collect_bool(numbers.len(), |row| {
                numbers[row] != NULL
            }))
        });
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

/// Rows in the order they are stored in. What they are sorted by, and the row itself, are ranks of few bits each: packed
/// into one word they are sorted twice as fast.
fn order(terms: &Terms, vocabulary: &Vocabulary, folded: &Folded<'_>) -> Vec<u32> {
    let rank = |text: u32| vocabulary.ranks[text as usize];
    let areas = folded.places.iter();
    let place_ranks = dense_ranks(areas.map(|it| (rank(it.ancestors[DISTRICT]), rank(it.area))));
    let counts = [
        place_ranks.len(),
        vocabulary.time_ranks.len(),
        vocabulary.ranks.len(),
        folded.keys.len(),
    ];
    let [_, time_bits, type_bits, row_bits] = counts.map(bits);
    let packed = folded.keys.iter().zip(0_u128..).map(|(key, row)| {
        let event_type = terms.words.keys()[key.words as usize][EVENT_TYPE];
        let mut packed = u128::from(place_ranks[key.place as usize]);
        packed = packed << time_bits | u128::from(vocabulary.time_ranks[key.time as usize]);
        packed = packed << type_bits | u128::from(rank(event_type));
        packed << row_bits | row
    });
    if counts.map(bits).iter().sum::<u32>() <= u64::BITS {
        let mut order: Vec<u64> = packed.map(|it| it as u64).collect();
        order.sort_unstable();
        let mask = (1 << row_bits) - 1;
        order.into_iter().map(|it| (it & mask) as u32).collect()
    } else {
        let mut order: Vec<u128> = packed.collect();
        order.sort_unstable();
        let mask = (1 << row_bits) - 1;
        order.into_iter().map(|it| (it & mask) as u32).collect()
    }
}

/// Bits that numbers below `count` take.
fn bits(count: usize) -> u32 {
    usize::BITS - count.saturating_sub(1).leading_zeros()
}

/// The place of each when all are sorted; equals share one.
fn dense_ranks<K: Ord + Copy>(keys: impl Iterator<Item = K>) -> Vec<u32> {
    let mut sorted: Vec<(K, usize)> = keys.zip(0..).collect();
    sorted.sort_unstable();
    let mut ranks = vec![0; sorted.len()];
    let mut rank = 0;
    for (n, (key, index)) in sorted.iter().enumerate() {
        rank += u32::from(n > 0 && sorted[n - 1].0 != *key);
        ranks[*index] = rank;
    }
    ranks
}

/// Rows looked up at a time.
const BLOCK: usize = 64;
/// Whole numbers of a measure, by column.
const WHOLE: usize = 10;

/// Columns under way.
struct Rows {
    hours: Vec<i64>,
    days: Vec<i32>,
    after_locks: Vec<Option<i64>>,
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
            after_locks: Vec::with_capacity(rows),
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
        let times = || keys.iter().map(|it| terms.times.keys()[it.time as usize]);
        self.hours.extend(times().map(|it| it.hour));
        self.days.extend(times().map(|it| it.local_date));
        self.after_locks.extend(times().map(|it| it.after_lock));
        let places = || keys.iter().map(|it| &folded.places[it.place as usize]);
        self.areas.extend(places().map(|it| it.area));
        self.placements
            .extend(places().map(|it| it.placement as i32));
        for (n, column) in self.ancestors.iter_mut().enumerate() {
            column.extend(places().map(|it| it.ancestors[n]));
        }
        for (n, column) in self.words.iter_mut().enumerate() {
            let words = |it: &Key| terms.words.keys()[it.words as usize][n];
            column.extend(keys.iter().map(words));
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
        let first_of_all = Int32Array::from_iter_values(std::iter::repeat_n(0, rows));
        let mut columns: Vec<ArrayRef> = vec![
            numbered(first_of_all, &tiers)?,
            Arc::new(TimestampMicrosecondArray::from(self.hours).with_timezone("UTC")),
            Arc::new(Date32Array::from(self.days)),
            Arc::new(TimestampMicrosecondArray::from(self.after_locks).with_timezone("UTC")),
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
