//! Columns of texts by name (`attrs`): two Parquet columns, keys and values, each with its distinct texts once.
//!
//! Levels as the format has them: an entry repeats (1) or begins a row (0), and is defined as far as 0 the map is null,
//! 1 it is empty, 2 there is a key, 3 its value is not null; one less each where the map may not be null.

use arrow::array::{Array, ArrayRef, AsArray, MapArray};
use arrow::datatypes::DataType;
use parquet::basic::Encoding;

use super::chunk::Chunk;
use super::dictionary::Dictionary;
use super::hybrid;
use super::levels::with_length;

/// The maps of one row group.
pub(super) struct MapChunk {
    keys: Dictionary,
    values: Dictionary,
    repeats: Vec<u32>,
    /// Of the values, as if the map could be null.
    defined: Vec<u32>,
    rows: usize,
}

const NULL: u32 = 0;
const EMPTY: u32 = 1;
const KEY: u32 = 2;
const VALUE: u32 = 3;

impl MapChunk {
    /// For a column of this type; `None` if it is no map of texts that may be null by texts that may not.
    pub(super) fn of(data_type: &DataType) -> Option<MapChunk> {
        let DataType::Map(entries, _) = data_type else {
            return None;
        };
        let DataType::Struct(fields) = entries.data_type() else {
            return None;
        };
        let texts = fields.len() == 2
            && fields
                .iter()
                .all(|field| *field.data_type() == DataType::Utf8);
        let known = texts && !fields[0].is_nullable() && fields[1].is_nullable();
        known.then(|| MapChunk {
            keys: Dictionary::default(),
            values: Dictionary::default(),
            repeats: Vec::new(),
            defined: Vec::new(),
            rows: 0,
        })
    }

    /// Adds the rows of an array. False: it is of no type [`Self::of`] knows.
    pub(super) fn push(&mut self, array: &ArrayRef) -> bool {
        let Some(maps) = array.as_map_opt() else {
            return false;
        };
        let (Some(keys), Some(values)) = (
            maps.keys().as_string_opt::<i32>(),
            maps.values().as_string_opt::<i32>(),
        ) else {
            return false;
        };
        self.rows += maps.len();
        self.push_levels(maps);
        // What a null map spans, if anything, is no entry.
        for (from, length) in spans(maps) {
            self.keys.push_texts(&keys.slice(from, length));
            self.values.push_texts(&values.slice(from, length));
        }
        true
    }

    fn push_levels(&mut self, maps: &MapArray) {
        let values = maps.values();
        for (row, ends) in maps.value_offsets().windows(2).enumerate() {
            if maps.is_null(row) || ends[0] == ends[1] {
                self.repeats.push(0);
                let level = if maps.is_null(row) { NULL } else { EMPTY };
                self.defined.push(level);
                continue;
            }
            for entry in ends[0]..ends[1] {
                self.repeats.push(u32::from(entry > ends[0]));
                let null = values.is_null(entry as usize);
                self.defined.push(if null { KEY } else { VALUE });
            }
        }
    }

    /// Keys and values as they are stored.
    pub(super) fn finish(self, optional: bool) -> [Chunk; 2] {
        let least = u32::from(!optional);
        let levels = |most: u32| {
            let mut page = with_length(|levels| hybrid::encode(&self.repeats, 1, levels));
            let defined: Vec<u32> = self
                .defined
                .iter()
                .map(|level| (*level).min(most) - least)
                .collect();
            let width = hybrid::width(most - least);
            page.extend(with_length(|levels| {
                hybrid::encode(&defined, width, levels)
            }));
            page
        };
        let chunk = |texts: Dictionary, most: u32| {
            let mut data = levels(most);
            let none = texts.is_empty();
            Chunk {
                dictionary: (!none).then(|| texts.finish(&mut data)),
                data,
                encoding: if none {
                    Encoding::PLAIN
                } else {
                    Encoding::RLE_DICTIONARY
                },
                rows: self.rows,
                values: self.defined.len(),
                statistics: None,
            }
        };
        [chunk(self.keys, KEY), chunk(self.values, VALUE)]
    }
}

/// Runs of entries that belong to maps: where each begins, and how long it is.
fn spans(maps: &MapArray) -> Vec<(usize, usize)> {
    let offsets = maps.value_offsets();
    let (first, last) = (offsets[0] as usize, offsets[maps.len()] as usize);
    if maps.null_count() == 0 {
        return vec![(first, last - first)];
    }
    offsets
        .windows(2)
        .enumerate()
        .filter(|(row, ends)| maps.is_valid(*row) && ends[0] < ends[1])
        .map(|(_, ends)| (ends[0] as usize, (ends[1] - ends[0]) as usize))
        .collect()
}
