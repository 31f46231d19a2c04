//! How large a statement is once its `WITH` parts stand where they are named: what turning it into a plan costs.
//!
//! DataFusion copies a `WITH` query to each place that names it, so a chain of self-joins doubles with every step. This
//! count is one pass over the text's syntax tree, before anything is copied.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, GroupByWithModifier, ObjectName, Query, Select, Statement, Visit, Visitor,
};

use crate::QueryError;

/// `SELECT`s and named tables, `WITH` parts put in. A thousand `UNION ALL` branches take a second to plan.
const MOST_RELATIONS: u64 = 1_000;
/// Sum of the depths of all expressions' nodes. About 700 operators in a row reach it, a list of thousands does not.
const MOST_DEPTHS: u64 = 500_000;

/// Refuses a statement whose plan would be too large to make.
pub(super) fn check(statement: &Statement) -> Result<(), QueryError> {
    match statement.visit(&mut Extent::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => Err(QueryError::TooLarge(what.to_owned())),
    }
}

#[derive(Default)]
struct Extent {
    /// The queries the walk is in, outermost first, and the relations counted in each.
    open: Vec<u64>,
    /// Queries that are `WITH` parts, by where they are in memory, with their names.
    parts: HashMap<*const Query, String>,
    /// Relations that a `WITH` part's name stands for. Later parts of the same name replace earlier ones, wherever they are:
    /// near enough for a limit.
    named: HashMap<String, u64>,
    depth: u64,
    depths: u64,
}

impl Extent {
    fn count(&mut self, relations: u64) -> ControlFlow<&'static str> {
        let Some(current) = self.open.last_mut() else {
            return ControlFlow::Continue(());
        };
        *current = current.saturating_add(relations);
        if *current > MOST_RELATIONS {
            return ControlFlow::Break("it has too many subqueries, joins or UNIONs");
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Extent {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if let Some(with) = &query.with {
            for part in &with.cte_tables {
                let name = part.alias.name.value.to_ascii_lowercase();
                self.parts
                    .insert(std::ptr::from_ref(part.query.as_ref()), name);
            }
        }
        self.open.push(0);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let relations = self.open.pop().unwrap_or_default();
        match self.parts.remove(&std::ptr::from_ref(query)) {
            Some(name) => {
                self.named.insert(name, relations);
                ControlFlow::Continue(())
            }
            None => self.count(relations),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        self.count(grouping_sets(&select.group_by))
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        let name = relation.to_string().to_ascii_lowercase();
        let stands_for = self.named.get(name.trim_matches('"')).copied().unwrap_or(0);
        self.count(stands_for.saturating_add(1))
    }

    fn pre_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<Self::Break> {
        self.depth += 1;
        self.depths = self.depths.saturating_add(self.depth);
        if self.depths > MOST_DEPTHS {
            return ControlFlow::Break("its expressions are too long or too deep");
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<Self::Break> {
        self.depth = self.depth.saturating_sub(1);
        ControlFlow::Continue(())
    }
}

/// How many groupings a `GROUP BY` asks for; each is a calculation of its own. `CUBE` doubles them with every column.
fn grouping_sets(group_by: &GroupByExpr) -> u64 {
    let (expressions, modifiers) = match group_by {
        GroupByExpr::All(modifiers) => (&[] as &[Expr], modifiers),
        GroupByExpr::Expressions(expressions, modifiers) => (expressions.as_slice(), modifiers),
    };
    let doubled = |columns: usize| {
        u32::try_from(columns).map_or(u64::MAX, |n| 1u64.checked_shl(n).unwrap_or(u64::MAX))
    };
    let of_expression = |expr: &Expr| match expr {
        Expr::Cube(columns) => doubled(columns.len()),
        Expr::Rollup(columns) => columns.len() as u64 + 1,
        Expr::GroupingSets(sets) => sets.len() as u64,
        _ => 1,
    };
    let of_modifier = |modifier: &GroupByWithModifier| match modifier {
        GroupByWithModifier::Cube => doubled(expressions.len()),
        GroupByWithModifier::Rollup => expressions.len() as u64 + 1,
        GroupByWithModifier::GroupingSets(expr) => of_expression(expr),
        GroupByWithModifier::Totals => 2,
    };
    let all = expressions
        .iter()
        .map(of_expression)
        .chain(modifiers.iter().map(of_modifier));
    all.fold(1, |product, sets| product.saturating_mul(sets.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn fits(sql: &str) -> bool {
        let statements = Parser::parse_sql(&GenericDialect {}, sql).unwrap();
        check(&statements[0]).is_ok()
    }

    fn chain(step: &str, times: usize) -> String {
        let mut sql = "WITH t0 AS (SELECT 1 AS x)".to_owned();
        for i in 1..=times {
            let body = step.replace("LAST", &format!("t{}", i - 1));
            sql.push_str(&format!(", t{i} AS ({body})"));
        }
        format!("{sql} SELECT * FROM t{times}")
    }

    #[test]
    fn a_part_counts_each_time_it_is_named() {
        let joined = "SELECT a.x FROM LAST a, LAST b";
        assert!(fits(&chain(joined, 7)));
        assert!(!fits(&chain(joined, 40)));
        assert!(!fits(&chain(
            "SELECT x FROM LAST UNION ALL SELECT x FROM LAST",
            40
        )));
        assert!(!fits(&chain(
            "SELECT x FROM LAST WHERE x IN (SELECT x FROM LAST)",
            40
        )));
        assert!(!fits(&chain("SELECT x FROM \"LAST\", LAST", 40)));
        assert!(fits(&chain("SELECT x + 1 AS x FROM LAST", 200)));
    }

    #[test]
    fn groupings_multiply() {
        assert!(fits(
            "SELECT 1 FROM t GROUP BY a, CUBE (b, c, d), ROLLUP (e, f)"
        ));
        assert!(!fits(
            "SELECT 1 FROM t GROUP BY CUBE (a, b, c, d, e, f, g, h, i, j, k)"
        ));
        assert!(!fits(
            "SELECT 1 FROM t GROUP BY CUBE (a, b, c, d, e, f), CUBE (g, h, i, j, k)"
        ));
        assert!(!fits(&format!(
            "SELECT 1 FROM t GROUP BY CUBE ({})",
            vec!["a"; 70].join(",")
        )));
    }

    #[test]
    fn lists_are_cheap_and_long_calculations_are_not() {
        let list = vec!["1"; 20_000].join(",");
        assert!(fits(&format!("SELECT 1 WHERE 1 IN ({list})")));
        assert!(fits(&format!("SELECT {}", vec!["1"; 500].join("+"))));
        assert!(!fits(&format!("SELECT {}", vec!["1"; 5000].join("+"))));
        assert!(fits(&vec!["SELECT 1"; 900].join(" UNION ALL ")));
        assert!(!fits(&vec!["SELECT 1"; 1100].join(" UNION ALL ")));
    }
}
