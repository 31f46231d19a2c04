//! `hist_quantile(minutes_hist, q)`: a quantile of durations from the rollup's histograms.
//!
//! Histograms are maps from bucket (`siji_schemas::buckets`) to signed count. Adding them up bucket by bucket is exact, so
//! any set of rollup rows gives the quantile of all their events. The answer is the middle of the bucket that holds the
//! `ceil(q * n)`-th smallest value (nearest rank): at most 1/31 (3.2 %) off, exact below 32.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use siji_schemas::buckets;

/// The aggregate.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HistQuantile {
    signature: Signature,
}

impl HistQuantile {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for HistQuantile {
    fn name(&self) -> &str {
        "hist_quantile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [histogram, quantile]
                if is_histogram(histogram) && (quantile.is_numeric() || quantile.is_null()) =>
            {
                Ok(vec![histogram.clone(), DataType::Float64])
            }
            _ => plan_err!(
                "hist_quantile takes a histogram column (minutes_hist) and a number from 0 to 1"
            ),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let quantile = args
            .exprs
            .get(1)
            .and_then(|e| e.downcast_ref::<Literal>())
            .map(Literal::value);
        match quantile {
            Some(ScalarValue::Float64(Some(q))) if (0.0..=1.0).contains(q) => {
                Ok(Box::new(Merged {
                    quantile: *q,
                    counts: BTreeMap::new(),
                }))
            }
            _ => plan_err!(
                "the second argument of hist_quantile must be a constant from 0 to 1, for example 0.95"
            ),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |name: &str, item: DataType| {
            Arc::new(Field::new_list(
                format_state_name(args.name, name),
                Field::new_list_field(item, true),
                true,
            ))
        };
        Ok(vec![
            list("buckets", DataType::Int32),
            list("counts", DataType::Int64),
        ])
    }
}

fn is_histogram(data_type: &DataType) -> bool {
    let DataType::Map(entries, _) = data_type else {
        return false;
    };
    match entries.data_type() {
        DataType::Struct(fields) => matches!(
            fields
                .iter()
                .map(|f| f.data_type())
                .collect::<Vec<_>>()
                .as_slice(),
            [DataType::Int32, DataType::Int64]
        ),
        _ => false,
    }
}

/// The sum of the histograms seen.
#[derive(Debug)]
struct Merged {
    quantile: f64,
    counts: BTreeMap<i32, i64>,
}

impl Merged {
    fn add(&mut self, buckets: &dyn Array, counts: &dyn Array) -> Result<()> {
        let (buckets, counts) = (
            buckets.as_primitive::<Int32Type>(),
            counts.as_primitive::<Int64Type>(),
        );
        for (bucket, count) in buckets.iter().zip(counts) {
            let (Some(bucket), Some(count)) = (bucket, count) else {
                continue;
            };
            let sum = self.counts.entry(bucket).or_default();
            let Some(added) = sum.checked_add(count) else {
                return exec_err!("a histogram count does not fit 64 bits");
            };
            *sum = added;
        }
        Ok(())
    }

    /// The quantile; `None` when nothing is counted. What corrections took away again counts as nothing.
    fn value(&self) -> Option<f64> {
        let held = || self.counts.iter().filter(|(_, count)| **count > 0);
        let total: i128 = held().map(|(_, count)| i128::from(*count)).sum();
        if total == 0 {
            return None;
        }
        let rank = ((self.quantile * total as f64).ceil() as i128).clamp(1, total);
        let mut passed = 0i128;
        let (bucket, _) = held().find(|(_, count)| {
            passed += i128::from(**count);
            passed >= rank
        })?;
        let (low, high) = buckets::bounds(*bucket)?;
        Some((low as f64 + high as f64) / 2.0)
    }
}

impl Accumulator for Merged {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(histograms) = values.first().and_then(|v| v.as_map_opt()) else {
            return exec_err!("hist_quantile was not given histograms");
        };
        for i in (0..histograms.len()).filter(|i| histograms.is_valid(*i)) {
            let entries = histograms.value(i);
            self.add(entries.column(0), entries.column(1))?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.value()))
    }

    fn size(&self) -> usize {
        // A B-tree node holds up to 11 entries; half full is the usual bound.
        size_of_val(self) + self.counts.len() * 2 * (size_of::<i32>() + size_of::<i64>())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let buckets = arrow::array::Int32Array::from_iter_values(self.counts.keys().copied());
        let counts = arrow::array::Int64Array::from_iter_values(self.counts.values().copied());
        Ok(vec![
            one_list(Arc::new(buckets)),
            one_list(Arc::new(counts)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [buckets, counts] = states else {
            return exec_err!("hist_quantile was given a foreign state");
        };
        let (buckets, counts) = (buckets.as_list::<i32>(), counts.as_list::<i32>());
        for i in (0..buckets.len()).filter(|i| buckets.is_valid(*i)) {
            self.add(&buckets.value(i), &counts.value(i))?;
        }
        Ok(())
    }
}

fn one_list(values: ArrayRef) -> ScalarValue {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    ScalarValue::List(Arc::new(ListArray::new(field, offsets, values, None)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siji_schemas::buckets::bucket_of;

    fn merged(quantile: f64, values: &[u64]) -> Merged {
        let mut counts = BTreeMap::new();
        for value in values {
            *counts.entry(bucket_of(*value)).or_insert(0) += 1;
        }
        Merged { quantile, counts }
    }

    #[test]
    fn without_values_there_is_no_quantile() {
        assert_eq!(merged(0.5, &[]).value(), None);
        let taken_back = Merged {
            quantile: 0.5,
            counts: BTreeMap::from([(3, 0)]),
        };
        assert_eq!(taken_back.value(), None);
    }

    #[test]
    fn small_values_are_exact() {
        assert_eq!(merged(0.5, &[1, 2, 3, 4, 5]).value(), Some(3.0));
        assert_eq!(merged(0.0, &[1, 2, 3]).value(), Some(1.0));
        assert_eq!(merged(1.0, &[1, 2, 3]).value(), Some(3.0));
    }

    proptest! {
        #[test]
        fn the_quantile_is_within_its_error_of_the_nearest_rank(
            mut values in prop::collection::vec(0u64..1_000_000, 1..200),
            quantile in 0.0f64..=1.0,
        ) {
            let found = merged(quantile, &values).value().unwrap();
            values.sort_unstable();
            let rank = ((quantile * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            prop_assert!((found - exact).abs() <= exact / 31.0, "{found} for {exact}");
        }

        #[test]
        fn merging_states_is_adding_histograms(
            left in prop::collection::vec(0u64..5000, 0..50),
            right in prop::collection::vec(0u64..5000, 0..50),
        ) {
            let mut one = merged(0.9, &left);
            let state = merged(0.9, &right).state().unwrap();
            let arrays: Vec<ArrayRef> = state.iter().map(|s| s.to_array().unwrap()).collect();
            one.merge_batch(&arrays).unwrap();
            let both: Vec<u64> = left.iter().chain(&right).copied().collect();
            prop_assert_eq!(one.counts, merged(0.9, &both).counts);
        }
    }
}
