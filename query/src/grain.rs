//! Chooses the grain (D14): where a query only adds up rows of the roll-up and never names the hour, its scan is answered
//! from days. The writer of the SQL knows nothing of it, so it must be certain that the answer is the same.
//!
//! Rows of the roll-up are partial sums, and how many there are of a key depends on the grain and on what was folded.
//! So the rule accepts an aggregate only if nothing between it and the scan can tell one row of 5 from two of 2 and 3:
//! measures are summed, or a histogram's quantile taken, as they are or times something that is no measure; conditions,
//! groups and joins look at other columns only. Whatever is not understood reads hours.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, ExprSchemable, JoinType, LogicalPlan, Operator,
};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use siji_lake::schema::rollup_schema;

use crate::provider::LakeTable;
use crate::provider::days::HOUR;

/// The first of the columns that are summed.
const FIRST_MEASURE: &str = "events";
/// Measures that every row has; the others are null where no event had the figure.
const ALWAYS_THERE: [&str; 10] = [
    "events",
    "count_n",
    "amount_n",
    "minutes_n",
    "value_n",
    "rating_1",
    "rating_2",
    "rating_3",
    "rating_4",
    "rating_5",
];

/// The rule; goes last, when scans know their columns and filters.
#[derive(Debug)]
pub(crate) struct ByDay;

impl OptimizerRule for ByDay {
    fn name(&self) -> &str {
        "siji_by_day"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        plan.transform_down_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(mut aggregate) if adds_up(&aggregate) => {
                let input = Arc::unwrap_or_clone(aggregate.input);
                let input = by_day(input)?;
                let changed = input.transformed;
                aggregate.input = Arc::new(input.data);
                let plan = LogicalPlan::Aggregate(aggregate);
                Ok(if changed {
                    Transformed::yes(plan)
                } else {
                    Transformed::no(plan)
                })
            }
            other => Ok(Transformed::no(other)),
        })
    }
}

