//! Hash tables for reference data: built once from trusted files, then asked millions of times a second.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest, Sha256};

/// A hash table with a fast, unkeyed hash. Keys come from reference files, never from events, so nobody can flood it.
pub(crate) type Table<K, V> = HashMap<K, V, BuildHasherDefault<FastHasher>>;

/// Multiply and rotate, eight bytes at a time (the scheme of Firefox and rustc). The last bytes are read as a word that
/// may overlap the one before: keys are short, and copying odd bytes would cost more than hashing them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FastHasher(u64);

impl FastHasher {
    #[inline]
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for FastHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let byte = |at: usize| u64::from(bytes[at]);
        match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            (Some(_), Some(last)) => {
                for chunk in bytes.chunks_exact(8) {
                    if let Some(word) = chunk.first_chunk::<8>() {
                        self.mix(u64::from_le_bytes(*word));
                    }
                }
                self.mix(u64::from_le_bytes(*last));
            }
            _ => match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
                (Some(first), Some(last)) => {
                    self.mix(
                        u64::from(u32::from_le_bytes(*first))
                            | u64::from(u32::from_le_bytes(*last)) << 32,
                    );
                }
                _ if bytes.is_empty() => {}
                _ => self.mix(byte(0) | byte(bytes.len() / 2) << 8 | byte(bytes.len() - 1) << 16),
            },
        }
        self.mix(bytes.len() as u64);
    }

    /// The end mark that hashing a text writes; the length is in already.
    #[inline]
    fn write_u8(&mut self, _byte: u8) {}

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The table takes its bucket from the low bits, where a multiplication mixes least.
        self.0.rotate_left(26)
    }
}

/// The first 12 hex digits of a SHA-256: how a version of reference data is named.
pub(crate) fn short_hash(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
