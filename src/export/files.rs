//! Where an export goes: one file, or a directory; whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use data_encoding::HEXLOWER;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use super::manifest::{FileEntry, Manifest};
use crate::failure::Failure;

/// Most files: beyond, a column is no good partition.
const MOST_FILES: usize = 10_000;
/// Rows of a row group at most, and bytes after which one is closed early.
const GROUP_ROWS: usize = 128 * 1024;
const GROUP_BYTES: usize = 32 << 20;
/// The manifest of a directory. Readers of a directory of Parquet pass by what begins so.
const IN_DIRECTORY: &str = "_manifest.json";
/// As Hive and its heirs name the partition of rows without a value.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// Value of the partition column, in a run of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionValue {
    pub column: String,
    pub value: Option<String>,
}

/// Where files go until all of them are written, and then.
#[derive(Debug)]
pub struct Destination {
    target: PathBuf,
    /// Beside the target.
    partial: PathBuf,
    single: bool,
    open: Option<Open>,
    written: Vec<FileEntry>,
    done: bool,
}

struct Open {
    partition: Option<PartitionValue>,
    path: String,
    rows: u64,
    writer: ArrowWriter<Summed>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)
    }
}

/// A file that knows its length and digest.
struct Summed {
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Destination {
    /// A file whose name ends in `.parquet`, or a directory that is not there yet or empty.
    pub fn open(target: &Path, partitioned: bool) -> Result<Destination, Failure> {
        let ending = target.extension();
        let single = ending.is_some_and(|it| it.eq_ignore_ascii_case("parquet"));
        if single && partitioned {
            return Err(Failure::usage(format!(
                "-o {} is one file: name a directory for --partition-by",
                target.display()
            )));
        }
        if single && target.is_dir() {
            return Err(Failure::usage(format!(
                "-o {} is a directory",
                target.display()
            )));
        }
        if !single {
            let taken = match std::fs::read_dir(target) {
                Ok(mut entries) => entries.next().is_some(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                Err(error) => return Err(named(target, &error)),
            };
            if taken {
                return Err(Failure::usage(format!(
                    "-o {} is not empty: an export goes into a new directory, or into a file named *.parquet",
                    target.display()
                )));
            }
        }
        // Without a slash at the end, behind which the name of the partial one would lie within the target.
        let target: PathBuf = target.components().collect();
        let mut partial = std::path::absolute(&target)?.into_os_string();
        partial.push(format!(".partial-{}", std::process::id()));
        let partial = PathBuf::from(partial);
        if !single {
            std::fs::create_dir_all(&partial).map_err(|error| named(&partial, &error))?;
        }
        Ok(Destination {
            target,
            partial,
            single,
            open: None,
            written: Vec::new(),
            done: false,
        })
    }

    /// Adds rows. Rows of one partition come in one go.
    pub(super) fn write(
        &mut self,
        partition: Option<PartitionValue>,
        batch: &RecordBatch,
    ) -> Result<(), Failure> {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.partition != partition)
        {
            self.close()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = self.begin(partition, batch.schema())?;
                self.open.insert(open)
            }
        };
        open.writer.write(batch)?;
        open.rows += batch.num_rows() as u64;
        if open.writer.in_progress_size() > GROUP_BYTES {
            open.writer.flush()?;
        }
        Ok(())
    }

    fn begin(&self, partition: Option<PartitionValue>, schema: SchemaRef) -> Result<Open, Failure> {
        if self.written.len() >= MOST_FILES {
            return Err(Failure::usage(format!(
                "--partition-by gives more than {MOST_FILES} files: choose a column with fewer values"
            )));
        }
        let path = match &partition {
            _ if self.single => self
                .target
                .file_name()
                .map_or(String::new(), |name| name.to_string_lossy().into_owned()),
            None => "part-00000.parquet".to_owned(),
            Some(PartitionValue { column, value }) => {
                let value = value.as_deref().map_or(NO_VALUE.to_owned(), escaped);
                format!("{column}={value}/part-00000.parquet")
            }
        };
        let place = if self.single {
            self.partial.clone()
        } else {
            self.partial.join(&path)
        };
        if let Some(directory) = place.parent() {
            std::fs::create_dir_all(directory).map_err(|error| named(directory, &error))?;
        }
        let file = File::create(&place).map_err(|error| named(&place, &error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let summed = Summed {
            file: BufWriter::new(file),
            digest: Sha256::new(),
            bytes: 0,
        };
        Ok(Open {
            writer: ArrowWriter::try_new(summed, schema, Some(properties))?,
            partition,
            path,
            rows: 0,
        })
    }

    fn close(&mut self) -> Result<(), Failure> {
        let Some(Open {
            partition,
            path,
            rows,
            writer,
        }) = self.open.take()
        else {
            return Ok(());
        };
        let mut summed = writer.into_inner()?;
        summed.flush()?;
        summed.file.get_ref().sync_all()?;
        self.written.push(FileEntry {
            path,
            rows,
            bytes: summed.bytes,
            sha256: HEXLOWER.encode(&summed.digest.finalize()),
            partition: partition.map(|partition| partition.value),
        });
        Ok(())
    }

    /// Puts the files and the manifest in their place.
    pub(super) fn finish(
        mut self,
        schema: &Schema,
        partition_by: Option<&str>,
        manifest: &mut Manifest,
    ) -> Result<(), Failure> {
        self.close()?;
        if self.written.is_empty() && partition_by.is_none() {
            // No rows, but columns: a file that readers can open.
            let schema = Arc::new(schema.clone());
            self.write(None, &RecordBatch::new_empty(schema))?;
            self.close()?;
        }
        for file in self.written.drain(..) {
            manifest.add(file);
        }
        let text = format!("{}\n", serde_json::to_string_pretty(manifest)?);
        let target = self.target.clone();
        let failed = |error: std::io::Error| named(&target, &error);
        if self.single {
            std::fs::rename(&self.partial, &target).map_err(failed)?;
            self.done = true;
            let place = manifest_path(&target);
            let beside = self.partial.clone();
            write_synced(&beside, &text).map_err(failed)?;
            std::fs::rename(&beside, &place).map_err(|error| named(&place, &error))?;
        } else {
            write_synced(&self.partial.join(IN_DIRECTORY), &text).map_err(failed)?;
            if target.is_dir() {
                // Empty: seen at the beginning, and removed only if it still is.
                std::fs::remove_dir(&target).map_err(failed)?;
            }
            std::fs::rename(&self.partial, &target).map_err(failed)?;
            self.done = true;
        }
        Ok(())
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.open = None;
        let removed = if self.single {
            std::fs::remove_file(&self.partial)
        } else {
            std::fs::remove_dir_all(&self.partial)
        };
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.partial.display(), %error, "could not remove half an export");
        }
    }
}

/// The manifest of a single file: `events.parquet.manifest.json`.
pub fn manifest_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".manifest.json");
    name.into()
}

fn write_synced(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn named(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

/// A value as the name of a directory.
fn escaped(value: &str) -> String {
    if value.is_empty() {
        return NO_VALUE.to_owned();
    }
    let mut name = String::new();
    for byte in value.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b' ') => {
                name.push(char::from(b));
            }
            b => name.push_str(&format!("%{b:02X}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_name_that_leads_nowhere_else() {
        for (value, name) in [
            ("case.opened", "case.opened"),
            ("a/b=c", "a%2Fb%3Dc"),
            ("市", "%E5%B8%82"),
            ("", NO_VALUE),
        ] {
            assert_eq!(escaped(value), name);
        }
        // `column=..` is an ordinary name.
        assert_eq!(escaped(".."), "..");
    }
}
