//! Bounds what one expression may build.
//!
//! `a || a` doubles a text; forty of them in a chain of subqueries would fill any memory, and DataFusion's pool does not
//! count expressions. So an analyzer rule puts a check around every function whose result can be larger than its
//! arguments: it adds up what the result can be before it is built.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::compute::kernels::concat_elements::concat_elements_utf8;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use crate::QueryError;

/// How large a result can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// As large as all arguments together.
    Sum,
    /// Every byte of the first argument can become the argument at this position.
    Product(usize),
}

/// Scalar functions that can return more than they are given.
const GROWING: &[(&str, Growth)] = &[
    ("concat", Growth::Sum),
    ("concat_ws", Growth::Sum),
    ("overlay", Growth::Sum),
    ("make_array", Growth::Sum),
    ("array_append", Growth::Sum),
    ("array_prepend", Growth::Sum),
    ("array_concat", Growth::Sum),
    ("array_union", Growth::Sum),
    ("arrays_zip", Growth::Sum),
    ("struct", Growth::Sum),
    ("named_struct", Growth::Sum),
    ("map", Growth::Sum),
    ("array_to_string", Growth::Product(1)),
    ("replace", Growth::Product(2)),
    ("regexp_replace", Growth::Product(2)),
];

/// The analyzer rule.
#[derive(Debug)]
pub(super) struct BoundGrowth {
    limit: usize,
}

impl BoundGrowth {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit }
    }

    fn bound(&self, expr: Expr) -> Transformed<Expr> {
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::StringConcat,
                right,
            }) => {
                let concat = Arc::new(ScalarUDF::from(TextConcat::new()));
                Transformed::yes(self.bounded(concat, Growth::Sum, vec![*left, *right]))
            }
            Expr::ScalarFunction(ScalarFunction { func, args }) => {
                let growth = GROWING
                    .iter()
                    .find(|(name, _)| *name == func.name())
                    .map(|(_, growth)| *growth);
                match growth {
                    Some(growth) if func.inner().downcast_ref::<Bounded>().is_none() => {
                        Transformed::yes(self.bounded(func, growth, args))
                    }
                    _ => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
                }
            }
            other => Transformed::no(other),
        }
    }

    fn bounded(&self, inner: Arc<ScalarUDF>, growth: Growth, args: Vec<Expr>) -> Expr {
        let bounded = Bounded {
            inner,
            growth,
            limit: self.limit,
        };
        Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::new(ScalarUDF::from(bounded)),
            args,
        ))
    }
}

impl AnalyzerRule for BoundGrowth {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            let node = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let bounded = expr.transform_up(|e| Ok(self.bound(e)))?;
                Ok(bounded.update_data(|e| name.restore(e)))
            })?;
            if node.transformed {
                node.map_data(LogicalPlan::recompute_schema)
            } else {
                Ok(node)
            }
        })
        .map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        "bound_growth"
    }
}

/// A function behind a check of how much it would build.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
    limit: usize,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let size = |value: &ColumnarValue| size_of(value, args.number_rows);
        let result = match self.growth {
            Growth::Sum => args.args.iter().map(size).fold(0u64, u64::saturating_add),
            Growth::Product(by) => {
                let first = args.args.first().map_or(0, size);
                let longest = args.args.get(by).map_or(0, longest);
                first.saturating_mul(longest.saturating_add(1))
            }
        };
        if result > self.limit as u64 {
            return Err(DataFusionError::External(Box::new(QueryError::Memory(
                format!(
                    "{} could build {} MiB at once, {} MiB are allowed",
                    self.name(),
                    result >> 20,
                    self.limit >> 20
                ),
            ))));
        }
        self.inner.invoke_with_args(args)
    }
}

/// Bytes a value stands for in a batch of `rows` rows. Views are counted by what they show, not by what they share.
fn size_of(value: &ColumnarValue, rows: usize) -> u64 {
    match value {
        ColumnarValue::Scalar(scalar) => scalar_length(scalar).saturating_mul(rows as u64),
        ColumnarValue::Array(array) => array_size(array),
    }
}

fn array_size(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::Utf8View => array
            .as_string_view()
            .views()
            .iter()
            .map(|view| u64::from(*view as u32))
            .sum(),
        DataType::BinaryView => array
            .as_binary_view()
            .views()
            .iter()
            .map(|view| u64::from(*view as u32))
            .sum(),
        DataType::Utf8 => {
            let offsets = array.as_string::<i32>().value_offsets();
            offsets
                .last()
                .zip(offsets.first())
                .map_or(0, |(last, first)| (last - first) as u64)
        }
        _ => array.get_array_memory_size() as u64,
    }
}

fn scalar_length(scalar: &ScalarValue) -> u64 {
    match scalar.try_as_str() {
        Some(text) => text.map_or(0, str::len) as u64,
        None => scalar.size() as u64,
    }
}

/// Length of the longest text of an argument.
fn longest(value: &ColumnarValue) -> u64 {
    match value {
        ColumnarValue::Scalar(scalar) => scalar_length(scalar),
        ColumnarValue::Array(array) => match cast(array, &DataType::Utf8) {
            Ok(texts) => texts
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::len)
                .max()
                .unwrap_or(0) as u64,
            Err(_) => array_size(array),
        },
    }
}

/// `||` as a function: null when either side is null.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextConcat {
    signature: Signature,
}

impl TextConcat {
    fn new() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for TextConcat {
    fn name(&self) -> &str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// As the operator has it: both sides have been brought to one type of text.
    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.first() {
            Some(text @ (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)) => {
                Ok(text.clone())
            }
            _ => Ok(DataType::Utf8),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let texts = ColumnarValue::values_to_arrays(&args.args)?
            .iter()
            .map(|array| Ok(cast(array, &DataType::Utf8)?))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let [left, right] = texts.as_slice() else {
            return Err(DataFusionError::Plan("|| has two sides".to_owned()));
        };
        let joined: StringArray = concat_elements_utf8(left.as_string(), right.as_string())?;
        let joined = cast(&joined, args.return_field.data_type())?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &joined, 0,
            )?));
        }
        Ok(ColumnarValue::Array(joined))
    }
}
