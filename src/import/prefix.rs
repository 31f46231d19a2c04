//! The first bytes of a file: those that were read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// How many of the last of them are kept.
const TAIL_BYTES: usize = 1024;
/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// SHA-256 of the first bytes of a file, which goes on as more of them are read.
#[derive(Debug, Clone, Default)]
pub struct Prefix {
    sha256: Sha256,
    bytes: u64,
    /// The last of them.
    tail: Vec<u8>,
}

impl Prefix {
    /// How many bytes these are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more of a file, up to byte `end`. False: it ends before.
    pub fn read_on(&mut self, file: &File, end: u64) -> io::Result<bool> {
        let mut chunk = vec![0; CHUNK_BYTES];
        while self.bytes < end {
            let left = usize::try_from(end - self.bytes).unwrap_or(CHUNK_BYTES);
            let most = left.min(CHUNK_BYTES);
            match file.read_at(&mut chunk[..most], self.bytes) {
                Ok(0) => return Ok(false),
                Ok(read) => self.add(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn add(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        let last = bytes.len().saturating_sub(TAIL_BYTES);
        self.tail.extend_from_slice(&bytes[last..]);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
    }

    /// SHA-256 of all of them.
    pub fn digest(&self) -> String {
        HEXLOWER.encode(&self.sha256.clone().finalize())
    }

    /// Whether the last of them stand in a file where they stood.
    pub fn ends_alike(&self, file: &File) -> io::Result<bool> {
        let mut found = vec![0; self.tail.len()];
        let first = self.bytes - self.tail.len() as u64;
        match file.read_exact_at(&mut found, first) {
            Ok(()) => Ok(found == self.tail),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn read_in_parts_the_digest_and_the_end_are_those_of_the_whole() {
        let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let file = file_of(&bytes);
        let mut prefix = Prefix::default();
        for end in [1, 1_000, 1_025, 70_000, 799_999] {
            assert!(prefix.read_on(&file, end).unwrap());
            assert_eq!(prefix.bytes(), end);
            let end = usize::try_from(end).unwrap();
            let digest = HEXLOWER.encode(&Sha256::digest(&bytes[..end]));
            assert_eq!(prefix.digest(), digest);
            assert_eq!(prefix.tail, bytes[end.saturating_sub(TAIL_BYTES)..end]);
        }
        assert!(prefix.ends_alike(&file).unwrap());
        assert!(!prefix.read_on(&file, 800_001).unwrap(), "there are fewer");
    }

    #[test]
    fn an_end_that_was_moved_or_cut_off_is_seen() {
        let mut prefix = Prefix::default();
        let rows: String = (0..500).map(|row| format!("v-{row},9:30\n")).collect();
        prefix.read_on(&file_of(rows.as_bytes()), 3_000).unwrap();
        let moved = format!("{}inserted,9:30\n{}", &rows[..1_500], &rows[1_500..]);
        assert!(!prefix.ends_alike(&file_of(moved.as_bytes())).unwrap());
        assert!(
            !prefix
                .ends_alike(&file_of(&rows.as_bytes()[..2_999]))
                .unwrap()
        );
        assert!(
            prefix
                .ends_alike(&file_of(&rows.as_bytes()[..3_000]))
                .unwrap()
        );
    }
}
