//! Sums by hour, place, type, service and channel at three tiers, and their files.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, cast::AsArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rustc_hash::FxHasher;
use serde::Deserialize;

use crate::Result;

type Fx = BuildHasherDefault<FxHasher>;

const HOUR_MS: i64 = 3_600_000;
/// 2025-12-31T00:00Z: before the first event of the load.
const BEGIN_MS: i64 = 1_767_139_200_000;
/// A number of a word has ten bits.
const WORD: u64 = 0x3ff;

/// Of an event's members those that are summed or grouped by.
#[derive(Deserialize)]
pub struct Needed<'a> {
    event_id: &'a str,
    event_type: &'a str,
    occurred_at: &'a str,
    area_code: &'a str,
    service_code: &'a str,
    channel: &'a str,
    count: i64,
    amount_fen: Option<i64>,
}

/// Milliseconds since 1970 of `2026-01-01T00:00:00.000Z`, as the load writes instants; a whole second has no fraction.
fn instant(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        bytes.get(from..to)?.iter().try_fold(0, |sum, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days of the civil calendar, years from March on.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let millis = match bytes.get(19)? {
        b'Z' => 0,
        b'.' => number(20, 23)?,
        _ => return None,
    };
    Some(
        (((days * 24 + number(11, 13)?) * 60 + number(14, 16)?) * 60 + number(17, 19)?) * 1000
            + millis,
    )
}

/// Events, their counts and amounts.
type Sums = [i64; 3];

/// What one thread has seen.
#[derive(Default)]
pub struct Rollup {
    words: HashMap<Box<[u8]>, u64, Fx>,
    seen: hashbrown::HashSet<u64, Fx>,
    /// By `hour << 40 | area << 30 | type << 20 | service << 10 | channel`.
    sums: hashbrown::HashMap<u64, Sums, Fx>,
    twice: u64,
}

impl Rollup {
    fn number(&mut self, word: &str) -> u64 {
        if let Some(number) = self.words.get(word.as_bytes()) {
            return *number;
        }
        let number = self.words.len() as u64;
        self.words.insert(word.as_bytes().into(), number);
        number
    }

    pub fn add(&mut self, event: &Needed) -> Result<()> {
        let mut hash = FxHasher::default();
        event.event_id.hash(&mut hash);
        if !self.seen.insert(hash.finish()) {
            self.twice += 1;
            return Ok(());
        }
        let at = instant(event.occurred_at).ok_or("an instant in another form")?;
        let hour = ((at - BEGIN_MS) / HOUR_MS) as u64;
        let street = self.number(event.area_code.get(..9).ok_or("a short code")?);
        let kind = self.number(event.event_type);
        let service = self.number(event.service_code);
        let channel = self.number(event.channel);
        let key = hour << 40 | street << 30 | kind << 20 | service << 10 | channel;
        let sums = self.sums.entry(key).or_default();
        sums[0] += 1;
        sums[1] += event.count;
        sums[2] += event.amount_fen.unwrap_or(0);
        Ok(())
    }
}

/// Adds up neighbours with the same key.
fn fold(mut rows: Vec<(u64, Sums)>) -> Vec<(u64, Sums)> {
    rows.sort_by_key(|row| row.0);
    let mut folded: Vec<(u64, Sums)> = Vec::with_capacity(rows.len());
    for (key, sums) in rows {
        match folded.last_mut() {
            Some(last) if last.0 == key => (0..3).for_each(|i| last.1[i] += sums[i]),
            _ => folded.push((key, sums)),
        }
    }
    folded
}

/// Merges the threads' sums and writes a file a tier.
pub fn write(parts: Vec<Rollup>, out: &str) -> Result<()> {
    std::fs::create_dir_all(out)?;
    let mut words: Vec<Box<[u8]>> = parts
        .iter()
        .flat_map(|part| part.words.keys().cloned())
        .collect();
    words.sort();
    words.dedup();
    if words.len() as u64 > WORD {
        return Err("more words than fit a key".into());
    }
    let twice: u64 = parts.iter().map(|part| part.twice).sum();
    let mut rows = Vec::new();
    for part in parts {
        // From the thread's numbers to ranks, so that keys in order are rows in order.
        let mut ranks = vec![0u64; part.words.len()];
        for (word, number) in &part.words {
            let rank = words.binary_search(word).map_err(|_| "an unknown word")?;
            ranks[*number as usize] = rank as u64;
        }
        let rank = |key: u64, shift: u32| ranks[(key >> shift & WORD) as usize] << shift;
        rows.extend(part.sums.into_iter().map(|(key, sums)| {
            (
                key >> 40 << 40 | rank(key, 30) | rank(key, 20) | rank(key, 10) | rank(key, 0),
                sums,
            )
        }));
    }
    let street = fold(rows);
    let mut words: Vec<Vec<u8>> = words.into_iter().map(Vec::from).collect();
    let mut above = |rows: &[(u64, Sums)], length: usize| {
        let mut parents: HashMap<u64, u64> = HashMap::new();
        let rows = rows.iter().map(|(key, sums)| {
            let area = key >> 30 & WORD;
            let parent = *parents.entry(area).or_insert_with(|| {
                let code = words[area as usize][..length].to_vec();
                let known = words.iter().position(|word| *word == code);
                known.unwrap_or_else(|| {
                    words.push(code);
                    words.len() - 1
                }) as u64
            });
            (key & !(WORD << 30) | parent << 30, *sums)
        });
        fold(rows.collect())
    };
    let district = above(&street, 6);
    let city = above(&district, 4);
    for (tier, rows) in [("street", street), ("district", district), ("city", city)] {
        write_tier(tier, &rows, &words, out)?;
    }
    println!("{twice} events came twice");
    Ok(())
}

fn write_tier(tier: &str, rows: &[(u64, Sums)], words: &[Vec<u8>], out: &str) -> Result<()> {
    let word = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let hour = DataType::Timestamp(TimeUnit::Millisecond, None);
    let mut fields = vec![Field::new("hour", hour, false)];
    let named = ["area", "event_type", "service_code", "channel"];
    fields.extend(named.map(|name| Field::new(name, word.clone(), false)));
    let summed = ["n", "count_sum", "amount_sum"];
    fields.extend(summed.map(|name| Field::new(name, DataType::Int64, false)));
    let schema = Arc::new(Schema::new(fields));
    let texts: Vec<&str> = words
        .iter()
        .map(|word| std::str::from_utf8(word))
        .collect::<std::result::Result<_, _>>()?;
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(Default::default()))
        .build();
    let file = File::create(Path::new(out).join(format!("{tier}.parquet")))?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    for rows in rows.chunks(65_536) {
        let hours = rows
            .iter()
            .map(|row| BEGIN_MS + (row.0 >> 40) as i64 * HOUR_MS);
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(TimestampMillisecondArray::from_iter_values(hours))];
        for shift in [30, 20, 10, 0] {
            let numbers = rows.iter().map(|row| (row.0 >> shift & WORD) as i32);
            let numbers = Int32Array::from_iter_values(numbers);
            columns.push(Arc::new(DictionaryArray::<Int32Type>::try_new(
                numbers,
                Arc::clone(&texts),
            )?));
        }
        for sum in 0..3 {
            columns.push(Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|row| row.1[sum]),
            )));
        }
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.close()?;
    Ok(())
}

