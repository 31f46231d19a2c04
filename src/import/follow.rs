//! Following files that others drop or write on: what is new in them is sent, and where reading stopped is kept.
//!
//! The directory is looked at every few seconds, which works on network shares too. Nothing is moved, renamed or removed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use siji_collector::import::{Converter, Format, Outcome, Repeated, Row, open_from};

use super::Job;
use super::books::Books;
use super::position::{Position, Positions};
use super::remote::{Door, send_rows};
use crate::failure::Failure;

/// Rows in a batch: as many are sent again at most when the process is killed.
const BATCH_ROWS: usize = 500;
/// A file that grows without a pause is begun after so long.
const GROWS_ON: Duration = Duration::from_secs(60);
/// Endings of our own files.
const OURS: [&str; 2] = [".rejects.csv", ".partial"];

/// How to follow.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file, or the directory whose files are followed.
    pub root: PathBuf,
    /// How often to look.
    pub every: Duration,
    /// How long a file must not have changed to be taken for complete.
    pub settled: Duration,
}

/// What was seen of a file.
struct Seen {
    size: u64,
    modified_ms: i64,
    /// Since when it is as it is.
    since: Instant,
    /// When it was first seen.
    first: Instant,
    /// Whether some of it was sent.
    begun: bool,
    /// Whether there is nothing to do until it changes.
    done: bool,
}

/// Follows files until it is dropped or something fails for good.
pub struct Follower<'a> {
    job: &'a Job,
    door: &'a Door,
    options: &'a Options,
    positions: Positions,
    seen: HashMap<PathBuf, Seen>,
}

