//! Refused rows, in a file beside their own.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::row::{Header, Row, RowRefusal};

/// What stands before the columns of the input.
const COLUMNS: [&str; 4] = ["row", "code", "field", "reason"];
/// How its name ends.
const ENDING: &str = ".rejects.csv";

/// Where the refused rows of a file go: beside it, or into `directory`.
pub fn rejects_path(file: &Path, directory: Option<&Path>) -> PathBuf {
    let beside = || file.to_owned();
    let base = match (directory, file.file_name()) {
        (Some(directory), Some(name)) => directory.join(name),
        _ => beside(),
    };
    let mut name = base.into_os_string();
    name.push(ENDING);
    name.into()
}

/// The rejects file of one input file: written beside its final name, put in place at the end, and not there where
/// nothing is refused. It holds rows as they came, so only its owner may read it.
#[derive(Debug)]
pub struct RejectsFile {
    path: PathBuf,
    partial: PathBuf,
    header: Vec<String>,
    writer: Option<::csv::Writer<BufWriter<File>>>,
    /// Whether rows are added to what is there.
    grows: bool,
}

impl RejectsFile {
    /// Where the rows stand until the file is complete.
    pub fn partial_path(path: &Path) -> PathBuf {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        partial.into()
    }

    /// Nothing is written before the first row is refused.
    pub fn new(path: &Path, header: Option<&Header>) -> RejectsFile {
        RejectsFile {
            path: path.to_owned(),
            partial: RejectsFile::partial_path(path),
            header: header
                .map(|header| header.names.clone())
                .unwrap_or_default(),
            writer: None,
            grows: false,
        }
    }

    /// Goes on with the file as it is, for an input that grows: rows are added at its end.
    pub fn go_on(path: &Path, header: Option<&Header>) -> RejectsFile {
        let mut file = RejectsFile::new(path, header);
        file.partial = path.to_owned();
        file.grows = true;
        file
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, row: &Row, refusal: &RowRefusal) -> std::io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self
                .writer
                .insert(begin(&self.partial, &self.header, self.grows)?),
        };
        let number = row.number.to_string();
        let lead = [
            number.as_bytes(),
            refusal.code.as_bytes(),
            refusal.field.as_bytes(),
            refusal.reason.as_bytes(),
        ];
        let missing = self.header.len().saturating_sub(row.fields.len());
        let fields = row.fields.iter().map(Vec::as_slice);
        let padding = std::iter::repeat_n(&b""[..], missing);
        writer
            .write_record(lead.into_iter().chain(fields).chain(padding))
            .map_err(std::io::Error::other)?;
        Ok(())
    }

    /// Puts the file in its place, on disk, and says where that is; removes an old one where nothing was refused.
    ///
    /// # Errors
    /// The file cannot be written or removed.
    pub fn finish(mut self) -> std::io::Result<Option<PathBuf>> {
        match self.writer.take() {
            Some(writer) => {
                let mut file = writer
                    .into_inner()
                    .map_err(|error| std::io::Error::other(error.to_string()))?;
                file.flush()?;
                file.get_ref().sync_all()?;
                if !self.grows {
                    std::fs::rename(&self.partial, &self.path)?;
                }
                Ok(Some(self.path.clone()))
            }
            None if self.grows => Ok(None),
            None => match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(None),
            },
        }
    }
}

impl Drop for RejectsFile {
    fn drop(&mut self) {
        // The import was broken off: half a file would look like all of it.
        if self.writer.take().is_some()
            && !self.grows
            && let Err(error) = std::fs::remove_file(&self.partial)
        {
            tracing::warn!(file = %self.partial.display(), %error, "could not remove a partial file");
        }
    }
}

fn begin(
    path: &Path,
    header: &[String],
    grows: bool,
) -> std::io::Result<::csv::Writer<BufWriter<File>>> {
    let mut options = OpenOptions::new();
    options.create(true);
    if grows {
        options.append(true);
    } else {
        options.write(true).truncate(true);
        // A left-over of other rights would keep them at a mere truncation.
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let is_new = file.metadata()?.len() == 0;
    let mut writer = ::csv::WriterBuilder::new()
        .flexible(true)
        .from_writer(BufWriter::new(file));
    if is_new {
        let names = header.iter().map(String::as_str);
        let names = COLUMNS.iter().copied().chain(names);
        writer.write_record(names).map_err(std::io::Error::other)?;
    }
    Ok(writer)
}