/// Lets the scans under an aggregate read days.
fn by_day(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    plan.transform_down(|node| match node {
        LogicalPlan::TableScan(mut scan) => {
            let provider = source_as_provider(&scan.source)?;
            let table = provider.downcast_ref::<LakeTable>();
            match table.and_then(LakeTable::by_day) {
                Some(table) => {
                    scan.source = provider_as_source(Arc::new(table));
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                None => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
            }
        }
        other => Ok(Transformed::no(other)),
    })
}

/// Of each column of a plan, whether it is a measure: adds up over the rows that a row stands for.
type Measures = Vec<bool>;

fn adds_up(aggregate: &Aggregate) -> bool {
    let Some(measures) = measures(&aggregate.input) else {
        return false;
    };
    let look = Look {
        schema: aggregate.input.schema(),
        measures: &measures,
    };
    measures.contains(&true)
        && reads_hours(&aggregate.input)
        && !aggregate
            .group_expr
            .iter()
            .any(|expr| look.sees_measure(expr))
        && aggregate.aggr_expr.iter().all(|expr| look.is_sum(expr))
}

/// `None`: something in the plan can tell how rows are cut, or it is not understood.
fn measures(plan: &LogicalPlan) -> Option<Measures> {
    if !reads_hours(plan) {
        return Some(vec![false; plan.schema().fields().len()]);
    }
    match plan {
        LogicalPlan::TableScan(scan) => {
            let fields = scan.projected_schema.fields();
            let named = |name: &str| name == HOUR || is_measure(name);
            let filtered = scan.filters.iter().any(|filter| {
                filter
                    .column_refs()
                    .iter()
                    .any(|column| named(&column.name))
                    || has_subquery(filter)
            });
            let by_hour = fields.iter().any(|field| field.name() == HOUR);
            let limited = scan.fetch.is_some();
            (!filtered && !by_hour && !limited).then(|| {
                fields
                    .iter()
                    .map(|field| is_measure(field.name()))
                    .collect()
            })
        }
        LogicalPlan::Filter(filter) => {
            let measures = measures(&filter.input)?;
            let look = Look {
                schema: filter.input.schema(),
                measures: &measures,
            };
            (!look.sees_measure(&filter.predicate)).then_some(measures)
        }
        LogicalPlan::Projection(projection) => {
            let inner = measures(&projection.input)?;
            let look = Look {
                schema: projection.input.schema(),
                measures: &inner,
            };
            let kinds = projection.expr.iter().map(|expr| {
                if !look.sees_measure(expr) {
                    Some(false)
                } else {
                    look.is_linear(expr).then_some(true)
                }
            });
            kinds.collect()
        }
        LogicalPlan::SubqueryAlias(alias) => measures(&alias.input),
        LogicalPlan::Join(join) => {
            let kind = matches!(
                join.join_type,
                JoinType::Inner | JoinType::Left | JoinType::Right
            );
            if !kind || (reads_hours(&join.left) && reads_hours(&join.right)) {
                return None;
            }
            let all = [measures(&join.left)?, measures(&join.right)?].concat();
            let look = Look {
                schema: &join.schema,
                measures: &all,
            };
            let conditions = join
                .on
                .iter()
                .flat_map(|(left, right)| [left, right])
                .chain(&join.filter);
            let plain = conditions
                .into_iter()
                .all(|condition| !look.sees_measure(condition));
            plain.then_some(all)
        }
        _ => None,
    }
}

fn is_measure(name: &str) -> bool {
    let schema = rollup_schema();
    let first = schema.index_of(FIRST_MEASURE).unwrap_or(usize::MAX);
    schema.index_of(name).is_ok_and(|column| column >= first)
}

/// Whether a plan reads the roll-up where days could be read instead.
fn reads_hours(plan: &LogicalPlan) -> bool {
    let found = plan.exists(|node| {
        let LogicalPlan::TableScan(scan) = node else {
            return Ok(false);
        };
        let provider = source_as_provider(&scan.source)?;
        Ok(provider
            .downcast_ref::<LakeTable>()
            .is_some_and(LakeTable::has_days))
    });
    found.unwrap_or(true)
}

fn has_subquery(expr: &Expr) -> bool {
    let found = expr.exists(|e| {
        Ok(matches!(
            e,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    });
    found.unwrap_or(true)
}

/// Expressions over the columns of a plan.
struct Look<'a> {
    schema: &'a DFSchema,
    measures: &'a Measures,
}

impl Look<'_> {
    /// Whether an expression depends on how much stands in a row. What cannot be told does.
    fn sees_measure(&self, expr: &Expr) -> bool {
        has_subquery(expr)
            || expr.is_volatile()
            || expr.column_refs().into_iter().any(|column| {
                let index = self.schema.maybe_index_of_column(column);
                index.is_none_or(|index| self.measures.get(index).copied().unwrap_or(true))
            })
    }

    fn is_sum(&self, expr: &Expr) -> bool {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(expr) else {
            return false;
        };
        if params
            .filter
            .as_ref()
            .is_some_and(|filter| self.sees_measure(filter))
        {
            return false;
        }
        match (func.name(), params.args.as_slice()) {
            ("sum", [added]) if !params.distinct => self.is_linear(added),
            ("hist_quantile", [histogram, quantile]) => {
                matches!(histogram, Expr::Column(_)) && !self.sees_measure(quantile)
            }
            // These do not mind how often a value comes.
            ("min" | "max" | "approx_distinct", args) | ("count", args)
                if params.distinct || func.name() != "count" =>
            {
                !args.iter().any(|arg| self.sees_measure(arg))
            }
            _ => false,
        }
    }

    /// Whether the sum of an expression over rows is the same however measures are spread over them.
    fn is_linear(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Alias(alias) => self.is_linear(&alias.expr),
            Expr::Column(_) => self.sees_measure(expr),
            Expr::Negative(inner) => self.is_linear(inner),
            Expr::Cast(cast) => {
                self.is_linear(&cast.expr) && self.keeps_value(&cast.expr, cast.field.data_type())
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                // With a null in one of them the other would count or not as rows are cut.
                Operator::Plus | Operator::Minus => {
                    self.is_linear(left)
                        && self.is_linear(right)
                        && self.is_always_there(left)
                        && self.is_always_there(right)
                }
                Operator::Multiply => {
                    self.is_linear(left) && !self.sees_measure(right)
                        || self.is_linear(right) && !self.sees_measure(left)
                }
                _ => false,
            },
            Expr::Case(case) => {
                let mut branches = case.when_then_expr.iter();
                case.expr.as_ref().is_none_or(|of| !self.sees_measure(of))
                    && branches.all(|(when, then)| self.is_linear_branch(when, then))
                    && case
                        .else_expr
                        .as_ref()
                        .is_none_or(|other| is_nothing(other) || self.is_linear(other))
            }
            Expr::ScalarFunction(call) if call.name() == "coalesce" => match call.args.as_slice() {
                [value, rest @ ..] => self.is_linear(value) && rest.iter().all(is_nothing),
                [] => false,
            },
            _ => false,
        }
    }

    fn is_linear_branch(&self, when: &Expr, then: &Expr) -> bool {
        // What `coalesce(x, 0)` is planned as: a null adds as little as a zero.
        let is_there = matches!(when, Expr::IsNotNull(value) if value.as_ref() == then);
        (is_there || !self.sees_measure(when)) && (is_nothing(then) || self.is_linear(then))
    }

    /// Whether an expression has a value in every row.
    fn is_always_there(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Column(column) => ALWAYS_THERE.contains(&column.name.as_str()),
            Expr::Alias(alias) => self.is_always_there(&alias.expr),
            Expr::Cast(cast) => self.is_always_there(&cast.expr),
            Expr::Negative(inner) => self.is_always_there(inner),
            Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
                let there =
                    |side: &Expr| matches!(side, Expr::Literal(..)) || self.is_always_there(side);
                there(left) && there(right)
            }
            Expr::ScalarFunction(call) => call.name() == "coalesce" && call.args.len() > 1,
            _ => false,
        }
    }

    /// Whether a cast neither cuts nor rounds, so that it may as well come after adding up.
    fn keeps_value(&self, inner: &Expr, to: &DataType) -> bool {
        match (inner.get_type(self.schema), to) {
            (Ok(DataType::Int64), DataType::Int64 | DataType::Float64) => true,
            (Ok(DataType::Int64), DataType::Decimal128(precision, scale)) => {
                i32::from(*precision) - i32::from(*scale) >= 19
            }
            (Ok(DataType::Decimal128(_, from)), DataType::Decimal128(38, to)) => *to >= from,
            (Ok(DataType::Decimal128(..)), DataType::Float64) => false,
            _ => false,
        }
    }
}

/// Adds nothing: null or zero.
fn is_nothing(expr: &Expr) -> bool {
    match unaliased(expr) {
        Expr::Literal(value, _) => {
            value.is_null()
                || ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| zero == *value)
        }
        Expr::Cast(cast) => is_nothing(&cast.expr),
        _ => false,
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
