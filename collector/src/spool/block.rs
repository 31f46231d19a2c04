//! One row of the spool: the records of a group commit, or a part of them, as a checksummed block of bytes.
//!
//! A block is sized to fill the database's buddy-allocated pages, carries everything that is the same for its records
//! once, and says how many bytes were spooled before it, so that sizes are differences and never a scan.

use sha2::{Digest, Sha256};

/// Largest block that holds more than one record: 16 pages of 4 KiB, less what the database needs in them.
pub(super) const MAX_BLOCK_BYTES: usize = 16 * PAGE_BYTES as usize - PAGE_OVERHEAD as usize;

const LAYOUT: u8 = 1;
const HEADER_BYTES: usize = 37;
const CHECKSUM_BYTES: usize = 8;
const PAGE_BYTES: u64 = 4096;
/// What a row needs beside its value; generous.
const PAGE_OVERHEAD: u64 = 64;

/// What all records of a block share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// Opening of the spool that wrote the block.
    pub incarnation: i64,
    /// Sequence number of the first record within the incarnation; the others follow without a gap.
    pub first_seq: i64,
    /// When the block was written, milliseconds UTC, never less than in the block before.
    pub enqueued_ms: i64,
    /// Bytes allocated to all blocks ever written before this one.
    pub start_bytes: u64,
    /// Number of records.
    pub count: u32,
}

/// A block that does not read as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spool block at position {position} is damaged: {what}")]
pub struct Damage {
    /// Position of its first record.
    pub position: u64,
    /// What does not hold.
    pub what: &'static str,
}

/// Bytes of disk that a value of `len` bytes takes: a share of a page, or a power of two of pages.
pub(super) fn allocated(len: usize) -> u64 {
    let needed = len as u64 + PAGE_OVERHEAD;
    if needed <= PAGE_BYTES {
        needed
    } else {
        needed.div_ceil(PAGE_BYTES).next_power_of_two() * PAGE_BYTES
    }
}

/// Writes blocks, one after another, into one buffer.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
    bytes: Vec<u8>,
    count: u32,
}

impl BlockBuilder {
    /// Begins a block; what was built before is forgotten.
    pub(super) fn start(&mut self, header: BlockHeader) {
        self.bytes.clear();
        self.count = 0;
        self.bytes.push(LAYOUT);
        self.bytes
            .extend_from_slice(&header.incarnation.to_le_bytes());
        self.bytes
            .extend_from_slice(&header.first_seq.to_le_bytes());
        self.bytes
            .extend_from_slice(&header.enqueued_ms.to_le_bytes());
        self.bytes
            .extend_from_slice(&header.start_bytes.to_le_bytes());
        self.bytes.extend_from_slice(&0u32.to_le_bytes());
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Whether a record of this encoded length still belongs into the block.
    pub(super) fn has_room(&self, record_bytes: usize) -> bool {
        self.count == 0 || self.bytes.len() + record_bytes + CHECKSUM_BYTES <= MAX_BLOCK_BYTES
    }

    /// Appends a record encoded by [`put_record`].
    pub(super) fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.count += 1;
    }

    /// Completes the block.
    pub(super) fn finish(&mut self) -> &[u8] {
        self.bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        let sum = checksum(&self.bytes);
        self.bytes.extend_from_slice(&sum);
        &self.bytes
    }
}

/// Encodes one record: key, headers, value, each with its length.
pub(super) fn put_record<'h>(
    out: &mut Vec<u8>,
    key: &[u8],
    headers: impl ExactSizeIterator<Item = (&'h str, &'h [u8])>,
    value: &[u8],
) {
    put_bytes(out, key);
    put_length(out, headers.len());
    for (name, content) in headers {
        put_bytes(out, name.as_bytes());
        put_bytes(out, content);
    }
    put_bytes(out, value);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::digest(bytes);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&digest[..CHECKSUM_BYTES]);
    sum
}

/// A block read back, its checksum verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Position of the first record in the spool.
    pub position: u64,
    /// What its records share.
    pub header: BlockHeader,
    bytes: Vec<u8>,
}