/// Prints rows and sums of each tier under `out`, as one JSON object.
pub fn check(out: &str) -> Result<()> {
    let mut tiers = Vec::new();
    for tier in ["street", "district", "city"] {
        let mut files = vec![Path::new(out).join(format!("{tier}.parquet"))];
        if let Ok(folder) = std::fs::read_dir(Path::new(out).join(tier)) {
            files = folder
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<std::io::Result<_>>()?;
            // Files that were begun and never finished begin with a dot.
            files.retain(|file| {
                !file
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with('.'))
            });
        }
        let (mut rows, mut sums) = (0, [0i64; 3]);
        for file in files {
            for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
                let batch = batch?;
                rows += batch.num_rows();
                for (sum, name) in sums.iter_mut().zip(["n", "count_sum", "amount_sum"]) {
                    let column = batch.column_by_name(name).ok_or("a column is missing")?;
                    let values = column.as_primitive::<Int64Type>();
                    *sum += values.iter().flatten().sum::<i64>();
                }
            }
        }
        let [events, count, amount] = sums;
        tiers.push(format!(
            r#""{tier}":{{"rows":{rows},"events":{events},"count":{count},"amount_fen":{amount}}}"#
        ));
    }
    println!("{{{}}}", tiers.join(","));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read() {
        assert_eq!(instant("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(instant("2026-03-01T00:00:00.123Z"), Some(1_772_323_200_123));
        assert_eq!(instant("2026-03-01 00:00"), None);
    }
}
