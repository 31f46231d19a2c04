//! A query's rows on their way from the query threads to the one who asked.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::Engine;
use super::measures::Measure;
use super::places::Place;
use super::threads::StopOnDrop;
use crate::QueryError;

/// Batches between the query and its reader: enough to overlap work, too few to fill memory.
const IN_FLIGHT: usize = 2;
/// The reader's own clock runs a little later than the query's, which has the better words.
const GRACE: Duration = Duration::from_millis(250);

/// When a stream ends with an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) deadline: Instant,
    /// The time that was given, for the message.
    pub(super) given: Duration,
    pub(super) max_rows: Option<u64>,
}

/// The rows of a result, batch by batch. Ends after the first error. Dropping it ends the query.
#[derive(Debug)]
pub struct RowStream {
    schema: SchemaRef,
    /// `Ok(None)` is the end; a channel that closes without it broke off.
    batches: mpsc::Receiver<Result<Option<RecordBatch>, QueryError>>,
    late: Pin<Box<Sleep>>,
    given: Duration,
    /// `None` once the stream has ended.
    measure: Option<Measure>,
    _stop: StopOnDrop,
    /// The threads must live as long as the query.
    _engine: Engine,
}

impl RowStream {
    /// Starts a task on the query threads that drives `stream` and keeps to `bounds`.
    pub(super) fn start(
        engine: Engine,
        stream: SendableRecordBatchStream,
        bounds: Bounds,
        place: Place,
        measure: Measure,
    ) -> Self {
        let schema = stream.schema();
        let (sender, batches) = mpsc::channel(IN_FLIGHT);
        let task = engine.shared.threads.handle().spawn(async move {
            let _place = place;
            drive(stream, bounds, sender).await;
        });
        Self {
            schema,
            batches,
            late: Box::pin(sleep_until(bounds.deadline + GRACE)),
            given: bounds.given,
            measure: Some(measure),
            _stop: StopOnDrop(task.abort_handle()),
            _engine: engine,
        }
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

async fn drive(
    mut stream: SendableRecordBatchStream,
    bounds: Bounds,
    sender: mpsc::Sender<Result<Option<RecordBatch>, QueryError>>,
) {
    let mut rows = 0u64;
    loop {
        let next = tokio::select! {
            () = sender.closed() => return,
            next = timeout_at(bounds.deadline, stream.next()) => next,
        };
        let item = match next {
            Err(_) => Err(QueryError::Deadline(bounds.given)),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => Err(QueryError::from_datafusion(error)),
            Ok(Some(Ok(batch))) => {
                rows = rows.saturating_add(batch.num_rows() as u64);
                match bounds.max_rows {
                    Some(most) if rows > most => Err(QueryError::Rows(most)),
                    _ => Ok(Some(batch)),
                }
            }
        };
        let last = !matches!(item, Ok(Some(_)));
        // A reader that is slower than its deadline is late, too.
        let sent = timeout_at(bounds.deadline, sender.send(item)).await;
        if last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

impl Stream for RowStream {
    type Item = Result<RecordBatch, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.measure.is_none() {
            return Poll::Ready(None);
        }
        // First what has arrived: an answer that came in time counts even if it is read late.
        let next = match self.batches.poll_recv(cx) {
            Poll::Ready(Some(item)) => item.transpose(),
            Poll::Ready(None) => Some(Err(self.broken_off())),
            Poll::Pending => {
                ready!(self.late.as_mut().poll(cx));
                Some(Err(QueryError::Deadline(self.given)))
            }
        };
        match &next {
            Some(Ok(batch)) => {
                if let Some(measure) = &self.measure {
                    measure.rows(batch.num_rows());
                }
            }
            Some(Err(error)) => self.end(error.code()),
            None => self.end("ok"),
        }
        Poll::Ready(next)
    }
}

impl RowStream {
    /// The query's task went away: at its deadline when nobody read on, else by a fault.
    fn broken_off(&self) -> QueryError {
        if Instant::now() + GRACE >= self.late.deadline() {
            QueryError::Deadline(self.given)
        } else {
            QueryError::Internal("the query's task broke".to_owned())
        }
    }

    fn end(&mut self, outcome: &'static str) {
        if let Some(measure) = self.measure.take() {
            measure.over(outcome);
        }
    }
}

impl Drop for RowStream {
    fn drop(&mut self) {
        self.end("cancelled");
    }
}