impl<'a> Follower<'a> {
    /// Keeps positions in `state`.
    pub fn new(
        job: &'a Job,
        door: &'a Door,
        options: &'a Options,
        state: &Path,
    ) -> Result<Follower<'a>, Failure> {
        Ok(Follower {
            job,
            door,
            options,
            positions: Positions::open(state)?,
            seen: HashMap::new(),
        })
    }

    /// Looks again and again.
    pub async fn run(mut self) -> Result<(), Failure> {
        loop {
            self.look().await?;
            tokio::time::sleep(self.options.every).await;
        }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let files = match files(&self.options.root, self.job) {
            Ok(files) => files,
            Err(error) => {
                // A share that is away for a while comes back.
                tracing::warn!(path = %self.options.root.display(), %error, "cannot be read now");
                return Ok(());
            }
        };
        self.seen.retain(|file, _| files.contains(file));
        for file in files {
            if let Some(settled) = self.is_due(&file) {
                self.take(&file, settled).await?;
            }
        }
        Ok(())
    }

    /// Whether there is something to do with a file now; if so, whether it has stopped growing.
    fn is_due(&mut self, file: &Path) -> Option<bool> {
        let found = std::fs::metadata(file).ok()?;
        let (size, modified_ms) = (found.len(), modified_ms(&found));
        let now = Instant::now();
        let seen = self.seen.entry(file.to_owned()).or_insert(Seen {
            size,
            modified_ms,
            since: now,
            first: now,
            begun: false,
            done: false,
        });
        if (seen.size, seen.modified_ms) != (size, modified_ms) {
            (seen.size, seen.modified_ms) = (size, modified_ms);
            (seen.since, seen.done) = (now, false);
        }
        if seen.done || size == 0 {
            return None;
        }
        let settled = seen.since.elapsed() >= self.options.settled;
        let is_sheet = self.job.mapping.input.format_of(file) == Some(Format::Xlsx);
        let alone = self.options.root == file;
        let grows_on = seen.begun || seen.first.elapsed() >= GROWS_ON;
        (settled || (!is_sheet && (alone || grows_on))).then_some(settled)
    }

    /// Sends what is new in a file. What is wrong with the file itself is told, and the others go on.
    async fn take(&mut self, file: &Path, settled: bool) -> Result<(), Failure> {
        let mut position = self.positions.load(file)?;
        let Some(seen) = self.seen.get_mut(file) else {
            return Ok(());
        };
        let (size, modified_ms) = (seen.size, seen.modified_ms);
        seen.begun = true;
        if position.whole == Some((size, modified_ms)) {
            self.done(file);
            return Ok(());
        }
        // Rejects of what stood under the name before stay.
        let fresh = position.is_start();
        let same = match position.is_of(file, size) {
            Ok(same) => same,
            Err(error) => {
                self.tell(file, &format!("{}: {error}", file.display()));
                return Ok(());
            }
        };
        if !same {
            self.finish_rotated(file, &position).await?;
            tracing::info!(file = %file.display(), "another file stands under this name, or it was cut off: it is read from its beginning");
            position = Position::start(file);
        }
        let read = self.read(file, file, &mut position, settled, fresh).await?;
        if read && settled {
            position.whole = Some((size, modified_ms));
            self.positions.save(file, &position)?;
            self.done(file);
        }
        Ok(())
    }

    fn done(&mut self, file: &Path) {
        if let Some(seen) = self.seen.get_mut(file) {
            seen.done = true;
        }
    }

    /// The rest of a file that was renamed, as logs are when they get long: looked for beside it.
    async fn finish_rotated(&mut self, file: &Path, position: &Position) -> Result<(), Failure> {
        if position.offset == 0 {
            return Ok(());
        }
        let directory = file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let beside = std::fs::read_dir(directory.unwrap_or(Path::new(".")));
        let beside = beside
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        for other in beside.filter(|other| other != file && other.is_file() && !is_ours(other)) {
            let size = std::fs::metadata(&other).map_or(0, |found| found.len());
            if size > position.offset && position.is_of(&other, size).unwrap_or(false) {
                tracing::info!(file = %file.display(), now = %other.display(), "the file was renamed: its rest is read");
                let mut rest = position.clone();
                self.read(&other, file, &mut rest, true, false).await?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends the rows from `position` on and moves it. `named`: the file under whose name position and rejects are kept;
    /// `fresh`: it was never read.
    /// False: the file cannot be read, which is told, until it changes.
    async fn read(
        &mut self,
        file: &Path,
        named: &Path,
        position: &mut Position,
        settled: bool,
        fresh: bool,
    ) -> Result<bool, Failure> {
        let (job, before) = (self.job, position.offset);
        let mut input = job.mapping.input.clone();
        // A rotated file may have lost the ending that says what it is.
        input.format = input.format_of(named);
        let numbered = job.mapping.ids.repeated == Repeated::Number;
        let mut converter = Converter::new(&job.mapping, &job.reference);
        let opened = if numbered {
            // How often a row stood before is known from the beginning only.
            open_from(file, &input, 0, 0)
        } else {
            open_from(file, &input, position.offset, position.lines)
        };
        let mut source = match opened {
            Ok(source) => source,
            Err(error) => {
                self.tell(file, &error.to_string());
                return Ok(false);
            }
        };
        let (mut rows_total, mut refused, mut over) = (0, 0, false);
        while !over {
            let mut rows: Vec<(Row, Outcome)> = Vec::new();
            let mut reached = (position.offset, position.lines);
            while rows.len() < BATCH_ROWS && !over {
                let row = match source.next_row() {
                    Ok(Some(row)) => row,
                    Ok(None) => {
                        over = true;
                        continue;
                    }
                    Err(error) => {
                        self.tell(file, &error.to_string());
                        return Ok(false);
                    }
                };
                // The rest of a row, or of a file that was made as long as it will be, is still to come.
                let unfinished = !source.last_row_ended() && !settled;
                let hole = row.fields.iter().any(|field| field.contains(&0)) && !settled;
                if unfinished || hole {
                    over = true;
                    continue;
                }
                let outcome = converter
                    .convert(&row)
                    .map_err(|reason| Failure::new(format!("{}: {reason}", file.display())))?;
                if !numbered || row.end == 0 || row.end > before {
                    rows.push((row, outcome));
                    reached = source.position();
                }
            }
            if rows.is_empty() {
                continue;
            }
            let mut books = Books::new(&[named.to_owned()], job.rejects.as_deref());
            let header = source.header().cloned();
            let whole = input.format == Some(Format::Xlsx);
            if (fresh || whole) && rows_total == 0 {
                books.begin(0, header.as_deref());
            } else {
                books.go_on(0, header.as_deref());
            }
            send_rows(self.door, &mut books, 0, rows).await?;
            books.end(0)?;
            let total = books.total();
            (rows_total, refused) = (rows_total + total.rows, refused + total.refused);
            if reached.0 > 0 {
                if let Err(error) = position.advance(file, reached.0, reached.1) {
                    // Gone under our hands; the rows are sent again if it comes back.
                    self.tell(file, &format!("{}: {error}", file.display()));
                    return Ok(false);
                }
                self.positions.save(named, position)?;
            }
        }
        if rows_total > 0 {
            tracing::info!(file = %file.display(), rows = rows_total, refused, "sent");
        }
        Ok(true)
    }

    /// Says once what is wrong with a file.
    fn tell(&mut self, file: &Path, reason: &str) {
        tracing::warn!(
            reason,
            "a file cannot be read; it is looked at again when it changes"
        );
        self.done(file);
    }
}

fn modified_ms(found: &std::fs::Metadata) -> i64 {
    let since = found
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

fn is_ours(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    OURS.iter().any(|ending| name.ends_with(ending))
        || name.starts_with('.')
        || name.starts_with("~$")
}

/// The files to follow, in the order of their names.
fn files(root: &Path, job: &Job) -> std::io::Result<Vec<PathBuf>> {
    if !root.is_dir() {
        return Ok(if root.is_file() {
            vec![root.to_owned()]
        } else {
            Vec::new()
        });
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let file = entry?.path();
        let known = job.mapping.input.format_of(&file).is_some() && file.extension().is_some();
        if known && file.is_file() && !is_ours(&file) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
