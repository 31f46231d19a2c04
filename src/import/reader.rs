//! The reading half: rows of all files, mapped, in batches.

use std::sync::Arc;

use siji_collector::import::{Converter, Header, Outcome, Row, open};
use tokio::sync::mpsc;

use super::Job;
use crate::failure::Failure;

/// Rows in a batch at most, and bytes of their fields.
const BATCH_ROWS: usize = 500;
const BATCH_BYTES: usize = 1 << 20;
/// Batches that may wait.
const WAITING: usize = 4;

/// What the reader has to say.
#[derive(Debug)]
pub enum Read {
    /// A file begins.
    Begin {
        file: usize,
        header: Option<Arc<Header>>,
    },
    /// Its next rows.
    Rows {
        file: usize,
        rows: Vec<(Row, Outcome)>,
        /// How much of the file was read, and how much there is.
        progress: (u64, u64),
    },
    /// It is over.
    End { file: usize },
}

/// Starts reading. It ends when nobody listens any more; an error is the last that is said.
pub fn start(job: &Job) -> mpsc::Receiver<Result<Read, Failure>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let job = job.clone();
    tokio::task::spawn_blocking(move || {
        for file in 0..job.files.len() {
            match read_file(&job, file, &sender) {
                Ok(true) => {}
                Ok(false) => return,
                Err(failure) => {
                    // Nobody listens: then nobody wants to know.
                    sender.blocking_send(Err(failure)).ok();
                    return;
                }
            }
        }
    });
    receiver
}

/// False: nobody listens.
fn read_file(
    job: &Job,
    file: usize,
    sender: &mpsc::Sender<Result<Read, Failure>>,
) -> Result<bool, Failure> {
    let Some(path) = job.files.get(file) else {
        return Ok(true);
    };
    let mut source = open(path, &job.mapping.input)?;
    let mut converter = Converter::new(&job.mapping, &job.reference);
    let header = source.header().cloned();
    if sender
        .blocking_send(Ok(Read::Begin { file, header }))
        .is_err()
    {
        return Ok(false);
    }
    let mut rows = Vec::with_capacity(BATCH_ROWS);
    let mut bytes = 0;
    loop {
        let next = source.next_row()?;
        let over = next.is_none();
        if let Some(row) = next {
            let outcome = converter.convert(&row).map_err(|reason| {
                Failure::new(format!("{}:{}: {reason}", path.display(), row.number))
            })?;
            bytes += row.fields.iter().map(Vec::len).sum::<usize>();
            rows.push((row, outcome));
        }
        if !rows.is_empty() && (over || rows.len() >= BATCH_ROWS || bytes >= BATCH_BYTES) {
            bytes = 0;
            let rows = std::mem::replace(&mut rows, Vec::with_capacity(BATCH_ROWS));
            let progress = source.progress();
            let batch = Read::Rows {
                file,
                rows,
                progress,
            };
            if sender.blocking_send(Ok(batch)).is_err() {
                return Ok(false);
            }
        }
        if over {
            return Ok(sender.blocking_send(Ok(Read::End { file })).is_ok());
        }
    }
}
