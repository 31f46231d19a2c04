use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use siji_lake::datafile::file_schema;
use siji_lake::schema::ROLLUP;

use super::*;

const ORDER: [&str; 5] = [
    "district_code",
    "area_code",
    "hour",
    "local_date",
    "event_type",
];

#[derive(Debug, Clone)]
struct Row {
    district: Option<u8>,
    area: u8,
    hour: u32,
    channel: Option<u8>,
    events: i64,
    count: Option<i64>,
    value: Option<i64>,
    hist: BTreeMap<i32, i64>,
}

prop_compose! {
    fn row()(
        district in proptest::option::of(0u8..2), area in 0u8..3, hour in 0u32..3,
        channel in proptest::option::of(0u8..2), events in -2i64..4, count in proptest::option::of(-5i64..5),
        value in proptest::option::of(-5i64..5), hist in proptest::collection::btree_map(0i32..4, -2i64..3, 0..3),
    ) -> Row {
        Row { district, area, hour, channel, events, count, value, hist }
    }
}

impl Row {
    fn place(&self) -> (Option<u8>, u8, u32) {
        (self.district, self.area, self.hour)
    }

    fn to_json(&self) -> Value {
        let hist: serde_json::Map<String, Value> = self
            .hist
            .iter()
            .map(|(bucket, n)| (bucket.to_string(), json!(n)))
            .collect();
        json!({
            "hour": format!("2026-10-01T{:02}:00:00Z", self.hour), "local_date": "2026-10-01",
            "area_code": format!("a{}", self.area), "placement": "placed",
            "district_code": self.district.map(|n| format!("d{n}")), "channel": self.channel.map(|n| format!("c{n}")),
            "event_type": "visit.made", "events": self.events, "count_sum": self.count,
            "value_sum": self.value.map(|n| format!("{n}.000001")),
            "minutes_hist": (!self.hist.is_empty()).then_some(hist),
        })
    }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let schema = file_schema(&ROLLUP);
    let mut decoder = arrow::json::ReaderBuilder::new(Arc::clone(&schema))
        .build_decoder()
        .unwrap();
    let rows: Vec<Value> = rows.iter().map(Row::to_json).collect();
    decoder.serialize(&rows).unwrap();
    decoder
        .flush()
        .unwrap()
        .unwrap_or_else(|| RecordBatch::new_empty(schema))
}

type Key = (String, String, i64, String);
/// events, count_sum, value_sum, histogram.
type Sums = (i64, Option<i64>, Option<i128>, BTreeMap<i32, i64>);

/// What a reader adds up.
fn sums(batches: &[RecordBatch]) -> BTreeMap<Key, Sums> {
    let mut all: BTreeMap<Key, Sums> = BTreeMap::new();
    for batch in batches {
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let text = |name: &str, row: usize| {
            let texts = column(name).as_string::<i32>();
            if texts.is_valid(row) {
                texts.value(row).to_owned()
            } else {
                "-".to_owned()
            }
        };
        let hours = column("hour").as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        let whole = |name: &str, row: usize| {
            let values = column(name).as_primitive::<Int64Type>();
            values.is_valid(row).then(|| values.value(row))
        };
        let values = column("value_sum").as_primitive::<Decimal128Type>();
        let maps = column("minutes_hist").as_map();
        for row in 0..batch.num_rows() {
            let key = (
                text("district_code", row),
                text("area_code", row),
                hours.value(row),
                text("channel", row),
            );
            let sum = all.entry(key).or_default();
            sum.0 += whole("events", row).unwrap();
            if let Some(count) = whole("count_sum", row) {
                sum.1 = Some(sum.1.unwrap_or(0) + count);
            }
            if values.is_valid(row) {
                sum.2 = Some(sum.2.unwrap_or(0) + values.value(row));
            }
            for (bucket, n) in Measure::histogram(maps, &[row as u32]).unwrap() {
                *sum.3.entry(bucket).or_default() += n;
            }
        }
    }
    for sum in all.values_mut() {
        sum.3.retain(|_, n| *n != 0);
    }
    all.retain(|_, sum| {
        sum.0 != 0 || sum.1.unwrap_or(0) != 0 || sum.2.unwrap_or(0) != 0 || !sum.3.is_empty()
    });
    all
}

fn folded(batches: &[RecordBatch]) -> Vec<RecordBatch> {
    let mut folder = Folder::new(file_schema(&ROLLUP), &ORDER).unwrap();
    let mut out: Vec<RecordBatch> = batches
        .iter()
        .map(|batch| folder.push(batch.clone()).unwrap())
        .collect();
    out.extend(folder.finish().unwrap());
    out.retain(|batch| batch.num_rows() > 0);
    out
}

proptest! {
    #[test]
    fn a_fold_is_the_sum_whatever_the_cuts_and_each_key_stands_once(
        mut rows in proptest::collection::vec(row(), 0..60), cuts in proptest::collection::vec(0usize..60, 0..6),
    ) {
        rows.sort_by_key(Row::place);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.extend([0, rows.len()]);
        cuts.sort_unstable();
        let batches: Vec<RecordBatch> = cuts.windows(2).map(|cut| batch(&rows[cut[0]..cut[1]])).collect();
        let out = folded(&batches);
        prop_assert_eq!(sums(&out), sums(&batches));
        let count: usize = out.iter().map(RecordBatch::num_rows).sum();
        prop_assert_eq!(count, sums(&out).len());
        // Folding once more changes nothing.
        let one = |batches: &[RecordBatch]| concat_batches(&file_schema(&ROLLUP), batches).unwrap();
        prop_assert_eq!(one(&folded(&out)), one(&out));
    }
}

#[test]
fn a_sum_that_came_to_nothing_before_the_last_of_its_rows_is_zero_and_not_missing() {
    let row = |count, hist: &[(i32, i64)]| Row {
        district: None,
        area: 0,
        hour: 0,
        channel: None,
        events: 0,
        count,
        value: None,
        hist: hist.iter().copied().collect(),
    };
    let batches = [batch(&[row(Some(0), &[])]), batch(&[row(None, &[(0, 1)])])];
    let out = folded(&batches);
    assert_eq!(sums(&out), sums(&batches));
    assert_eq!(sums(&out).len(), 1);
}

#[test]
fn sums_that_do_not_fit_stay_apart() {
    let row = |count| Row {
        district: None,
        area: 0,
        hour: 0,
        channel: None,
        events: 1,
        count: Some(count),
        value: None,
        hist: BTreeMap::new(),
    };
    let out = folded(&[batch(&[row(i64::MAX), row(1)])]);
    assert_eq!(out.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}
