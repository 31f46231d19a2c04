//! One table under maintenance: reads it at one version, folds what is due, and commits that nobody else did.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use serde_json::json;
use siji_lake::compact::merge::{Merge, MergeError, Source};
use siji_lake::compact::output::{Output, Shape};
use siji_lake::compact::plan::{Job, Policy, jobs};
use siji_lake::datafile::file_schema;
use siji_lake::log::{Add, Change, Remove};
use siji_lake::snapshot::{DataFile, ReaderOptions, Snapshot, TableReader};
use siji_lake::{Lake, LakeError, TableWriter, Txn};

use super::fold::Folder;
use super::tables::Maintained;
use crate::reader::LedgerReadError;

/// Application whose version counts the folds of a table. Every fold moves it, so of two that begin at the same state
/// one fails.
pub const MAINTAINER: &str = "siji.maintainer";

/// The handle is opened anew after so many new versions, for its memory grows with them.
const REOPEN_AFTER: u32 = 10;

/// What was folded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folded {
    /// Commits.
    pub commits: u64,
    /// Files read.
    pub files_in: u64,
    /// Files written.
    pub files_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
}

impl Folded {
    /// Adds what another fold did.
    pub fn add(&mut self, other: Folded) {
        self.commits += other.commits;
        self.files_in += other.files_in;
        self.files_out += other.files_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

/// A table, as its maintainer holds it.
#[derive(Debug)]
pub(super) struct Table {
    pub kept: &'static Maintained,
    pub writer: TableWriter,
    root: Arc<dyn ObjectStore>,
    folder: object_store::path::Path,
    reader: TableReader,
}

impl Table {
    /// Opens a table; `None`: it is not there, and is made only if asked to.
    pub(super) async fn open(
        lake: &Lake,
        kept: &'static Maintained,
        make: bool,
    ) -> Result<Option<Table>, LakeError> {
        let name = kept.spec.name;
        let options = ReaderOptions {
            refresh_interval: Duration::ZERO,
            reopen_after: REOPEN_AFTER,
        };
        let reader = TableReader::open(lake.root_store(), lake.table_url(name), options)
            .map_err(|error| readable(name, error))?;
        if !make
            && reader
                .current()
                .await
                .map_err(|e| readable(name, e))?
                .is_none()
        {
            return Ok(None);
        }
        Ok(Some(Table {
            writer: TableWriter::open(lake, kept.spec).await?,
            root: lake.root_store(),
            folder: lake.table_path(name),
            kept,
            reader,
        }))
    }

    pub(super) fn name(&self) -> &'static str {
        self.kept.spec.name
    }

    /// The table as it is now. What is committed next is checked against everything that came after it.
    pub(super) async fn snapshot(&mut self) -> Result<Arc<Snapshot>, LakeError> {
        // The log first: an entry between the two is then looked at twice, never not at all.
        self.writer.refresh().await?;
        let snapshot = self.reader.current().await;
        let snapshot = snapshot.map_err(|error| readable(self.name(), error))?;
        let seen = snapshot.as_ref().map(|s| version(s));
        match snapshot {
            Some(snapshot) if version(&snapshot) >= self.writer.version() => Ok(snapshot),
            _ => Err(LakeError::Damaged {
                table: self.name().to_owned(),
                reason: format!(
                    "its log stands at version {}, readers see {seen:?}",
                    self.writer.version()
                ),
            }),
        }
    }

    /// How often the table was folded, as of the last look.
    pub(super) fn folds(&self) -> Option<i64> {
        self.writer.txn(MAINTAINER)
    }

    /// The transaction that claims the next fold.
    pub(super) fn claim(&self) -> Txn {
        Txn {
            app_id: MAINTAINER.to_owned(),
            version: self.folds().unwrap_or(0) + 1,
            last_updated: Some(chrono::Utc::now().timestamp_millis()),
        }
    }

    /// Folds what is due in a snapshot.
    pub(super) async fn fold(
        &mut self,
        snapshot: &Snapshot,
        policy: &Policy,
    ) -> Result<Folded, LakeError> {
        let policy = Policy {
            by_month: self.kept.by_month,
            ..*policy
        };
        let mut done = Folded::default();
        let mut change = Change::default();
        let mut pending = 0;
        for job in jobs(&self.kept.candidates(snapshot), &policy) {
            let files: Vec<DataFile> = job
                .files
                .iter()
                .map(|file| snapshot.files()[*file].clone())
                .collect();
            let shape = Shape::of_job(self.kept.spec, &job, &policy);
            let adds = self.rewrite(&files, self.kept.order, shape).await?;
            count(&mut done, &job, &adds);
            change.adds.extend(adds);
            change.removes.extend(self.removes(&files, false)?);
            pending += job.bytes;
            // What was folded is shown at once where there is much, and in one commit where there is little.
            if pending >= policy.job_bytes {
                self.commit(std::mem::take(&mut change), "OPTIMIZE").await?;
                done.commits += 1;
                pending = 0;
            }
        }
        if !change.removes.is_empty() {
            self.commit(change, "OPTIMIZE").await?;
            done.commits += 1;
        }
        Ok(done)
    }

    /// Commits as the maintainer.
    pub(super) async fn commit(
        &mut self,
        mut change: Change,
        operation: &str,
    ) -> Result<i64, LakeError> {
        change.txns.push(self.claim());
        change.info.insert("operation".to_owned(), operation.into());
        let counts = json!({ "added": change.adds.len(), "removed": change.removes.len() });
        change
            .info
            .insert("siji".to_owned(), json!({ "maintainer": counts }));
        self.writer.commit(change).await
    }

    /// The rows of some files, in order and folded as the table is, in files of this table.
    pub(super) async fn rewrite(
        &self,
        files: &[DataFile],
        order: &'static [&'static str],
        shape: Shape,
    ) -> Result<Vec<Add>, LakeError> {
        let source = Source {
            files: files.to_vec(),
            schema: file_schema(self.kept.spec),
            order: order.to_vec(),
        };
        let mut sort = HashSet::new();
        loop {
            match self.attempt(&source, &sort, shape.clone()).await {
                Ok(adds) => return Ok(adds),
                // What was written so far was not committed: vacuum finds it.
                Err(MergeError::Unsorted(file)) if sort.insert(file) => {
                    tracing::warn!(file = %source.files[file].path, "a file is not in order and is sorted in memory");
                }
                Err(MergeError::Unsorted(file)) => {
                    return Err(LakeError::Damaged {
                        table: self.name().to_owned(),
                        reason: format!("{} cannot be put in order", source.files[file].path),
                    });
                }
                Err(MergeError::Lake(error)) => return Err(error),
            }
        }
    }

