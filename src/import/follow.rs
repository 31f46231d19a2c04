//! Following files that others drop or write on: what is new in them is sent, and where reading stopped is kept.
//!
//! The directory is looked at every few seconds, which works on network shares too. Nothing is moved, renamed or removed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use siji_collector::import::{Converter, Format, Outcome, Repeated, Row, open_from};

use super::Job;
use super::books::Books;
use super::known::{Known, Open, Stamp, compare};
use super::listing::{Root, is_ours};
use super::position::{Position, Positions};
use super::remote::{Door, send_rows};
use crate::failure::Failure;

/// Rows in a batch: as many are sent again at most when the process is killed.
const BATCH_ROWS: usize = 500;
/// A file that grows without a pause is begun after so long.
const GROWS_ON: Duration = Duration::from_secs(60);

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
    /// As it is.
    stamp: Stamp,
    /// Since when it is as it is.
    since: Instant,
    /// When it was first seen.
    first: Instant,
    /// Whether some of it was sent.
    begun: bool,
    /// Whether there is nothing to do until it changes.
    done: bool,
    /// What was read of it since the start of this process.
    known: Option<Known>,
}

/// Follows files until it is dropped or something fails for good.
pub struct Follower<'a> {
    job: &'a Job,
    door: &'a Door,
    options: &'a Options,
    root: Root,
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
            root: Root::new(&options.root),
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
        let Some(files) = self.root.look(&self.job.mapping.input) else {
            return Ok(());
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
        let stamp = Stamp::of(&std::fs::metadata(file).ok()?);
        let now = Instant::now();
        let seen = self.seen.entry(file.to_owned()).or_insert(Seen {
            stamp,
            since: now,
            first: now,
            begun: false,
            done: false,
            known: None,
        });
        if !seen.stamp.looks_like(stamp) {
            (seen.since, seen.done) = (now, false);
        }
        seen.stamp = stamp;
        if seen.done || stamp.size == 0 {
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
        let stamp = seen.stamp;
        seen.begun = true;
        if position.is_whole(stamp) {
            self.done(file);
            return Ok(());
        }
        let mut known = seen.known.take();
        // Rejects of what stood under the name before stay.
        let fresh = position.is_start();
        let mut open = loop {
            match compare(file, &position, known.take()).await {
                Ok(Some(open)) => break open,
                // Of what is at its beginning nothing can differ.
                Ok(None) => position = self.begin_anew(file, &position).await?,
                Err(error) => {
                    self.tell(file, &format!("{}: {error}", file.display()));
                    return Ok(());
                }
            }
        };
        let read = self
            .read(file, file, &mut position, &mut open, settled, fresh)
            .await?;
        if read && settled && open.known.in_full {
            position.set_whole(stamp);
            self.positions.save(file, &position)?;
            self.done(file);
        }
        if let Some(seen) = self.seen.get_mut(file) {
            seen.known = Some(open.known);
        }
        Ok(())
    }

    /// Goes to the beginning of a file in which no longer stands what was read under its name.
    async fn begin_anew(&mut self, file: &Path, before: &Position) -> Result<Position, Failure> {
        let path = file.display();
        if self.finish_rotated(file, before).await? {
            tracing::info!(file = %path, "the file was renamed, and another one stands under its name");
        } else {
            tracing::warn!(file = %path, "what was read of the file does not stand in it any more: it is read from its beginning");
        }
        let position = Position::anew(file);
        self.positions.save(file, &position)?;
        Ok(position)
    }

    fn done(&mut self, file: &Path) {
        if let Some(seen) = self.seen.get_mut(file) {
            seen.done = true;
        }
    }

    /// The rest of a file that was renamed, as logs are when they get long: looked for beside it. False: none is there.
    async fn finish_rotated(&mut self, file: &Path, position: &Position) -> Result<bool, Failure> {
        let directory = file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let beside = std::fs::read_dir(directory.unwrap_or(Path::new(".")));
        let plain = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
        let beside = beside.into_iter().flatten().flatten().filter(plain);
        let mut found = false;
        for other in beside.map(|entry| entry.path()) {
            if other == file || is_ours(&other) {
                continue;
            }
            let Ok(Some(mut open)) = compare(&other, position, None).await else {
                continue;
            };
            found = true;
            // A copy of what was read has no rest; the file itself may have one.
            if open.size() > position.offset {
                tracing::info!(file = %file.display(), now = %other.display(), "the file was renamed: its rest is read");
                let mut rest = position.clone();
                self.read(&other, file, &mut rest, &mut open, true, false)
                    .await?;
                break;
            }
        }
        Ok(found)
    }

    /// Sends the rows from `position` on and moves it. `named`: the file under whose name position and rejects are kept;
    /// `open`: what is at `file`; `fresh`: it was never read.
    /// False: not all of it was read. If it cannot be, that is told, and it is left alone until it changes.
    async fn read(
        &mut self,
        file: &Path,
        named: &Path,
        position: &mut Position,
        open: &mut Open,
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
        // Where another file came between, it is compared at the next look.
        if !open.is_at(file).unwrap_or(false) {
            return Ok(false);
        }
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
            // Before they are sent, which may take long: these are still the bytes that were read.
            let moved = match reached.0 {
                0 => Ok(true),
                offset => {
                    let prefix = &mut open.known.prefix;
                    position.advance(&open.file, prefix, offset, reached.1)
                }
            };
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
            match moved {
                Ok(true) if reached.0 == 0 => {}
                Ok(true) => self.positions.save(named, position)?,
                // Cut off under our hands: it is compared with what was kept before.
                Ok(false) => return Ok(false),
                Err(error) => {
                    self.tell(file, &format!("{}: {error}", file.display()));
                    return Ok(false);
                }
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
