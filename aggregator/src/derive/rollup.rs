//! The roll-up: signed partial sums by hour, place and the words of the event, at every tier (D4-D6).
//!
//! Events are folded once, at their own area. Each tier is then folded from the one below it, so the tiers cannot
//! disagree, and the work per event does not grow with the number of tiers. All keys are numbers while folding; texts
//! come back when the rows are made.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Decimal128Array, Int32Array, Int64Array, PrimitiveArray, RecordBatch,
};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use siji_schemas::area::Tier;
use siji_schemas::catalogue::Catalogue;

use super::measure::Figures;
use super::numbered::Numbered;
use super::{Measure, column, counts};
use place::Place;
use texts::Texts;

mod place;
mod rows;
mod texts;
mod tiers;

const HOUR_MICROS: i64 = 3_600_000_000;

/// Ancestors of the place, lowest first; at most one a tier from street up.
const ANCESTORS: [&str; 4] = ["street_code", "district_code", "city_code", "province_code"];

/// Columns by which events are kept apart besides time and place: the event's words and its handler.
const WORDS: [&str; 14] = [
    "event_type",
    "service_code",
    "channel",
    "case_kind",
    "outcome",
    "fund_source",
    "fee_mode",
    "unit",
    "qualifier",
    "handler_code",
    "handler_street_code",
    "handler_district_code",
    "handler_city_code",
    "handler_province_code",
];
/// Of [`WORDS`].
const EVENT_TYPE: usize = 0;
/// Of [`WORDS`].
const QUALIFIER: usize = 8;

/// Columns that are no texts: when, at which tier, and how much.
const FIGURES: [&str; 9] = [
    "occurred_at",
    "local_date",
    "after_lock",
    "area_tier",
    "count",
    "amount_fen",
    "minutes",
    "value",
    "rating",
];

/// An hour, the local day it belongs to, and what was published before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Time {
    /// Its beginning, microseconds UTC.
    hour: i64,
    /// Days since 1970-01-01.
    local_date: i32,
    /// The last lock that the event came after, microseconds UTC.
    after_lock: Option<i64>,
}

/// The words of an event, as texts.
type Words = [u32; WORDS.len()];

/// What is kept apart: numbers of a [`Time`], a place and [`Words`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    time: u32,
    place: u32,
    words: u32,
}

/// Everything that keys refer to.
#[derive(Debug, Default)]
struct Terms {
    texts: Texts,
    times: Numbered<Time>,
    places: Numbered<Place>,
    words: Numbered<Words>,
}

/// Partial sums of a batch under way.
#[derive(Debug)]
pub struct Rollup {
    catalogue: Arc<Catalogue>,
    terms: Terms,
    /// How the figures of events with certain words are taken, by the words' number.
    manners: Vec<Manner>,
    groups: Numbered<Key>,
    measures: Vec<Measure>,
    /// Numbers of one chunk's texts, a column each; kept for their memory.
    scratch: Vec<Vec<u32>>,
}

/// How figures are taken.
#[derive(Debug, Clone, Copy)]
struct Manner {
    level: bool,
    damaged: bool,
}

