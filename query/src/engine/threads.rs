//! Threads of their own for queries, so that a heavy one delays neither health checks nor other roles.

use std::future::Future;
use std::sync::Once;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{AbortHandle, JoinError};

use crate::QueryError;

/// Deeply nested SQL is planned by recursion. The memory is only reserved; a page counts once it is touched.
const STACK_BYTES: usize = 256 << 20;
const NAME: &str = "siji-query";

/// The runtime that plans and runs queries.
#[derive(Debug)]
pub(super) struct Threads {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Threads {
    pub(super) fn start(threads: usize) -> Result<Self, QueryError> {
        tell_panics_by_place();
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name(NAME)
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| {
                QueryError::Internal(format!("cannot start the query threads: {error}"))
            })?;
        let handle = runtime.handle().clone();
        Ok(Self {
            runtime: Some(runtime),
            handle,
        })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `work` there. Dropping the returned future stops it at its next pause.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, QueryError> {
        let task = self.handle.spawn(work);
        let _stop = StopOnDrop(task.abort_handle());
        task.await.map_err(|error| broken(&error))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which async code may not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Stops a task when its result is no longer wanted.
#[derive(Debug)]
pub(super) struct StopOnDrop(pub(super) AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A query's task ended without a result: a panic, or the process is going down.
pub(super) fn broken(error: &JoinError) -> QueryError {
    tracing::error!(panicked = error.is_panic(), "a query task broke");
    QueryError::Internal("the query's task broke".to_owned())
}

/// A panic's message may quote what was being worked on, such as a text that was cut inside a character. On query threads
/// only its place is told.
fn tell_panics_by_place() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let elsewhere = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some(NAME) {
                let place = panic.location().map(ToString::to_string);
                tracing::error!(place, "a query thread panicked");
            } else {
                elsewhere(panic);
            }
        }));
    });
}
