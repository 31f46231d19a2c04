//! How far a followed file was read, kept on disk from one run to the next.

use std::fs::File;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::known::Stamp;
use super::prefix::Prefix;
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
    /// SHA-256 of all bytes read. Positions of earlier versions do not have it.
    pub read: Option<String>,
    /// Size and time of change of a file that was read whole.
    whole: Option<(u64, i64)>,
    /// Whether another file was read under the name before.
    #[serde(default)]
    anew: bool,
}

impl Position {
    /// At the beginning of a file.
    pub fn start(file: &Path) -> Position {
        Position {
            file: file.display().to_string(),
            ..Position::default()
        }
    }

    /// At the beginning of a file under whose name another one stood.
    pub fn anew(file: &Path) -> Position {
        Position {
            anew: true,
            ..Position::start(file)
        }
    }

    /// Whether nothing was ever read under the name.
    pub fn is_start(&self) -> bool {
        self.offset == 0 && self.whole.is_none() && !self.anew
    }

    /// Moves on to `offset`, and `prefix` with it. The head is taken anew while it is still short. False: the file ends
    /// before, and the position is to be forgotten.
    pub fn advance(
        &mut self,
        file: &File,
        prefix: &mut Prefix,
        offset: u64,
        lines: u64,
    ) -> std::io::Result<bool> {
        if !prefix.read_on(file, offset)? {
            return Ok(false);
        }
        if self.head_bytes < HEAD_BYTES {
            let bytes = offset.min(HEAD_BYTES);
            let Some(head) = head(file, bytes)? else {
                return Ok(false);
            };
            (self.head_bytes, self.head) = (bytes, head);
        }
        self.read = Some(prefix.digest());
        (self.offset, self.lines) = (offset, lines);
        Ok(true)
    }

    /// Whether a file may be the one that was read, or one that goes on from it: it begins in the same way.
    pub fn may_be_of(&self, file: &File) -> std::io::Result<bool> {
        if file.metadata()?.len() < self.offset {
            return Ok(false);
        }
        let head = head(file, self.head_bytes)?;
        Ok(self.head_bytes == 0 || head.is_some_and(|head| head == self.head))
    }

    /// All of a file was read.
    pub fn set_whole(&mut self, stamp: Stamp) {
        self.whole = Some((stamp.size, stamp.modified_ms));
    }

    /// Whether all of a file was read, as it is.
    pub fn is_whole(&self, stamp: Stamp) -> bool {
        self.whole == Some((stamp.size, stamp.modified_ms))
    }
}

/// SHA-256 of the first bytes; `None` where there are fewer.
fn head(file: &File, bytes: u64) -> std::io::Result<Option<String>> {
    let mut first = Prefix::default();
    let all = first.read_on(file, bytes)?;
    Ok(all.then(|| first.digest()))
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

    /// What was read of a file up to a byte.
    fn read(positions: &Positions, log: &Path, offset: u64, lines: u64) -> Position {
        let mut position = positions.load(log).unwrap();
        let file = File::open(log).unwrap();
        let moved = position.advance(&file, &mut Prefix::default(), offset, lines);
        assert!(moved.unwrap());
        positions.save(log, &position).unwrap();
        position
    }

    #[test]
    fn a_file_is_known_by_its_beginning_and_not_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log.csv");
        std::fs::write(&log, "a,b\n1,2\n").unwrap();
        let positions = Positions::open(&directory.path().join("state")).unwrap();
        let start = positions.load(&log).unwrap();
        assert_eq!((start.offset, start.lines), (0, 0));
        let position = read(&positions, &log, 8, 2);
        assert_eq!(positions.load(&log).unwrap(), position);

        let may_be_of = |text: &str| {
            std::fs::write(&log, text).unwrap();
            position.may_be_of(&File::open(&log).unwrap()).unwrap()
        };
        assert!(may_be_of("a,b\n1,2\n3,4\n"), "it grew");
        assert!(!may_be_of("a,b\n9,2\n3,4\n"), "another file under its name");
        assert!(!may_be_of("a,b\n"), "it was cut off");
    }

    #[test]
    fn a_position_of_an_earlier_version_is_read_without_what_it_does_not_say() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log.csv");
        std::fs::write(&log, "a,b\n1,2\n").unwrap();
        let positions = Positions::open(&directory.path().join("state")).unwrap();
        let mut position = read(&positions, &log, 8, 2);
        let place = positions.place(&log);
        let mut kept: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
        for member in ["read", "anew"] {
            assert!(kept.as_object_mut().unwrap().remove(member).is_some());
        }
        std::fs::write(&place, kept.to_string()).unwrap();
        position.read = None;
        assert_eq!(positions.load(&log).unwrap(), position);
    }

    #[test]
    fn where_another_file_stood_nothing_is_read_for_the_first_time() {
        let log = Path::new("log.csv");
        assert!(Position::start(log).is_start());
        assert!(!Position::anew(log).is_start());
    }
}