impl Block {
    /// Reads and verifies a stored block.
    pub(super) fn parse(position: u64, bytes: &[u8]) -> Result<Block, Damage> {
        let header = peek(position, bytes)?;
        let (content, sum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if checksum(content) != sum {
            return Err(Damage {
                position,
                what: "checksum mismatch",
            });
        }
        Ok(Block {
            position,
            header,
            bytes: content.to_vec(),
        })
    }

    /// The records in spool order.
    pub fn records(&self) -> Records<'_> {
        Records {
            position: self.position,
            block: self,
            left: self.header.count,
            rest: &self.bytes[HEADER_BYTES..],
        }
    }

    /// The record at a position as a block of its own, to be kept apart.
    pub fn only(&self, position: u64) -> Option<Vec<u8>> {
        let record = self
            .records()
            .flatten()
            .find(|record| record.position == position)?;
        let mut bytes = Vec::new();
        put_record(
            &mut bytes,
            record.key,
            record.headers.iter().copied(),
            record.value,
        );
        let mut builder = BlockBuilder::default();
        builder.start(BlockHeader {
            first_seq: record.seq,
            count: 1,
            ..self.header
        });
        builder.push(&bytes);
        Some(builder.finish().to_vec())
    }

    /// The block as it was stored, with its checksum.
    pub fn stored(&self) -> Vec<u8> {
        [self.bytes.as_slice(), &checksum(&self.bytes)].concat()
    }

    /// One past the position of the last record.
    pub fn end(&self) -> u64 {
        self.position + u64::from(self.header.count)
    }
}

/// The header of a stored block, without verifying the rest.
pub(super) fn peek(position: u64, bytes: &[u8]) -> Result<BlockHeader, Damage> {
    if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES {
        return Err(Damage {
            position,
            what: "too short",
        });
    }
    if bytes[0] != LAYOUT {
        return Err(Damage {
            position,
            what: "unknown layout",
        });
    }
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        word
    };
    Ok(BlockHeader {
        incarnation: i64::from_le_bytes(word(1)),
        first_seq: i64::from_le_bytes(word(9)),
        enqueued_ms: i64::from_le_bytes(word(17)),
        start_bytes: u64::from_le_bytes(word(25)),
        count: u32::from_le_bytes([bytes[33], bytes[34], bytes[35], bytes[36]]),
    })
}

/// One spooled Kafka record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledRecord<'b> {
    /// Position in the spool: counts every record ever spooled.
    pub position: u64,
    /// Sequence number within the block's incarnation.
    pub seq: i64,
    /// Kafka key.
    pub key: &'b [u8],
    /// Kafka headers.
    pub headers: Vec<(&'b str, &'b [u8])>,
    /// Kafka value.
    pub value: &'b [u8],
}

/// Iterator over the records of a [`Block`].
#[derive(Debug)]
pub struct Records<'b> {
    block: &'b Block,
    position: u64,
    left: u32,
    rest: &'b [u8],
}

impl<'b> Records<'b> {
    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = self.length()?;
        let (head, tail) = self.rest.split_at_checked(length)?;
        self.rest = tail;
        Some(head)
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0usize;
        for shift in (0..63).step_by(7) {
            let (byte, tail) = self.rest.split_first()?;
            self.rest = tail;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(length);
            }
        }
        None
    }

    fn record(&mut self) -> Option<SpooledRecord<'b>> {
        let key = self.bytes()?;
        let headers = (0..self.length()?)
            .map(|_| Some((std::str::from_utf8(self.bytes()?).ok()?, self.bytes()?)))
            .collect::<Option<Vec<_>>>()?;
        let value = self.bytes()?;
        let seq = self.block.header.first_seq + (self.position - self.block.position) as i64;
        Some(SpooledRecord {
            position: self.position,
            seq,
            key,
            headers,
            value,
        })
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<SpooledRecord<'b>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = self.record();
        if record.is_none() {
            self.left = 0;
        }
        let position = self.position;
        self.position += 1;
        Some(record.ok_or(Damage {
            position,
            what: "lengths do not fit",
        }))
    }
}
