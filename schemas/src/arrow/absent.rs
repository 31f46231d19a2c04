//! Columns without any value, of which a batch has many: shared instead of made.
//!
//! Such a column is zeroes. Asked for large zeroed blocks that it has in hand, the allocator gives their pages back to the
//! system to get them back zeroed: a call, an interrupt of the other cores and a page fault for every few kilobytes. That
//! was 8 % of an aggregator's time.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;

/// Larger ones are made: each type's largest stays in memory.
const SHARED_ROWS: usize = 1 << 17;

/// A column of `rows` nulls.
pub fn absent(data_type: &DataType, rows: usize) -> ArrayRef {
    static SHARED: LazyLock<RwLock<HashMap<DataType, ArrayRef>>> = LazyLock::new(RwLock::default);
    if rows > SHARED_ROWS {
        return new_null_array(data_type, rows);
    }
    let known = SHARED.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(column) = known.get(data_type).filter(|column| column.len() >= rows) {
        return column.slice(0, rows);
    }
    drop(known);
    let column = new_null_array(data_type, rows.next_power_of_two());
    let absent = column.slice(0, rows);
    let mut known = SHARED.write().unwrap_or_else(PoisonError::into_inner);
    known.insert(data_type.clone(), column);
    absent
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    #[test]
    fn a_column_without_values_is_one_whatever_was_asked_for_before() {
        for rows in [3, 0, 100, 7, SHARED_ROWS, SHARED_ROWS + 1, 100] {
            for data_type in [DataType::Utf8, DataType::Int64, DataType::Date32] {
                let column = absent(&data_type, rows);
                assert_eq!((column.len(), column.null_count()), (rows, rows));
                assert_eq!(&column, &new_null_array(&data_type, rows));
            }
        }
    }
}
