//! Columns of texts that repeat: each text once, rows as numbers.
//!
//! Arrow's own writer hashes the text of every row. Here a batch whose texts are numbered already (a dictionary array)
//! costs a table look-up a row.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray};
use arrow::datatypes::Int32Type;
use hashbrown::{DefaultHashBuilder, HashTable};
use parquet::basic::Encoding;
use parquet::data_type::ByteArray;
use parquet::file::statistics::Statistics;

use super::chunk::Chunk;
use super::hybrid;
use super::levels::Levels;

/// Not numbered yet.
const UNKNOWN: u32 = u32::MAX;
/// Longest text that stands in statistics.
const LONGEST_BOUND: usize = 64;

/// The texts of one row group.
pub(super) struct TextChunk {
    /// Distinct texts in plain encoding: length and bytes.
    plain: Vec<u8>,
    /// Where each text stands in `plain`.
    places: Vec<(usize, usize)>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    numbers: Vec<u32>,
    levels: Levels,
    /// The last dictionary, and what its numbers are here.
    known: Option<ArrayRef>,
    translated: Vec<u32>,
}

impl TextChunk {
    pub(super) fn new() -> TextChunk {
        TextChunk {
            plain: Vec::new(),
            places: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            numbers: Vec::new(),
            levels: Levels::new(),
            known: None,
            translated: Vec::new(),
        }
    }

    /// Adds the rows of a text column, numbered or not. False: the array is neither.
    pub(super) fn push(&mut self, array: &ArrayRef) -> bool {
        if let Some(texts) = array.as_string_opt::<i32>() {
            self.push_texts(texts);
        } else if let Some(numbered) = array.as_dictionary_opt::<Int32Type>() {
            self.push_numbered(numbered);
        } else {
            return false;
        }
        self.levels.push(array.as_ref());
        true
    }

    fn push_texts(&mut self, texts: &StringArray) {
        let mut last = ("", UNKNOWN);
        for text in texts.iter().flatten() {
            if last.1 == UNKNOWN || last.0 != text {
                last = (text, self.number(text));
            }
            self.numbers.push(last.1);
        }
    }

    fn push_numbered(&mut self, numbered: &DictionaryArray<Int32Type>) {
        let texts = numbered.values();
        if !self
            .known
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, texts))
        {
            self.translated.clear();
            self.translated.resize(texts.len(), UNKNOWN);
            self.known = Some(Arc::clone(texts));
        }
        let Some(texts) = texts.as_string_opt::<i32>() else {
            return;
        };
        let keys = numbered.keys();
        self.numbers.reserve(keys.len() - keys.null_count());
        if keys.null_count() == 0 {
            for key in keys.values() {
                self.push_key(*key, texts);
            }
        } else {
            for key in keys.iter().flatten() {
                self.push_key(key, texts);
            }
        }
    }

    #[inline]
    fn push_key(&mut self, key: i32, texts: &StringArray) {
        let key = key as usize;
        let mut number = self.translated[key];
        if number == UNKNOWN {
            number = self.number(texts.value(key));
            self.translated[key] = number;
        }
        self.numbers.push(number);
    }

    fn number(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text.as_bytes());
        let (plain, places) = (&self.plain, &self.places);
        let at = |number: &u32| {
            let (from, to) = places[*number as usize];
            &plain[from..to]
        };
        if let Some(number) = self
            .table
            .find(hash, |number| at(number) == text.as_bytes())
        {
            return *number;
        }
        let number = self.places.len() as u32;
        self.plain
            .extend_from_slice(&(text.len() as u32).to_le_bytes());
        let from = self.plain.len();
        self.plain.extend_from_slice(text.as_bytes());
        self.places.push((from, self.plain.len()));
        let (plain, places, hasher) = (&self.plain, &self.places, &self.hasher);
        self.table.insert_unique(hash, number, |number| {
            let (from, to) = places[*number as usize];
            hasher.hash_one(&plain[from..to])
        });
        number
    }

    /// The chunk as it is stored.
    pub(super) fn finish(self, optional: bool, bounds: bool) -> Chunk {
        let (rows, nulls) = (self.levels.rows(), self.levels.nulls());
        let statistics = bounds.then(|| self.statistics(nulls));
        if optional && self.levels.all_null() {
            return Chunk {
                dictionary: None,
                data: self.levels.page(true),
                encoding: Encoding::PLAIN,
                rows,
                statistics: None,
            };
        }
        let mut data = self.levels.page(optional);
        let width = hybrid::width((self.places.len() as u32).saturating_sub(1));
        data.push(width);
        hybrid::encode(&self.numbers, width, &mut data);
        Chunk {
            dictionary: Some((self.plain, self.places.len())),
            data,
            encoding: Encoding::RLE_DICTIONARY,
            rows,
            statistics,
        }
    }

    fn statistics(&self, nulls: usize) -> Statistics {
        let texts = || self.places.iter().map(|(from, to)| &self.plain[*from..*to]);
        let short = texts().all(|text| text.len() <= LONGEST_BOUND);
        let bound = |text: Option<&[u8]>| {
            text.filter(|_| short)
                .map(|text| ByteArray::from(text.to_vec()))
        };
        let (least, most) = (bound(texts().min()), bound(texts().max()));
        Statistics::byte_array(least, most, None, Some(nulls as u64), false)
    }
}
