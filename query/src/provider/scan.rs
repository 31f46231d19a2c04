//! The selected files as a Parquet scan: groups of about equal size, and what is known of their rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use object_store::ObjectMeta;
use siji_lake::snapshot::{DataFile, Snapshot};

use super::pruning::missing_partition;

/// A scan smaller than this is not worth a second thread.
const BYTES_PER_THREAD: u64 = 4 << 20;

/// Drops the files that a scan without row filters does not need to yield `limit` rows.
pub(super) fn keep_enough(snapshot: &Snapshot, selected: &mut Vec<usize>, limit: usize) {
    let mut rows = 0u64;
    let enough = selected.iter().position(|&i| {
        rows = rows.saturating_add(snapshot.files()[i].rows.unwrap_or(0));
        rows >= limit as u64
    });
    if let Some(last) = enough {
        selected.truncate(last + 1);
    }
}

/// Deals the files out, largest first, always to the smallest group.
pub(super) fn file_groups(
    snapshot: &Snapshot,
    schema: &TableSchema,
    selected: &[usize],
    threads: usize,
) -> Result<Vec<FileGroup>> {
    let mut order: Vec<usize> = selected.to_vec();
    order.sort_by_key(|&i| std::cmp::Reverse(snapshot.files()[i].size));
    let total: u64 = order.iter().map(|&i| snapshot.files()[i].size).sum();
    let wanted = usize::try_from(total / BYTES_PER_THREAD).unwrap_or(usize::MAX);
    let count = wanted.clamp(1, threads.max(1)).min(order.len().max(1));
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); count];
    for i in order {
        let file = &snapshot.files()[i];
        if let Some(smallest) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            smallest.0 += file.size;
            smallest
                .1
                .push(partitioned_file(snapshot, schema, i, file)?);
        }
    }
    Ok(groups
        .into_iter()
        .map(|(_, files)| FileGroup::new(files))
        .collect())
}

fn partitioned_file(
    snapshot: &Snapshot,
    schema: &TableSchema,
    i: usize,
    file: &DataFile,
) -> Result<PartitionedFile> {
    let mut partitioned = PartitionedFile::from(ObjectMeta {
        location: file.path.clone(),
        // Files are written once under fresh names, so nothing of them can change: the metadata cache may trust this.
        last_modified: chrono::DateTime::UNIX_EPOCH,
        size: file.size,
        e_tag: None,
        version: None,
    });
    partitioned.partition_values = schema
        .table_partition_cols()
        .iter()
        .map(|field| {
            let values = snapshot
                .partition_values(field.name())
                .ok_or_else(|| missing_partition(snapshot, field.name()))?;
            ScalarValue::try_from_array(values, i)?.cast_to(field.data_type())
        })
        .collect::<Result<_>>()?;
    Ok(partitioned)
}

/// What is known of the selected files' rows: exact counts (so `count(*)` reads nothing), bounds of the columns asked for.
pub(super) fn statistics(
    snapshot: &Snapshot,
    schema: &TableSchema,
    selected: &[usize],
    columns: &[usize],
) -> Result<Statistics> {
    let fields = schema.table_schema().fields();
    let picked = UInt64Array::from_iter_values(selected.iter().map(|&i| i as u64));
    let mut known = vec![ColumnStatistics::new_unknown(); fields.len()];
    for &column in columns {
        known[column] = column_statistics(
            snapshot,
            fields[column].name(),
            fields[column].data_type(),
            &picked,
        )?;
    }
    let rows: Option<u64> = selected
        .iter()
        .try_fold(0u64, |sum, &i| sum.checked_add(snapshot.files()[i].rows?));
    let bytes: u64 = selected.iter().map(|&i| snapshot.files()[i].size).sum();
    Ok(Statistics {
        num_rows: exact(rows),
        total_byte_size: Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX)),
        column_statistics: known,
    })
}

fn column_statistics(
    snapshot: &Snapshot,
    column: &str,
    data_type: &DataType,
    picked: &UInt64Array,
) -> Result<ColumnStatistics> {
    let mut known = ColumnStatistics::new_unknown();
    if let Some(values) = snapshot.partition_values(column) {
        let values = take(values, picked, None)?;
        known.min_value = Precision::Exact(bound(
            &mut MinAccumulator::try_new(values.data_type())?,
            &values,
            data_type,
        )?);
        known.max_value = Precision::Exact(bound(
            &mut MaxAccumulator::try_new(values.data_type())?,
            &values,
            data_type,
        )?);
    } else if let Some(range) = snapshot.statistics().range(column) {
        let (min, max) = (
            take(&range.min, picked, None)?,
            take(&range.max, picked, None)?,
        );
        let nulls = take(&range.nulls, picked, None)?;
        if nulls.null_count() == 0 {
            let nulls: Option<u64> = arrow::compute::sum(arrow::array::AsArray::as_primitive::<
                arrow::datatypes::UInt64Type,
            >(&nulls));
            known.null_count = exact(nulls);
        }
        if min.null_count() == 0 && max.null_count() == 0 {
            let precision = if bounds_are_values(data_type) {
                Precision::Exact
            } else {
                Precision::Inexact
            };
            known.min_value = precision(bound(
                &mut MinAccumulator::try_new(min.data_type())?,
                &min,
                data_type,
            )?);
            known.max_value = precision(bound(
                &mut MaxAccumulator::try_new(max.data_type())?,
                &max,
                data_type,
            )?);
        }
    }
    Ok(known)
}

/// Whether the log's bounds are values that occur; those of strings may be shortened, those of instants rounded.
fn bounds_are_values(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32
    )
}

fn bound(
    accumulator: &mut dyn Accumulator,
    values: &ArrayRef,
    data_type: &DataType,
) -> Result<ScalarValue> {
    accumulator.update_batch(&[Arc::clone(values)])?;
    accumulator.evaluate()?.cast_to(data_type)
}

fn exact(count: Option<u64>) -> Precision<usize> {
    count
        .and_then(|n| usize::try_from(n).ok())
        .map_or(Precision::Absent, Precision::Exact)
}