impl Rollup {
    /// Nothing yet. The catalogue tells which types are levels.
    pub fn new(catalogue: Arc<Catalogue>) -> Self {
        Self {
            catalogue,
            terms: Terms::default(),
            manners: Vec::new(),
            groups: Numbered::default(),
            measures: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds the rows of a ledger batch that count, and takes back those that count no more.
    ///
    /// # Errors
    /// The batch lacks a column, or there are more than `u32::MAX` texts or groups.
    pub fn add(&mut self, ledger: &RecordBatch) -> Result<(), ArrowError> {
        let named = FIGURES.into_iter().chain(std::iter::once("area_code"));
        let needed = named
            .chain(ANCESTORS)
            .chain(WORDS)
            .map(|name| ledger.schema_ref().index_of(name))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = ledger.project(&needed)?;
        let counts = counts(ledger)?;
        let wanted: Vec<bool> = counts.iter().map(|count| *count != 0).collect();
        let texts = rows
            .num_rows()
            .saturating_mul(1 + ANCESTORS.len() + WORDS.len());
        if self.terms.texts.len().saturating_add(texts) > i32::MAX as usize {
            return Err(ArrowError::ComputeError(
                "too many rows for one batch of the roll-up".to_owned(),
            ));
        }
        let chunk = Columns::of(&rows)?;
        let named = std::iter::once("area_code").chain(ANCESTORS).chain(WORDS);
        self.scratch
            .resize_with(1 + ANCESTORS.len() + WORDS.len(), Vec::new);
        for (name, numbers) in named.zip(&mut self.scratch) {
            let texts = column(&rows, name)?;
            self.terms.texts.number_column(texts, &wanted, numbers)?;
        }
        for row in (0..rows.num_rows()).filter(|row| wanted[*row]) {
            let words: Words = std::array::from_fn(|n| self.scratch[1 + ANCESTORS.len() + n][row]);
            let place = Place {
                tier: chunk.area_tier.value(row),
                area: self.scratch[0][row],
                ancestors: std::array::from_fn(|n| self.scratch[1 + n][row]),
            };
            let key = Key {
                time: self.terms.times.number(chunk.time(row)),
                place: self.terms.places.number(place),
                words: self.terms.words.number(words),
            };
            if self.manners.len() < self.terms.words.len() {
                self.manners.push(self.manner(&words));
            }
            let group = self.groups.number(key) as usize;
            if group == self.measures.len() {
                self.measures.push(Measure::default());
            }
            let Manner { level, damaged } = self.manners[key.words as usize];
            let figures = if damaged {
                Figures::default()
            } else {
                chunk.figures(row, level)
            };
            self.measures[group].add(&figures, counts[row]);
        }
        Ok(())
    }

    /// A damaged figure counts as an event but stays out of sums; a level is not added up over time.
    fn manner(&self, words: &Words) -> Manner {
        let text = |word: usize| self.terms.texts.text(words[word]);
        Manner {
            level: self
                .catalogue
                .event_type(text(EVENT_TYPE))
                .is_some_and(|known| known.level),
            damaged: text(QUALIFIER) == "damaged",
        }
    }

    /// Partial rows so far, at the events' own areas.
    pub fn len(&self) -> usize {
        self.measures.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.measures.is_empty()
    }

    /// The partials as `rollup` rows, a batch a tier, sorted for reading.
    ///
    /// Texts are numbered, as in ledger rows that were just made.
    pub fn finish(self) -> Result<Vec<(Tier, RecordBatch)>, ArrowError> {
        let mut tiers = Vec::new();
        self.for_each_tier(|tier, rows| -> Result<(), ArrowError> {
            tiers.push((tier, rows));
            Ok(())
        })?;
        Ok(tiers)
    }

    /// The same, one tier after another, for who needs no more than one of them in memory.
    pub fn for_each_tier<E: From<ArrowError>>(
        mut self,
        mut take: impl FnMut(Tier, RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let vocabulary = rows::Vocabulary::of(&mut self.terms);
        let mut tiers = tiers::Tiers::new(&self.terms.places, &self.groups, self.measures);
        for tier in Tier::ALL {
            let folded = tiers.next(tier);
            take(tier, rows::rows(tier, &self.terms, &vocabulary, &folded)?)?;
        }
        Ok(())
    }
}

/// The columns of accepted ledger rows that are no texts.
struct Columns<'a> {
    occurred_at: &'a PrimitiveArray<TimestampMicrosecondType>,
    local_date: &'a PrimitiveArray<Date32Type>,
    after_lock: &'a PrimitiveArray<TimestampMicrosecondType>,
    area_tier: &'a Int32Array,
    count: &'a Int64Array,
    amount_fen: &'a Int64Array,
    minutes: &'a Int32Array,
    value: &'a Decimal128Array,
    rating: &'a Int32Array,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            occurred_at: column(rows, "occurred_at")?.as_primitive(),
            local_date: column(rows, "local_date")?.as_primitive(),
            after_lock: column(rows, "after_lock")?.as_primitive(),
            area_tier: column(rows, "area_tier")?.as_primitive::<Int32Type>(),
            count: column(rows, "count")?.as_primitive::<Int64Type>(),
            amount_fen: column(rows, "amount_fen")?.as_primitive::<Int64Type>(),
            minutes: column(rows, "minutes")?.as_primitive::<Int32Type>(),
            value: column(rows, "value")?.as_primitive::<Decimal128Type>(),
            rating: column(rows, "rating")?.as_primitive::<Int32Type>(),
        })
    }

    fn time(&self, row: usize) -> Time {
        Time {
            hour: self.occurred_at.value(row).div_euclid(HOUR_MICROS) * HOUR_MICROS,
            local_date: self.local_date.value(row),
            after_lock: (self.after_lock.is_valid(row)).then(|| self.after_lock.value(row)),
        }
    }

    fn figures(&self, row: usize, level: bool) -> Figures {
        macro_rules! get {
            ($column:ident) => {
                self.$column.is_valid(row).then(|| self.$column.value(row))
            };
        }
        Figures {
            count: get!(count),
            amount_fen: get!(amount_fen),
            minutes: get!(minutes),
            value_micros: get!(value).filter(|_| !level),
            rating: get!(rating),
        }
    }
}

#[cfg(test)]
mod tests;
