//! A run of records of one partition, copied out of the client once.

use rdkafka::message::{BorrowedMessage, Headers, Message, Timestamp};
use siji_schemas::wire;

/// Records of one partition in offset order, in one buffer.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The partition.
    pub partition: i32,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    timestamp_ms: Option<i64>,
    appended: bool,
    key: Option<(usize, usize)>,
    value: Option<(usize, usize)>,
    refused: Option<Box<RefusedBy>>,
}

/// What a collector says of a record that it refused, in the headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedBy {
    /// `siji-code`
    pub code: String,
    /// `siji-field`
    pub field: Option<String>,
    /// `siji-reason`
    pub reason: String,
    /// `siji-source`
    pub source: Option<String>,
    /// `siji-incarnation`
    pub incarnation: Option<i64>,
    /// `siji-seq`
    pub seq: Option<i64>,
    /// `siji-sha256`: of bytes that the collector withheld or cut.
    pub sha256: Option<String>,
    /// `siji-length`: how many they were.
    pub length: Option<i64>,
}

/// One record, borrowed from its chunk.
#[derive(Debug, Clone, Copy)]
pub struct Record<'c> {
    /// Its offset.
    pub offset: i64,
    /// Its time as Kafka has it, milliseconds UTC.
    pub timestamp_ms: Option<i64>,
    /// Whether that is the broker's clock and not its producer's.
    pub appended: bool,
    /// Its key.
    pub key: Option<&'c [u8]>,
    /// Its value.
    pub value: Option<&'c [u8]>,
    /// Set on a record that a collector refused.
    pub refused: Option<&'c RefusedBy>,
}

impl Record<'_> {
    /// When it was received: by the broker's clock, unless its producer made that up or it is in the future.
    pub fn received_ms(&self, now_ms: i64) -> i64 {
        self.timestamp_ms
            .filter(|_| self.appended)
            .map_or(now_ms, |ms| ms.min(now_ms))
    }
}

impl Chunk {
    /// An empty chunk of a partition.
    pub fn new(partition: i32) -> Self {
        Self {
            partition,
            ..Self::default()
        }
    }

    /// Adds a record.
    pub fn push(
        &mut self,
        offset: i64,
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        refused: Option<RefusedBy>,
    ) {
        let mut keep = |part: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            (start, self.bytes.len())
        };
        let (key, value) = (key.map(&mut keep), value.map(&mut keep));
        self.entries.push(Entry {
            offset,
            timestamp_ms,
            appended: false,
            key,
            value,
            refused: refused.map(Box::new),
        });
    }

    pub(super) fn push_message(&mut self, message: &BorrowedMessage<'_>) {
        let timestamp = message.timestamp();
        self.push(
            message.offset(),
            timestamp.to_millis(),
            message.key(),
            message.payload(),
            refused_by(message),
        );
        if let Some(entry) = self.entries.last_mut() {
            entry.appended = matches!(timestamp, Timestamp::LogAppendTime(_));
        }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys and values.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The records in order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.entries.iter().map(|entry| self.record(entry))
    }

    /// The record of a row. Panics, like slices, when out of range.
    pub fn get(&self, row: usize) -> Record<'_> {
        self.record(&self.entries[row])
    }

    /// The records from `row` on; those before stay. Panics, like slices, when out of range.
    pub fn split_off(&mut self, row: usize) -> Chunk {
        let mut rest = Chunk::new(self.partition);
        for entry in self.entries.split_off(row) {
            let record = self.record(&entry);
            rest.push(
                record.offset,
                record.timestamp_ms,
                record.key,
                record.value,
                None,
            );
            if let Some(kept) = rest.entries.last_mut() {
                kept.appended = entry.appended;
                kept.refused = entry.refused;
            }
        }
        rest
    }

    fn record<'c>(&'c self, entry: &'c Entry) -> Record<'c> {
        let part =
            |range: Option<(usize, usize)>| range.map(|(start, end)| &self.bytes[start..end]);
        Record {
            offset: entry.offset,
            timestamp_ms: entry.timestamp_ms,
            appended: entry.appended,
            key: part(entry.key),
            value: part(entry.value),
            refused: entry.refused.as_deref(),
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn refused_by(message: &BorrowedMessage<'_>) -> Option<RefusedBy> {
    let headers = message.headers()?;
    let mut refused = RefusedBy::default();
    for header in headers.iter() {
        let Some(value) = header.value else { continue };
        // Whoever writes to the topic writes the headers too: anything may stand there, at any length.
        let text = || {
            String::from_utf8_lossy(value)
                .chars()
                .take(500)
                .collect::<String>()
        };
        match header.key {
            wire::HEADER_CODE => refused.code = text(),
            wire::HEADER_FIELD => refused.field = Some(text()),
            wire::HEADER_REASON => refused.reason = text(),
            wire::HEADER_SOURCE => refused.source = Some(text()),
            wire::HEADER_INCARNATION => refused.incarnation = text().parse().ok(),
            wire::HEADER_SEQ => refused.seq = text().parse().ok(),
            wire::HEADER_LENGTH => refused.length = text().parse().ok().filter(|n| *n >= 0),
            wire::HEADER_SHA256 => refused.sha256 = Some(text()).filter(|text| is_digest(text)),
            _ => {}
        }
    }
    (!refused.code.is_empty()).then_some(refused)
}
