//! How much work planning a statement can become, before it is planned.
//!
//! The optimizer may put the definition of a column in the place of its name, and SQL lets definitions double: forty
//! subqueries, each selecting `x || x` from the one before, or joining it with itself, are a short text and a plan that fills
//! any memory. Planning does not pause, so no deadline can end it. Hence this count, which stops as soon as a limit is
//! passed. Measured: at these limits planning takes seconds and some hundred MiB at the very most.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::QueryError;

/// Sum over all plan nodes of one and their columns. 140 joined subqueries, or 20 joins of the widest table, reach it.
const MOST_COLUMNS: u64 = 20_000;
/// Sum over an expression's nodes of their depths, with all definitions put in. A thousand terms in a row reach it, a list or a
/// `CASE` of many thousands does not.
const MOST_DEPTHS: u64 = 500_000;

/// Refuses a plan that would take too long to optimize.
pub(super) fn check(plan: &LogicalPlan) -> Result<(), QueryError> {
    let mut count = Count { columns: 0 };
    match count.plan(plan) {
        ControlFlow::Continue(_) => Ok(()),
        ControlFlow::Break(what) => Err(QueryError::TooLarge(what.to_owned())),
    }
}

/// Size of an expression with all definitions put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    nodes: u64,
    /// Sum of the nodes' depths, the root's being 1.
    depths: u64,
}

impl Size {
    const LEAF: Size = Size {
        nodes: 1,
        depths: 1,
    };

    /// This expression `depth` levels below a root.
    fn below(self, depth: u64) -> Size {
        let deeper = self.nodes.saturating_mul(depth);
        Size {
            nodes: self.nodes,
            depths: self.depths.saturating_add(deeper),
        }
    }

    fn and(self, other: Size) -> Size {
        Size {
            nodes: self.nodes.saturating_add(other.nodes),
            depths: self.depths.saturating_add(other.depths),
        }
    }
}

/// Columns that stand for more than themselves.
type Definitions = HashMap<Column, Size>;
type Step<T> = ControlFlow<&'static str, T>;

struct Count {
    columns: u64,
}

impl Count {
    /// Counts a plan from its leaves and returns what its columns stand for.
    fn plan(&mut self, plan: &LogicalPlan) -> Step<Definitions> {
        self.columns = self
            .columns
            .saturating_add(1 + plan.schema().fields().len() as u64);
        if self.columns > MOST_COLUMNS {
            return ControlFlow::Break("it has too many subqueries, joins or columns");
        }
        let mut below = Vec::new();
        for input in plan.inputs() {
            below.push(self.plan(input)?);
        }
        let mut sizes = Vec::new();
        let mut failed = None;
        let walked = plan.apply_expressions(|expr| {
            match self.expression(expr, &below) {
                ControlFlow::Continue(size) => sizes.push(size),
                ControlFlow::Break(what) => failed = Some(what),
            }
            Ok(if failed.is_some() {
                TreeNodeRecursion::Stop
            } else {
                TreeNodeRecursion::Continue
            })
        });
        match (failed, walked) {
            (Some(what), _) => ControlFlow::Break(what),
            (None, Err(_)) => ControlFlow::Break("its expressions cannot be walked"),
            (None, Ok(_)) => ControlFlow::Continue(defined(plan, &sizes, below)),
        }
    }

    fn expression(&mut self, expr: &Expr, below: &[Definitions]) -> Step<Size> {
        let mut size = Size {
            nodes: 0,
            depths: 0,
        };
        // Not by recursion: a thousand terms are a thousand levels.
        let mut open: Vec<(&Expr, u64)> = vec![(expr, 0)];
        while let Some((expr, depth)) = open.pop() {
            let own = match expr {
                Expr::Column(column) => below
                    .iter()
                    .find_map(|d| d.get(column))
                    .copied()
                    .unwrap_or(Size::LEAF),
                _ => Size::LEAF,
            };
            size = size.and(own.below(depth));
            if size.depths > MOST_DEPTHS {
                return ControlFlow::Break(
                    "its expressions are too long, or too deep with their definitions put in",
                );
            }
            match expr {
                Expr::ScalarSubquery(subquery) => {
                    self.plan(&subquery.subquery)?;
                }
                Expr::Exists(exists) => {
                    self.plan(&exists.subquery.subquery)?;
                }
                Expr::InSubquery(within) => {
                    self.plan(&within.subquery.subquery)?;
                }
                Expr::SetComparison(comparison) => {
                    self.plan(&comparison.subquery.subquery)?;
                }
                // Thousands of literals are a set, not a calculation.
                Expr::InList(list) if list.list.iter().all(|e| matches!(e, Expr::Literal(..))) => {
                    open.push((&list.expr, depth + 1));
                    continue;
                }
                _ => {}
            }
            let walked = expr.apply_children(|child| {
                open.push((child, depth + 1));
                Ok(TreeNodeRecursion::Continue)
            });
            if walked.is_err() {
                return ControlFlow::Break("its expressions cannot be walked");
            }
        }
        ControlFlow::Continue(size)
    }
}

/// What the columns of `plan` stand for, given its expressions' sizes and its inputs' columns.
fn defined(plan: &LogicalPlan, sizes: &[Size], below: Vec<Definitions>) -> Definitions {
    let columns = plan.schema().columns();
    let nontrivial =
        |(column, size): (Column, Size)| (size != Size::LEAF).then_some((column, size));
    match plan {
        LogicalPlan::Projection(_) => columns
            .into_iter()
            .zip(sizes.iter().copied())
            .filter_map(nontrivial)
            .collect(),
        // Group expressions come first; a filter on them may be moved below.
        LogicalPlan::Aggregate(aggregate) => {
            let groups = sizes.iter().copied().take(aggregate.group_expr.len());
            columns
                .into_iter()
                .zip(groups)
                .filter_map(nontrivial)
                .collect()
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = alias.input.schema().columns();
            let renamed = columns.into_iter().zip(inner).filter_map(|(outer, inner)| {
                let size = below.iter().find_map(|d| d.get(&inner)).copied()?;
                Some((outer, size))
            });
            renamed.collect()
        }
        LogicalPlan::Union(union) => {
            let mut largest = Definitions::new();
            for (input, definitions) in union.inputs.iter().zip(&below) {
                for (outer, inner) in columns.iter().zip(input.schema().columns()) {
                    if let Some(size) = definitions.get(&inner) {
                        let most = largest.entry(outer.clone()).or_insert(*size);
                        if size.depths > most.depths {
                            *most = *size;
                        }
                    }
                }
            }
            largest
        }
        _ => below.into_iter().flatten().collect(),
    }
}
