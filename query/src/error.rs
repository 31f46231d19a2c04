//! What can go wrong with a query, by what the one who asked can do about it.

use std::error::Error;
use std::time::Duration;

use datafusion::error::DataFusionError;
use siji_lake::LakeError;
use siji_lake::snapshot::ReadError;

/// Why a query was refused or stopped. The text may quote rows, as a cast that failed does: it is for the one who asked. A
/// log gets [`QueryError::for_log`].
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is no SQL.
    #[error("cannot read this SQL: {0}")]
    Syntax(String),
    /// The statement would change something.
    #[error("{0} is not allowed: siji sql only reads")]
    ReadOnly(String),
    /// The text is too long or too deeply nested to be planned.
    #[error("this SQL is too large: {0}")]
    TooLarge(String),
    /// A table, column, function or type does not fit.
    #[error("{0}")]
    Plan(String),
    /// A parameter does not fit.
    #[error("parameter {0}")]
    Parameters(String),
    /// The deadline passed.
    #[error("the query did not end within {}", seconds(*.0))]
    Deadline(Duration),
    /// The memory of one query, of all queries, or the space for temporary files was used up.
    #[error("the query needs more memory than it may use: {0}")]
    Memory(String),
    /// The result has more rows than allowed.
    #[error("the result has more than {0} rows")]
    Rows(u64),
    /// Too many queries at once.
    #[error("{running} queries are running and {waiting} are waiting")]
    Busy {
        /// Places for running queries.
        running: usize,
        /// Queries waiting for one.
        waiting: usize,
    },
    /// Evaluating an expression failed: division by zero, a cast that does not fit.
    #[error("{0}")]
    Execution(String),
    /// The lake cannot be read now.
    #[error("the lake cannot be read: {0}")]
    Lake(String),
    /// A result cannot be written in the format asked for.
    #[error("{0}")]
    Format(String),
    /// The server answered with an error (client side).
    #[error("{url}: {detail}")]
    Remote {
        /// The server.
        url: String,
        /// What it says.
        detail: String,
    },
    /// A fault in siji.
    #[error("internal error: {0}")]
    Internal(String),
}

