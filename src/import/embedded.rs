//! Importing through a whole pipeline in one directory, until the ledger has judged every event.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use futures::TryStreamExt;
use indicatif::ProgressBar;
use siji_aggregator::Progress;
use siji_collector::import::{InPlace, Outcome, Row};
use siji_collector::spool::{AppendError, Receipt, Record};
use siji_collector::{CollectorConfig, Principal, Right};
use siji_lake::Lake;
use siji_query::{Engine, EngineOptions, Parameters, QueryOptions, Session};
use siji_schemas::validate::Reference;
use tokio::sync::watch;

use super::Job;
use super::books::Books;
use super::reader::{self, Read};
use super::verdicts::{InFlight, Verdict};
use crate::demo::generate::Source;
use crate::demo::site::{Plan, Site};
use crate::failure::Failure;
use crate::settings::Settings;

/// Rows that may wait for the ledger's word, and bytes of them: the memory of an import.
const MOST_WAITING: usize = 50_000;
const MOST_WAITING_BYTES: usize = 64 << 20;
/// How often the ledger is asked while rows are still sent.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait for the next commit before asking all the same.
const LOOK_AGAIN: Duration = Duration::from_millis(400);
/// How long the ledger may say nothing new.
const STUCK_AFTER: Duration = Duration::from_secs(120);
/// Signs of life would take sequence numbers among the rows'.
const HEARTBEAT_SECONDS: u64 = 10 * 365 * 86_400;

/// Starts broker, collector and aggregator in `data_dir`.
pub async fn start(
    settings: &Settings,
    reference: &Arc<Reference>,
    data_dir: &Path,
) -> Result<Site, Failure> {
    let today = reference.zone.day_of(chrono::Utc::now().timestamp_millis());
    let roots: Vec<String> = reference
        .areas
        .roots(today)
        .map(|area| area.code.clone())
        .collect();
    let ours = &settings.collector;
    let source = Source {
        id: if ours.source_id.is_empty() {
            "import".to_owned()
        } else {
            ours.source_id.clone()
        },
        areas: roots,
    };
    Site::start(Plan {
        data_dir,
        brokers: None,
        kafka: settings.kafka.clone(),
        aggregator: settings.aggregator.clone(),
        reference: Arc::clone(reference),
        sources: &[source],
        heartbeat_seconds: HEARTBEAT_SECONDS,
        collector: CollectorConfig {
            pseudonym_key: ours.pseudonym_key.clone(),
            pseudonym_key_file: ours.pseudonym_key_file.clone(),
            spool: ours.spool.clone(),
            ..CollectorConfig::default()
        },
        door: None,
    })
    .await
}

/// The parts of a site that an import works with.
pub struct Parts {
    door: InPlace,
    session: Session,
    /// Changes with every commit.
    progress: watch::Receiver<Progress>,
}

impl Parts {
    /// Of a running site.
    pub async fn of(site: &Site, settings: &Settings, job: &Job) -> Result<Parts, Failure> {
        let intake = site.intakes().into_iter().next();
        let intake = intake.ok_or_else(|| Failure::new("no collector"))?;
        let today = job
            .reference
            .zone
            .day_of(chrono::Utc::now().timestamp_millis());
        let roots = job.reference.areas.roots(today);
        let roots: Vec<&str> = roots.map(|area| area.code.as_str()).collect();
        let rights = [Right::Write, Right::Import];
        let principal = Principal::new("import", &roots, &rights, &job.reference.areas)
            .map_err(|problems| Failure::new(problems.join("; ")))?;
        let options = EngineOptions {
            limits: settings.server.limits(),
            ..EngineOptions::default()
        };
        let lake = Lake::open(&site.lake).await?;
        let session = Engine::open(lake, options)?.session(siji_query::Principal::local());
        Ok(Parts {
            door: InPlace::new(intake, principal),
            session,
            progress: site.aggregator().health().progress(),
        })
    }
}

/// An import under way.
pub struct Import<'a> {
    parts: Parts,
    books: &'a mut Books,
    in_flight: InFlight,
    incarnation: Option<i64>,
    asked: Instant,
    bar: ProgressBar,
}

