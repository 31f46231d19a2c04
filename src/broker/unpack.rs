//! A produced batch as the engine may have it: every number in it checked before anything is reserved for it, and
//! without compression, because the engine stores single records and would pack them again at every fetch.

use std::io::Read;

use bytes::{Buf, Bytes};
use tansu_sans_io::ErrorCode;
use tansu_sans_io::record::deflated::Batch;

use super::producers::EPOCH;

/// Largest batch as it comes over the wire, compressed or not: Kafka's default `max.message.bytes`.
const LARGEST_BATCH: usize = 1_048_588;
/// Largest key and value of one record once unpacked. A record must fit in memory and in a fetch.
pub(super) const LARGEST_RECORD: usize = 32 * 1024 * 1024;
/// Largest batch once unpacked: the largest record and what may come with it.
const LARGEST_UNPACKED: usize = LARGEST_RECORD + LARGEST_BATCH;
/// What a record without key, value and headers takes.
const SMALLEST_RECORD: usize = 7;
/// Most records of a batch: as many as one without compression can hold.
const MOST_RECORDS: usize = LARGEST_BATCH / SMALLEST_RECORD;
/// Most headers of all records of a batch.
const MOST_HEADERS: usize = 1 << 20;
/// Widest window a zstd stream may ask for, as a power of two: about [`LARGEST_UNPACKED`].
const WIDEST_WINDOW: u32 = 25;

/// Where a batch's attributes say how it is compressed; zero is "not at all".
const COMPRESSION_BITS: i16 = 0b111;

/// Checks a batch and removes its compression. Takes no more memory than the limits above, whatever the batch says.
pub(super) fn unpack(batch: &Batch) -> Result<Batch, ErrorCode> {
    if batch.record_data.len() > LARGEST_BATCH {
        return Err(ErrorCode::MessageTooLarge);
    }
    if batch.is_transactional() || batch.is_control() {
        return Err(ErrorCode::InvalidTxnState);
    }
    if batch.is_idempotent() && batch.producer_epoch != EPOCH {
        return Err(ErrorCode::InvalidProducerEpoch);
    }
    let promised = i64::from(batch.last_offset_delta) + 1;
    if batch.record_count == 0 || i64::from(batch.record_count) != promised {
        return Err(ErrorCode::CorruptMessage);
    }
    let count = usize::try_from(batch.record_count)
        .ok()
        .filter(|count| *count <= MOST_RECORDS)
        .ok_or(ErrorCode::RecordListTooLarge)?;
    let record_data = inflate(batch)?;
    walk(&record_data, count)?;
    Ok(Batch {
        attributes: batch.attributes & !COMPRESSION_BITS,
        record_data,
        ..batch.clone()
    })
}

fn inflate(batch: &Batch) -> Result<Bytes, ErrorCode> {
    let packed = batch.record_data.clone();
    match batch.attributes & COMPRESSION_BITS {
        0 => Ok(packed),
        1 => read_all(flate2::read::GzDecoder::new(packed.reader())),
        2 => snappy(&packed),
        3 => read_all(lz4::Decoder::new(packed.reader()).map_err(corrupt)?),
        4 => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(packed.reader()).map_err(corrupt)?;
            decoder.window_log_max(WIDEST_WINDOW).map_err(corrupt)?;
            read_all(decoder)
        }
        _ => Err(ErrorCode::UnsupportedCompressionType),
    }
}

/// Kafka's code for bytes that are not what they should be; why, is for whoever wrote the client.
fn corrupt(_: impl std::error::Error) -> ErrorCode {
    ErrorCode::CorruptMessage
}

fn read_all(stream: impl Read) -> Result<Bytes, ErrorCode> {
    let mut plain = Vec::new();
    let most = LARGEST_UNPACKED as u64 + 1;
    stream.take(most).read_to_end(&mut plain).map_err(corrupt)?;
    if plain.len() > LARGEST_UNPACKED {
        return Err(ErrorCode::RecordListTooLarge);
    }
    Ok(Bytes::from(plain))
}

/// One block, as librdkafka sends it, or the frame of snappy-java: two versions, then blocks with their lengths.
fn snappy(packed: &[u8]) -> Result<Bytes, ErrorCode> {
    let block = |packed: &[u8], room: usize| {
        if snap::raw::decompress_len(packed).map_err(corrupt)? > room {
            return Err(ErrorCode::RecordListTooLarge);
        }
        snap::raw::Decoder::new()
            .decompress_vec(packed)
            .map_err(corrupt)
    };
    let Some(framed) = packed.strip_prefix(b"\x82SNAPPY\0") else {
        return block(packed, LARGEST_UNPACKED).map(Bytes::from);
    };
    let mut rest = framed.get(8..).ok_or(ErrorCode::CorruptMessage)?;
    let mut plain = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest
            .split_first_chunk::<4>()
            .ok_or(ErrorCode::CorruptMessage)?;
        let (packed, tail) = usize::try_from(u32::from_be_bytes(*length))
            .ok()
            .and_then(|length| tail.split_at_checked(length))
            .ok_or(ErrorCode::CorruptMessage)?;
        plain.extend_from_slice(&block(packed, LARGEST_UNPACKED - plain.len())?);
        rest = tail;
    }
    Ok(Bytes::from(plain))
}

/// Follows every length in the records, which the engine would believe.
fn walk(plain: &[u8], count: usize) -> Result<(), ErrorCode> {
    let mut cursor = Cursor(plain);
    let mut headers = 0;
    for _ in 0..count {
        let (content, found) = cursor.record().ok_or(ErrorCode::CorruptMessage)?;
        headers += found;
        if content > LARGEST_RECORD {
            return Err(ErrorCode::MessageTooLarge);
        }
        if headers > MOST_HEADERS {
            return Err(ErrorCode::RecordListTooLarge);
        }
    }
    Ok(())
}

/// What is left of the records; `None` wherever they end too early or make no sense.
struct Cursor<'b>(&'b [u8]);

impl Cursor<'_> {
    /// Length, attributes, time, offset, key, value, headers. Returns the bytes of key and value, and the headers.
    fn record(&mut self) -> Option<(usize, usize)> {
        self.varint(5)?;
        self.skip(1)?;
        self.varint(10)?;
        self.varint(5)?;
        let content = self.bytes()? + self.bytes()?;
        let headers = usize::try_from(self.varint(5)?).ok()?;
        // A header takes two bytes at least, so a count alone keeps the loop no longer than the batch is.
        if headers > self.0.len() / 2 {
            return None;
        }
        for _ in 0..headers {
            self.bytes()?;
            self.bytes()?;
        }
        Some((content, headers))
    }

    /// A length and that many bytes; -1 is "null".
    fn bytes(&mut self) -> Option<usize> {
        match self.varint(5)? {
            -1 => Some(0),
            length => self.skip(usize::try_from(length).ok()?),
        }
    }

    fn skip(&mut self, length: usize) -> Option<usize> {
        (_, self.0) = self.0.split_at_checked(length)?;
        Some(length)
    }

    /// A zigzag number of at most so many bytes: 5 for 32 bits, 10 for 64.
    fn varint(&mut self, most: u32) -> Option<i64> {
        let mut number = 0u64;
        for place in 0..most {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                let fits = most > 5 || u32::try_from(number).is_ok();
                return fits.then_some((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        None
    }
}
