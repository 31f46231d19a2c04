//! One asker's way to the engine: from a text to running rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::physical_plan::SendableRecordBatchStream;
use tokio::time::{Instant, timeout_at};

use super::{Engine, RowStream, Versions, measures, places, rows};
use crate::{Parameters, QueryError};

/// Who asks. Rights come with a later issue; today it names the asker in logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    name: String,
}

impl Principal {
    /// Whoever runs the command on this machine.
    pub fn local() -> Self {
        Self {
            name: "local".to_owned(),
        }
    }

    /// A holder of the token with this name, or the anonymous user of a loopback port.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// The name, for logs.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a caller asks for beside the SQL.
#[derive(Debug, Clone)]
pub struct QueryOptions {
    /// Rows after which the query fails; the engine's own limit holds as well.
    pub max_rows: Option<u64>,
    /// The way the query came in, for metrics: `cli`, `http`.
    pub door: &'static str,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            max_rows: None,
            door: "cli",
        }
    }
}

/// A running query's answer.
#[derive(Debug)]
pub struct QueryResult {
    /// Version of each lake table read. A table that is not in the lake yet has none.
    pub versions: BTreeMap<String, u64>,
    /// The rows. Dropping the stream ends the query.
    pub rows: RowStream,
}

/// A principal's way to the engine.
#[derive(Debug, Clone)]
pub struct Session {
    pub(super) engine: Engine,
    pub(super) principal: Principal,
}

impl Session {
    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The engine asked.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs one reading statement. Returns once it is planned and started; rows come through the stream. The deadline
    /// covers both, and waiting for a place.
    ///
    /// # Errors
    /// [`QueryError`]: nothing was run, or it was stopped.
    pub async fn query(
        &self,
        sql: &str,
        parameters: Parameters,
        options: QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let measure = measures::Measure::start(options.door);
        let limits = &self.engine.shared.limits;
        let max_rows = [limits.max_rows, options.max_rows]
            .into_iter()
            .flatten()
            .min();
        let bounds = rows::Bounds {
            deadline: Instant::now() + limits.deadline,
            given: limits.deadline,
            max_rows,
        };
        match self.plan_and_start(sql, parameters, bounds.deadline).await {
            Ok((versions, stream, place)) => {
                let rows = RowStream::start(self.engine.clone(), stream, bounds, place, measure);
                Ok(QueryResult { versions, rows })
            }
            Err(error) => {
                tracing::info!(
                    principal = self.principal.name,
                    code = error.code(),
                    "a query was refused"
                );
                measure.rejected(&error);
                Err(error)
            }
        }
    }

    async fn plan_and_start(
        &self,
        sql: &str,
        parameters: Parameters,
        deadline: Instant,
    ) -> Result<(Versions, SendableRecordBatchStream, places::Place), QueryError> {
        let shared = Arc::clone(&self.engine.shared);
        let late = QueryError::Deadline(shared.limits.deadline);
        let place = shared.places.take().await?;
        let sql = sql.to_owned();
        let planning = Arc::clone(&shared);
        // The place goes with the work: planning that cannot be interrupted keeps it until it is done.
        let started = shared.threads.run(async move {
            let (versions, stream) = planning.start(&sql, parameters).await?;
            Ok((versions, stream, place))
        });
        // This clock runs outside the query threads: it answers in time even when planning keeps one of them busy.
        timeout_at(deadline, started)
            .await
            .unwrap_or(Ok(Err(late)))?
    }
}