impl<'a> Import<'a> {
    /// Begins one.
    pub fn new(parts: Parts, books: &'a mut Books, bar: ProgressBar) -> Import<'a> {
        Import {
            parts,
            books,
            in_flight: InFlight::default(),
            incarnation: None,
            asked: Instant::now(),
            bar,
        }
    }

    /// Sends all rows and waits until the ledger has judged each of their events.
    pub async fn run(mut self, job: &Job) -> Result<(), Failure> {
        let mut reading = reader::start(job);
        let mut before = 0;
        while let Some(read) = reading.recv().await {
            match read? {
                Read::Begin { file, header } => {
                    before = self.bar.position();
                    self.books.begin(file, header.as_deref());
                }
                Read::Rows {
                    file,
                    rows,
                    progress: (done, _),
                } => {
                    self.send(file, rows).await?;
                    self.bar.set_position(before + done);
                }
                Read::End { file } => self.in_flight.end(file),
            }
            if self.asked.elapsed() >= ASK_EVERY {
                self.ask().await?;
            }
            if self.in_flight.rows() > MOST_WAITING || self.in_flight.bytes() > MOST_WAITING_BYTES {
                self.wait_until(self.in_flight.rows() / 2).await?;
            }
        }
        self.wait_until(0).await
    }

    async fn send(&mut self, file: usize, rows: Vec<(Row, Outcome)>) -> Result<(), Failure> {
        let mut records: Vec<Record> = Vec::new();
        let mut judged = Vec::with_capacity(rows.len());
        for (row, outcome) in rows {
            let verdict = match outcome {
                Outcome::Skipped => {
                    self.books.skip(file);
                    continue;
                }
                Outcome::Refused(refusal) => Err(refusal),
                Outcome::Made(events) => self.parts.door.judge(&events).map(|events| {
                    let count = events.len();
                    records.extend(events);
                    count
                }),
            };
            judged.push((row, verdict));
        }
        let mut next = match self.append(records).await? {
            Some(receipt) => receipt.first_seq,
            None => 0,
        };
        for (row, verdict) in judged {
            match verdict {
                Ok(count) => {
                    self.in_flight.sent(file, row, next, count);
                    next += i64::try_from(count)?;
                }
                Err(refusal) => self.in_flight.refused(file, row, refusal),
            }
        }
        Ok(())
    }

    /// Spools records; waits where the spool is full.
    async fn append(&mut self, records: Vec<Record>) -> Result<Option<Receipt>, Failure> {
        if records.is_empty() {
            return Ok(None);
        }
        let receipt = loop {
            match self.parts.door.append(records.clone()).await {
                Ok(receipt) => break receipt,
                Err(AppendError::Full { .. } | AppendError::Busy) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => {
                    return Err(Failure::new(format!(
                        "{error}; run the import again when the disk works, what is in the lake already counts once"
                    )));
                }
            }
        };
        let known = *self.incarnation.get_or_insert(receipt.incarnation);
        if known == receipt.incarnation {
            return Ok(Some(receipt));
        }
        Err(Failure::new(
            "the spool was opened anew after a failure of its disk: run the import again, what is in the lake already counts once",
        ))
    }

    /// Waits until at most so many rows wait for the ledger.
    async fn wait_until(&mut self, most: usize) -> Result<(), Failure> {
        let (mut waiting, mut since) = (self.in_flight.rows(), Instant::now());
        loop {
            self.ask().await?;
            let now = self.in_flight.rows();
            if now <= most && (most > 0 || self.in_flight.is_empty()) {
                return Ok(());
            }
            if now < waiting {
                (waiting, since) = (now, Instant::now());
            } else if since.elapsed() > STUCK_AFTER {
                return Err(Failure::new(format!(
                    "nothing came into the lake for {} s, {now} rows wait: run the import again, what is in the lake already counts once",
                    STUCK_AFTER.as_secs()
                )));
            }
            // A commit may not be seen at once.
            let commit = self.parts.progress.changed();
            if let Ok(Err(_)) = tokio::time::timeout(LOOK_AGAIN, commit).await {
                return Err(Failure::new("the aggregator ended"));
            }
        }
    }

    /// Asks the ledger about the events that wait, and books the rows whose fate is known.
    async fn ask(&mut self) -> Result<(), Failure> {
        self.asked = Instant::now();
        if let (Some((first, end)), Some(incarnation)) =
            (self.in_flight.numbers(), self.incarnation)
        {
            // The name of a source has no quotation marks; the numbers are ours.
            let sql = format!(
                "SELECT source_seq, disposition, code, field, reason FROM ledger WHERE source_id = '{}' \
                 AND incarnation = {incarnation} AND source_seq >= {first} AND source_seq < {end} AND resolves IS NULL",
                self.parts.door.source_id()
            );
            let options = QueryOptions::default();
            let result = self
                .parts
                .session
                .query(&sql, Parameters::default(), options);
            let mut batches = result.await?.rows;
            while let Some(batch) = batches.try_next().await? {
                let seqs = cast(batch.column(0), &DataType::Int64)?;
                let seqs = seqs.as_primitive::<Int64Type>();
                let texts = (1..5)
                    .map(|column| cast(batch.column(column), &DataType::Utf8))
                    .collect::<Result<Vec<_>, _>>()?;
                for row in 0..batch.num_rows() {
                    let text = |column: usize| {
                        let column = texts.get(column)?.as_string::<i32>();
                        use arrow::array::Array;
                        column.is_valid(row).then(|| column.value(row).to_owned())
                    };
                    self.in_flight.judge(&Verdict {
                        seq: seqs.value(row),
                        disposition: text(0).unwrap_or_default(),
                        code: text(1),
                        field: text(2),
                        reason: text(3),
                    });
                }
            }
        }
        self.in_flight.settle(self.books)?;
        let total = self.books.total();
        self.bar
            .set_message(format!("{} rows in the lake", total.rows - total.refused));
        Ok(())
    }
}
