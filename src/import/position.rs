//! How far a followed file was read, kept on disk from one run to the next.

use std::io::Read;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// First bytes by which a file is recognised under another name, or another file under its name.
const HEAD_BYTES: u64 = 1024;

/// Where a file was read to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Position {
    /// The file, for people.
    pub file: String,
    /// Bytes read: the next row begins here. 0 for sheets.
    pub offset: u64,
    /// Lines read.
    pub lines: u64,
    /// How many first bytes `head` is of.
    head_bytes: u64,
    /// Their SHA-256.
    head: String,
    /// Size and time of change of a file that was read whole.
    pub whole: Option<(u64, i64)>,
}

impl Position {
    /// At the beginning of a file.
    pub fn start(file: &Path) -> Position {
        Position {
            file: file.display().to_string(),
            ..Position::default()
        }
    }

    /// Whether nothing was read.
    pub fn is_start(&self) -> bool {
        self.offset == 0 && self.whole.is_none()
    }

    /// Moves on. The head is taken anew while it is still short.
    pub fn advance(&mut self, file: &Path, offset: u64, lines: u64) -> std::io::Result<()> {
        if self.head_bytes < HEAD_BYTES {
            let bytes = offset.min(HEAD_BYTES);
            self.head = head(file, bytes)?.unwrap_or_default();
            self.head_bytes = bytes;
        }
        (self.offset, self.lines) = (offset, lines);
        Ok(())
    }

    /// Whether a file is the one that was read, or one that goes on from it.
    pub fn is_of(&self, file: &Path, size: u64) -> std::io::Result<bool> {
        if size < self.offset {
            return Ok(false);
        }
        Ok(
            head(file, self.head_bytes)?.is_some_and(|head| head == self.head)
                || self.head_bytes == 0,
        )
    }
}

/// SHA-256 of the first bytes; `None` where there are fewer.
fn head(file: &Path, bytes: u64) -> std::io::Result<Option<String>> {
    let mut first = Vec::new();
    std::fs::File::open(file)?
        .take(bytes)
        .read_to_end(&mut first)?;
    let all = first.len() as u64 == bytes;
    Ok(all.then(|| HEXLOWER.encode(&Sha256::digest(&first))))
}

/// The directory in which positions are kept, a small file for each followed file.
#[derive(Debug, Clone)]
pub struct Positions {
    directory: PathBuf,
}

impl Positions {
    /// Opens or makes the directory.
    pub fn open(directory: &Path) -> Result<Positions, Failure> {
        std::fs::create_dir_all(directory).map_err(|error| named(directory, &error))?;
        Ok(Positions {
            directory: directory.to_owned(),
        })
    }

    fn place(&self, file: &Path) -> PathBuf {
        let digest = Sha256::digest(file.as_os_str().as_encoded_bytes());
        let name = HEXLOWER.encode(&digest[..16]);
        self.directory.join(format!("{name}.json"))
    }

    /// The position of a file; of one never read, its beginning.
    pub fn load(&self, file: &Path) -> Result<Position, Failure> {
        let place = self.place(file);
        match std::fs::read(&place) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let reason = "remove it, and the file is read from its beginning, which counts nothing twice";
                Failure::new(format!("position {}: {error}: {reason}", place.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Position::start(file)),
            Err(error) => Err(named(&place, &error)),
        }
    }

    /// Keeps a position: the old one or the new one is on disk, whatever happens.
    pub fn save(&self, file: &Path, position: &Position) -> Result<(), Failure> {
        use std::io::Write;
        let place = self.place(file);
        let mut partial = tempfile::NamedTempFile::new_in(&self.directory)
            .map_err(|error| named(&self.directory, &error))?;
        partial.write_all(&serde_json::to_vec(position)?)?;
        partial.as_file().sync_all()?;
        partial
            .persist(&place)
            .map_err(|error| named(&place, &error.error))?;
        Ok(())
    }
}

fn named(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_beginning_and_not_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log.csv");
        std::fs::write(&log, "a,b\n1,2\n").unwrap();
        let positions = Positions::open(&directory.path().join("state")).unwrap();
        let mut position = positions.load(&log).unwrap();
        assert_eq!((position.offset, position.lines), (0, 0));
        position.advance(&log, 8, 2).unwrap();
        positions.save(&log, &position).unwrap();
        assert_eq!(positions.load(&log).unwrap(), position);

        std::fs::write(&log, "a,b\n1,2\n3,4\n").unwrap();
        assert!(position.is_of(&log, 12).unwrap(), "it grew");
        std::fs::write(&log, "a,b\n9,2\n3,4\n").unwrap();
        assert!(
            !position.is_of(&log, 12).unwrap(),
            "another file under its name"
        );
        std::fs::write(&log, "a,b\n").unwrap();
        assert!(!position.is_of(&log, 4).unwrap(), "it was cut off");
    }
}
