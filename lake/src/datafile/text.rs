//! Columns of texts that repeat: each text once, rows as numbers.
//!
//! Arrow's own writer hashes the text of every row. Here a batch whose texts are numbered already (a dictionary array)
//! is not hashed at all.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int32Type;
use parquet::basic::Encoding;
use parquet::data_type::ByteArray;
use parquet::file::statistics::Statistics;

use super::chunk::Chunk;
use super::dictionary::Dictionary;
use super::levels::Levels;

/// Longest text that stands in statistics.
const LONGEST_BOUND: usize = 64;

/// The texts of one row group.
pub(super) struct TextChunk {
    texts: Dictionary,
    levels: Levels,
}

impl TextChunk {
    pub(super) fn new() -> TextChunk {
        TextChunk {
            texts: Dictionary::default(),
            levels: Levels::new(),
        }
    }

    /// Adds the rows of a text column, numbered or not. False: the array is neither.
    pub(super) fn push(&mut self, array: &ArrayRef) -> bool {
        let texts = if let Some(texts) = array.as_string_opt::<i32>() {
            self.texts.push_texts(texts);
            true
        } else if let Some(numbered) = array.as_dictionary_opt::<Int32Type>() {
            self.texts.push_numbered(numbered)
        } else {
            false
        };
        self.levels.push(array.as_ref());
        texts
    }

    /// The chunk as it is stored.
    pub(super) fn finish(self, optional: bool, bounds: bool) -> Chunk {
        let (rows, nulls) = (self.levels.rows(), self.levels.nulls());
        let statistics = bounds.then(|| self.statistics(nulls));
        if optional && self.levels.all_null() {
            return Chunk::nothing_but_nulls(rows);
        }
        let mut data = self.levels.page(optional);
        let dictionary = self.texts.finish(&mut data);
        Chunk {
            dictionary: Some(dictionary),
            data,
            encoding: Encoding::RLE_DICTIONARY,
            rows,
            values: rows,
            statistics,
        }
    }

    fn statistics(&self, nulls: usize) -> Statistics {
        let short = self.texts.texts().all(|text| text.len() <= LONGEST_BOUND);
        let bound = |text: Option<&[u8]>| {
            text.filter(|_| short)
                .map(|text| ByteArray::from(text.to_vec()))
        };
        let (least, most) = (
            bound(self.texts.texts().min()),
            bound(self.texts.texts().max()),
        );
        Statistics::byte_array(least, most, None, Some(nulls as u64), false)
    }
}