    async fn attempt(
        &self,
        source: &Source,
        sort: &HashSet<usize>,
        shape: Shape,
    ) -> Result<Vec<Add>, MergeError> {
        let mut merge = Merge::open(&self.root, source, sort).await?;
        let mut output = Output::new(self.writer.store(), shape);
        if !self.kept.sums {
            while let Some(batch) = merge.next().await? {
                output.write(&batch).await?;
            }
            return Ok(output.finish().await?);
        }
        let mut folder = Folder::new(Arc::clone(&source.schema), &source.order)?;
        while let Some(batch) = merge.next().await? {
            output.write(&folder.push(batch)?).await?;
        }
        if let Some(rest) = folder.finish()? {
            output.write(&rest).await?;
        }
        Ok(output.finish().await?)
    }

    /// What takes files out of the table.
    pub(super) fn removes(
        &self,
        files: &[DataFile],
        data_change: bool,
    ) -> Result<Vec<Remove>, LakeError> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        files
            .iter()
            .map(|file| {
                let relative = file.path.prefix_match(&self.folder);
                let relative = relative.ok_or_else(|| LakeError::Damaged {
                    table: self.name().to_owned(),
                    reason: format!("{} lies outside the table", file.path),
                })?;
                let parts: Vec<String> = relative.map(|part| part.as_ref().to_owned()).collect();
                Ok(Remove {
                    path: parts.join("/"),
                    deletion_timestamp: Some(now_ms),
                    data_change,
                })
            })
            .collect()
    }

    /// A file that a log entry added.
    pub(super) fn added(&self, folder: &object_store::path::Path, add: &Add) -> DataFile {
        let inside = object_store::path::Path::from(add.path.as_str());
        DataFile {
            path: folder.parts().chain(inside.parts()).collect(),
            size: u64::try_from(add.size).unwrap_or_default(),
            rows: None,
        }
    }
}

fn count(done: &mut Folded, job: &Job, adds: &[Add]) {
    done.files_in += job.files.len() as u64;
    done.bytes_in += job.bytes;
    done.files_out += adds.len() as u64;
    done.bytes_out += adds.iter().map(|add| add.size as u64).sum::<u64>();
}

pub(super) fn version(snapshot: &Snapshot) -> i64 {
    i64::try_from(snapshot.version()).unwrap_or(i64::MAX)
}

pub(super) fn readable(table: &str, error: siji_lake::snapshot::ReadError) -> LakeError {
    match LakeError::from(LedgerReadError::from(error)) {
        LakeError::Damaged { reason, .. } => LakeError::Damaged {
            table: table.to_owned(),
            reason,
        },
        other => other,
    }
}
