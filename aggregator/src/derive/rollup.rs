//! The roll-up: signed partial sums by hour, place and the words of the event, at every tier (D4-D6).
//!
//! Events are folded once, at their own area. Every tier is then folded from those partials, so the tiers cannot
//! disagree, and the work per event does not grow with the number of tiers.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int32Builder, Int64Array, Int64Builder,
    MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::{SortColumn, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::SortField;
use siji_lake::schema::{rollup_schema, stored_instant};
use siji_schemas::EventRef;
use siji_schemas::area::{Placement, Tier};
use siji_schemas::catalogue::Catalogue;

use super::groups::Groups;
use super::measure::Sum;
use super::{Measure, accepted, column};

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

/// Partial sums of a batch under way.
#[derive(Debug)]
pub struct Rollup {
    catalogue: Arc<Catalogue>,
    groups: Groups,
    measures: Vec<Measure>,
}

impl Rollup {
    /// Nothing yet. The catalogue tells which types are levels.
    pub fn new(catalogue: Arc<Catalogue>) -> Result<Self, ArrowError> {
        let mut fields = vec![
            SortField::new(stored_instant()),
            SortField::new(DataType::Date32),
        ];
        fields.push(SortField::new(DataType::Int32));
        fields
            .extend((0..1 + ANCESTORS.len() + WORDS.len()).map(|_| SortField::new(DataType::Utf8)));
        Ok(Self {
            catalogue,
            groups: Groups::new(fields)?,
            measures: Vec::new(),
        })
    }

    /// Adds the accepted rows of a ledger batch.
    pub fn add(&mut self, ledger: &RecordBatch) -> Result<(), ArrowError> {
        let rows = accepted(ledger)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let occurred = column(&rows, "occurred_at")?.as_primitive::<TimestampMicrosecondType>();
        let hours: TimestampMicrosecondArray =
            occurred.unary(|micros| micros.div_euclid(HOUR_MICROS) * HOUR_MICROS);
        let mut keys: Vec<ArrayRef> = vec![Arc::new(hours.with_timezone("UTC"))];
        let named = ["local_date", "area_tier", "area_code"]
            .iter()
            .chain(&ANCESTORS)
            .chain(&WORDS);
        for name in named {
            keys.push(Arc::clone(column(&rows, name)?));
        }
        let groups = self.groups.of(&keys)?;
        self.measures
            .resize_with(self.groups.len(), Measure::default);
        let figures = Figures::of(&rows)?;
        for (row, group) in groups.into_iter().enumerate() {
            let event = figures.row(row);
            let level = event
                .event_type
                .and_then(|name| self.catalogue.event_type(name))
                .is_some_and(|t| t.level);
            self.measures[group].add(&event, level, 1);
        }
        Ok(())
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
    pub fn finish(self) -> Result<Vec<(Tier, RecordBatch)>, ArrowError> {
        let own = Own::new(self.groups.keys()?)?;
        Tier::ALL
            .iter()
            .map(|tier| Ok((*tier, fold_tier(*tier, &own, &self.measures)?)))
            .collect()
    }
}

/// Key columns at the events' own areas.
struct Own {
    hour: ArrayRef,
    local_date: ArrayRef,
    area_tier: Int32Array,
    area_code: StringArray,
    ancestors: Vec<StringArray>,
    words: Vec<ArrayRef>,
}

impl Own {
    fn new(keys: Vec<ArrayRef>) -> Result<Self, ArrowError> {
        let mut keys = keys.into_iter();
        let mut next = || {
            keys.next()
                .ok_or_else(|| ArrowError::ComputeError("a key column is missing".to_owned()))
        };
        let (hour, local_date) = (next()?, next()?);
        let area_tier = next()?.as_primitive::<Int32Type>().clone();
        let area_code = next()?.as_string::<i32>().clone();
        let ancestors = ANCESTORS
            .iter()
            .map(|_| Ok(next()?.as_string::<i32>().clone()))
            .collect::<Result<_, ArrowError>>()?;
        let words = WORDS.iter().map(|_| next()).collect::<Result<_, _>>()?;
        Ok(Own {
            hour,
            local_date,
            area_tier,
            area_code,
            ancestors,
            words,
        })
    }

    fn ancestor(&self, tier: Tier, row: usize) -> Option<&str> {
        let codes = self
            .ancestors
            .get(usize::from(tier.number()).checked_sub(2)?)?;
        codes.is_valid(row).then(|| codes.value(row))
    }

    /// The one area a row counts under at a tier (D6), from the stored ancestors.
    fn area_at(&self, tier: Tier, row: usize) -> (&str, Placement) {
        let (own_tier, own) = (self.area_tier.value(row), self.area_code.value(row));
        let wanted = i32::from(tier.number());
        if own_tier == wanted {
            return (own, Placement::Placed);
        }
        if own_tier > wanted {
            return (own, Placement::Unallocated);
        }
        if let Some(code) = self.ancestor(tier, row) {
            return (code, Placement::Placed);
        }
        let above = Tier::ALL
            .iter()
            .filter(|t| **t > tier)
            .find_map(|t| self.ancestor(*t, row));
        let root = || Tier::ALL.iter().rev().find_map(|t| self.ancestor(*t, row));
        (above.or_else(root).unwrap_or(own), Placement::PassThrough)
    }
}

fn fold_tier(tier: Tier, own: &Own, measures: &[Measure]) -> Result<RecordBatch, ArrowError> {
    let (mut areas, mut placements) = (StringBuilder::new(), StringBuilder::new());
    for row in 0..measures.len() {
        let (area, placement) = own.area_at(tier, row);
        areas.append_value(area);
        placements.append_value(placement.as_str());
    }
    let mut keys: Vec<ArrayRef> = vec![
        Arc::clone(&own.hour),
        Arc::clone(&own.local_date),
        Arc::new(areas.finish()),
        Arc::new(placements.finish()),
    ];
    for (ancestor_tier, codes) in Tier::ALL[1..].iter().zip(&own.ancestors) {
        // Below the tier there is nothing left to tell apart.
        let kept = *ancestor_tier >= tier;
        keys.push(if kept {
            Arc::new(codes.clone())
        } else {
            Arc::new(StringArray::new_null(codes.len()))
        });
    }
    keys.extend(own.words.iter().cloned());
    let mut groups = Groups::new(
        keys.iter()
            .map(|key| SortField::new(key.data_type().clone()))
            .collect(),
    )?;
    let of = groups.of(&keys)?;
    let mut folded = vec![Measure::default(); groups.len()];
    for (row, group) in of.into_iter().enumerate() {
        folded[group].merge(&measures[row]);
    }
    rows(tier, groups.keys()?, &folded)
}

/// `rollup` rows from key columns (hour to words) and their sums, sorted by district, area, hour and type.
fn rows(tier: Tier, keys: Vec<ArrayRef>, measures: &[Measure]) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(
        std::iter::repeat_n(tier.as_str(), measures.len()),
    ))];
    columns.extend(keys);
    columns.push(Arc::new(Int64Array::from_iter_values(
        measures.iter().map(|measure| measure.events),
    )));
    for sum in [
        |m: &Measure| m.count,
        |m: &Measure| m.amount_fen,
        |m: &Measure| m.minutes,
    ] {
        columns.push(Arc::new(Int64Array::from_iter_values(
            measures.iter().map(|measure| sum(measure).n),
        )));
        columns.push(Arc::new(
            measures
                .iter()
                .map(|measure| narrow(sum(measure)))
                .collect::<Result<Int64Array, _>>()?,
        ));
    }
    columns.push(Arc::new(Int64Array::from_iter_values(
        measures.iter().map(|measure| measure.value_micros.n),
    )));
    let values: Decimal128Array = measures
        .iter()
        .map(|m| (m.value_micros.n != 0).then_some(m.value_micros.sum))
        .collect();
    columns.push(Arc::new(values.with_precision_and_scale(38, 6)?));
    for rating in 0..5 {
        columns.push(Arc::new(Int64Array::from_iter_values(
            measures.iter().map(|measure| measure.ratings[rating]),
        )));
    }
    columns.push(histograms(measures)?);
    let batch = RecordBatch::try_new(rollup_schema(), columns)?;
    let order = ["district_code", "area_code", "hour", "event_type"]
        .iter()
        .map(|name| {
            Ok(SortColumn {
                values: Arc::clone(column(&batch, name)?),
                options: None,
            })
        })
        .collect::<Result<Vec<_>, ArrowError>>()?;
    take_record_batch(&batch, &lexsort_to_indices(&order, None)?)
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

