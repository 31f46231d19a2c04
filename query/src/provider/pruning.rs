//! Which files can hold rows that a filter lets through.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use siji_lake::snapshot::{ColumnRange, Snapshot};

/// Whether the filter can be decided from partition values alone, for whole files.
pub(super) fn on_partitions_only(filter: &Expr, snapshot: &Snapshot) -> bool {
    let columns = filter.column_refs();
    !columns.is_empty()
        && columns
            .iter()
            .all(|c| snapshot.partition_columns().contains(&c.name))
        && !filter.is_volatile()
        && !has_subquery(filter)
}

fn has_subquery(filter: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    let subquery = |e: &Expr| {
        Ok(matches!(
            e,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    };
    filter.exists(subquery).unwrap_or(true)
}

/// Positions of the files that may hold matching rows. Files that are left out cannot; filters on partition columns
/// alone are decided here for good.
pub(super) fn matching_files(
    snapshot: &Snapshot,
    schema: &SchemaRef,
    filters: &[Expr],
    state: &dyn Session,
) -> Result<Vec<usize>> {
    let count = snapshot.files().len();
    let mut kept = vec![true; count];
    if count == 0 {
        return Ok(Vec::new());
    }
    let (exact, loose): (Vec<&Expr>, Vec<&Expr>) = filters
        .iter()
        .partition(|filter| on_partitions_only(filter, snapshot));
    if let Some(filter) = conjunction(exact.into_iter().cloned()) {
        keep_only(
            &mut kept,
            partition_matches(snapshot, schema, &filter, state)?
                .iter()
                .map(|m| m == Some(true)),
        );
    }
    if let Some(filter) = conjunction(loose.into_iter().cloned()) {
        let described = DFSchema::try_from(schema.as_ref().clone())?;
        let predicate = state.create_physical_expr(filter, &described)?;
        let pruning = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(schema))
            .try_build(predicate)?;
        keep_only(&mut kept, pruning.prune(&LogStatistics { snapshot })?);
    }
    Ok(kept
        .iter()
        .enumerate()
        .filter_map(|(i, keep)| keep.then_some(i))
        .collect())
}

fn keep_only(kept: &mut [bool], matches: impl IntoIterator<Item = bool>) {
    for (keep, matching) in kept.iter_mut().zip(matches) {
        *keep &= matching;
    }
}

/// Evaluates a filter over the table of partition values, one row per file.
fn partition_matches(
    snapshot: &Snapshot,
    schema: &SchemaRef,
    filter: &Expr,
    state: &dyn Session,
) -> Result<BooleanArray> {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .filter(|f| snapshot.partition_columns().contains(f.name()))
        .cloned()
        .collect();
    let columns = fields
        .iter()
        .map(|field| {
            let values = snapshot
                .partition_values(field.name())
                .ok_or_else(|| missing_partition(snapshot, field.name()))?;
            Ok(arrow::compute::cast(values, field.data_type())?)
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    let values = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let described = DFSchema::try_from(values.schema().as_ref().clone())?;
    let predicate = state.create_physical_expr(filter.clone(), &described)?;
    Ok(predicate
        .evaluate(&values)?
        .into_array(values.num_rows())?
        .as_boolean()
        .clone())
}

pub(super) fn missing_partition(
    snapshot: &Snapshot,
    column: &str,
) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::Execution(format!(
        "the log of table `{}` has no values of its partition column `{column}`",
        snapshot.table()
    ))
}

/// The log's statistics in the shape DataFusion's pruning asks for.
struct LogStatistics<'a> {
    snapshot: &'a Snapshot,
}

impl LogStatistics<'_> {
    fn range(&self, column: &Column) -> Option<&ColumnRange> {
        self.snapshot.statistics().range(&column.name)
    }

    fn partition(&self, column: &Column) -> Option<ArrayRef> {
        self.snapshot.partition_values(&column.name).cloned()
    }
}

impl PruningStatistics for LogStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.partition(column)
            .or_else(|| Some(Arc::clone(&self.range(column)?.min)))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.partition(column)
            .or_else(|| Some(Arc::clone(&self.range(column)?.max)))
    }

    fn num_containers(&self) -> usize {
        self.snapshot.files().len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.range(column)
            .map(|range| Arc::new(range.nulls.clone()) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        self.snapshot
            .statistics()
            .rows()
            .map(|rows: &UInt64Array| Arc::new(rows.clone()) as ArrayRef)
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
