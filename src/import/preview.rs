//! A dry run: what the rows would become, without sending any.

use siji_collector::import::{Made, Outcome};

use super::Job;
use super::books::{Books, Fate};
use super::reader::{self, Read};
use crate::failure::Failure;

/// Rows shown as they are mapped.
const SHOWN: usize = 3;

/// What a dry run shows.
#[derive(Debug)]
pub struct Preview {
    /// Sums, in which `sent` are the rows that would be.
    pub books: Books,
    /// The first rows: file, number and events.
    pub first: Vec<(String, u64, Vec<Made>)>,
}

/// Reads and maps all files.
pub async fn run(job: &Job) -> Result<Preview, Failure> {
    let mut preview = Preview {
        books: Books::without_rejects(&job.files),
        first: Vec::new(),
    };
    let mut reading = reader::start(job);
    while let Some(read) = reading.recv().await {
        let Read::Rows { file, rows, .. } = read? else {
            continue;
        };
        for (row, outcome) in rows {
            let (events, fate) = match outcome {
                Outcome::Skipped => {
                    preview.books.skip(file);
                    continue;
                }
                Outcome::Refused(refusal) => (0, Fate::Refused(refusal)),
                Outcome::Made(made) => {
                    let count = made.len() as u64;
                    if preview.first.len() < SHOWN {
                        let path = job.files.get(file);
                        let name = path.map_or(String::new(), |path| path.display().to_string());
                        preview.first.push((name, row.number, made));
                    }
                    (count, Fate::Sent)
                }
            };
            preview.books.settle(file, &row, events, &fate)?;
        }
    }
    Ok(preview)
}