impl QueryError {
    /// A stable word for programs: the `code` of a problem answer, the label of a metric.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "syntax",
            Self::ReadOnly(_) => "read_only",
            Self::TooLarge(_) => "too_large",
            Self::Plan(_) => "plan",
            Self::Parameters(_) => "parameters",
            Self::Deadline(_) => "deadline",
            Self::Memory(_) => "memory",
            Self::Rows(_) => "rows",
            Self::Busy { .. } => "busy",
            Self::Execution(_) => "execution",
            Self::Lake(_) => "lake",
            Self::Format(_) => "format",
            Self::Remote { .. } => "remote",
            Self::Internal(_) => "internal",
        }
    }

    /// What to do about it, in a sentence; empty when the error says it all.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Syntax(_) | Self::Execution(_) | Self::Format(_) | Self::Remote { .. } => "",
            Self::ReadOnly(_) => {
                "ask with SELECT, WITH, EXPLAIN, SHOW TABLES or DESCRIBE; to keep a result use -o FILE or format=parquet"
            }
            Self::TooLarge(_) => "put long lists into parameters, or ask in several queries",
            Self::Plan(_) => {
                "GET /v1/tables or SHOW TABLES lists the tables, DESCRIBE <table> its columns"
            }
            Self::Parameters(_) => "give one value for each of $1, $2, … in \"params\"",
            Self::Deadline(_) => {
                "ask for fewer days or areas, or use a rollup table instead of events"
            }
            Self::Memory(_) => {
                "group by fewer columns, ask for fewer days, or add a LIMIT to a sort"
            }
            Self::Rows(_) => "add a LIMIT, or ask for format=csv, arrow or parquet",
            Self::Busy { .. } => "try again in a moment",
            Self::Lake(_) => {
                "check that the lake's directory or bucket is there; GET /readyz shows it"
            }
            Self::Internal(_) => "this is a fault in siji: report it with this text",
        }
    }

    /// The reason in words that hold nothing of a row and nothing of the question.
    pub fn for_log(&self) -> String {
        match self {
            Self::Deadline(_) | Self::Memory(_) | Self::Rows(_) | Self::Busy { .. } => {
                self.to_string()
            }
            Self::Lake(_) | Self::Remote { .. } => self.to_string(),
            Self::Execution(_) => "an expression could not be evaluated".to_owned(),
            Self::Format(_) => "the result cannot be written in this format".to_owned(),
            Self::Internal(_) => "a fault in the engine".to_owned(),
            Self::Syntax(_)
            | Self::ReadOnly(_)
            | Self::TooLarge(_)
            | Self::Plan(_)
            | Self::Parameters(_) => "the question was refused".to_owned(),
        }
    }

    /// Maps what DataFusion says. `deadline`, `memory` and the like arrive as errors of the engine itself, wrapped.
    pub(crate) fn from_datafusion(error: DataFusionError) -> Self {
        match error {
            DataFusionError::Context(_, inner) => Self::from_datafusion(*inner),
            DataFusionError::Diagnostic(_, inner) => Self::from_datafusion(*inner),
            DataFusionError::Collection(mut all) if !all.is_empty() => {
                Self::from_datafusion(all.swap_remove(0))
            }
            DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
                Ok(own) => Self::from_datafusion(own),
                Err(shared) => Self::from_shared(&shared),
            },
            DataFusionError::External(source) => Self::from_external(source),
            other => Self::from_shared(&other),
        }
    }

    fn from_external(source: Box<dyn Error + Send + Sync>) -> Self {
        match source.downcast::<QueryError>() {
            Ok(own) => *own,
            Err(source) => match source.downcast::<ReadError>() {
                Ok(read) => Self::from(*read),
                Err(source) => Self::Lake(chain(source.as_ref())),
            },
        }
    }

    fn from_shared(error: &DataFusionError) -> Self {
        match error {
            DataFusionError::SQL(parser, _) => Self::Syntax(one_line(&parser.to_string())),
            DataFusionError::Plan(text) => Self::Plan(one_line(text)),
            DataFusionError::NotImplemented(text) => {
                Self::Plan(one_line(&format!("not supported: {text}")))
            }
            DataFusionError::SchemaError(schema, _) => Self::Plan(one_line(&schema.to_string())),
            DataFusionError::Configuration(text) => Self::Plan(one_line(text)),
            DataFusionError::ResourcesExhausted(text) => Self::Memory(one_line(text)),
            DataFusionError::Execution(text) => Self::Execution(one_line(text)),
            DataFusionError::ArrowError(arrow, _) => Self::Execution(one_line(&arrow.to_string())),
            DataFusionError::ObjectStore(store) => Self::Lake(chain(store.as_ref())),
            DataFusionError::ParquetError(parquet) => Self::Lake(chain(parquet.as_ref())),
            DataFusionError::IoError(io) => Self::Lake(io.to_string()),
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::from_shared(inner)
            }
            DataFusionError::Shared(inner) => Self::from_shared(inner),
            DataFusionError::Collection(all) if !all.is_empty() => Self::from_shared(&all[0]),
            DataFusionError::External(source) => {
                if let Some(own) = source.downcast_ref::<QueryError>() {
                    Self::again(own)
                } else if let Some(read) = source.downcast_ref::<ReadError>() {
                    Self::Lake(chain(read))
                } else {
                    Self::Lake(chain(source.as_ref()))
                }
            }
            other => Self::Internal(one_line(&other.strip_backtrace())),
        }
    }

    /// A second copy of an error that several partitions share.
    fn again(own: &Self) -> Self {
        match own {
            Self::Deadline(limit) => Self::Deadline(*limit),
            Self::Memory(text) => Self::Memory(text.clone()),
            Self::TooLarge(text) => Self::TooLarge(text.clone()),
            Self::Plan(text) => Self::Plan(text.clone()),
            Self::Lake(text) => Self::Lake(text.clone()),
            other => Self::Execution(other.to_string()),
        }
    }
}

impl From<ReadError> for QueryError {
    fn from(error: ReadError) -> Self {
        Self::Lake(chain(&error))
    }
}

impl From<LakeError> for QueryError {
    fn from(error: LakeError) -> Self {
        Self::Lake(chain(&error))
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn Error) -> String {
    one_line(&siji_lake::in_full(error))
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}