fn histograms(measures: &[Measure]) -> Result<ArrayRef, ArrowError> {
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

/// The figures of ledger rows, for [`Measure::add`].
struct Figures<'a> {
    event_type: &'a StringArray,
    qualifier: &'a StringArray,
    count: &'a Int64Array,
    amount_fen: &'a Int64Array,
    minutes: &'a Int32Array,
    value: &'a Decimal128Array,
    rating: &'a Int32Array,
}

impl<'a> Figures<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            event_type: column(rows, "event_type")?.as_string(),
            qualifier: column(rows, "qualifier")?.as_string(),
            count: column(rows, "count")?.as_primitive::<Int64Type>(),
            amount_fen: column(rows, "amount_fen")?.as_primitive::<Int64Type>(),
            minutes: column(rows, "minutes")?.as_primitive::<Int32Type>(),
            value: column(rows, "value")?.as_primitive::<Decimal128Type>(),
            rating: column(rows, "rating")?.as_primitive::<Int32Type>(),
        })
    }

    fn row(&self, row: usize) -> EventRef<'a> {
        macro_rules! get {
            ($column:ident) => {
                self.$column.is_valid(row).then(|| self.$column.value(row))
            };
        }
        EventRef {
            event_type: get!(event_type),
            qualifier: get!(qualifier),
            count: get!(count),
            amount_fen: get!(amount_fen),
            minutes: get!(minutes),
            value: get!(value).and_then(|value| i64::try_from(value).ok()),
            rating: get!(rating),
            ..EventRef::default()
        }
    }
}

#[cfg(test)]
mod tests;
