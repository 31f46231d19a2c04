//! The functions a query may call: DataFusion's, without those that read files or make much out of little, and siji's own.

use std::sync::Arc;

use datafusion::catalog::TableFunction;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

mod growth;
mod hist_quantile;

/// Left out. The memory pool sees sorts, joins and aggregates but no expressions, so one call of these could take all
/// memory there is; the rest says something about files or plan internals.
const LEFT_OUT: &[&str] = &[
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "array_resize",
    "array_replace",
    "array_replace_n",
    "array_replace_all",
    "range",
    "generate_series",
    "input_file_name",
    "file_row_index",
    "with_metadata",
    "arrow_metadata",
    "arrow_field",
];

/// The functions of a session.
#[derive(Debug, Clone)]
pub(crate) struct Functions {
    scalar: Vec<Arc<ScalarUDF>>,
    aggregate: Vec<Arc<AggregateUDF>>,
    table: Vec<Arc<TableFunction>>,
    growth_limit: usize,
}

impl Functions {
    /// All that may be called. No expression may build more than `growth_limit` bytes at once.
    pub(crate) fn new(growth_limit: usize) -> Self {
        let mut scalar = SessionStateDefaults::default_scalar_functions();
        scalar.retain(|f| !LEFT_OUT.contains(&f.name()));
        let mut aggregate = SessionStateDefaults::default_aggregate_functions();
        aggregate.push(Arc::new(AggregateUDF::from(
            hist_quantile::HistQuantile::new(),
        )));
        Self {
            scalar,
            aggregate,
            // As a table, `generate_series` comes batch by batch: a calendar to join with, without memory.
            table: SessionStateDefaults::default_table_functions(),
            growth_limit,
        }
    }

    /// Adds the functions, and the rule that bounds what they build, to a session.
    pub(crate) fn register(&self, builder: SessionStateBuilder) -> SessionStateBuilder {
        builder
            .with_scalar_functions(self.scalar.clone())
            .with_aggregate_functions(self.aggregate.clone())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_table_function_list(self.table.clone())
            .with_expr_planners(SessionStateDefaults::default_expr_planners())
            .with_analyzer_rule(Arc::new(growth::BoundGrowth::new(self.growth_limit)))
    }
}
