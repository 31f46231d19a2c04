//! Texts of a row group, each once, and the rows as numbers.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray};
use arrow::datatypes::Int32Type;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::hybrid;
use super::plain::push_text;

/// Not numbered yet.
const UNKNOWN: u32 = u32::MAX;

/// The texts and the numbers of the rows that have one.
#[derive(Default)]
pub(super) struct Dictionary {
    /// Distinct texts in plain encoding: length and bytes.
    plain: Vec<u8>,
    /// Where each text stands in `plain`.
    places: Vec<(usize, usize)>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    numbers: Vec<u32>,
    /// The last numbered texts, and what their numbers are here.
    known: Option<ArrayRef>,
    translated: Vec<u32>,
}

impl Dictionary {
    /// Adds the texts of an array, but for its nulls.
    pub(super) fn push_texts(&mut self, texts: &StringArray) {
        let mut last = ("", UNKNOWN);
        for text in texts.iter().flatten() {
            if last.1 == UNKNOWN || last.0 != text {
                last = (text, self.number(text));
            }
            self.numbers.push(last.1);
        }
    }

    /// The same of texts that are numbered already, which costs a table look-up a row. False: no texts are numbered.
    pub(super) fn push_numbered(&mut self, numbered: &DictionaryArray<Int32Type>) -> bool {
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
            return false;
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
        true
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
        push_text(text, &mut self.plain);
        let to = self.plain.len();
        self.places.push((to - text.len(), to));
        let (plain, places, hasher) = (&self.plain, &self.places, &self.hasher);
        self.table.insert_unique(hash, number, |number| {
            let (from, to) = places[*number as usize];
            hasher.hash_one(&plain[from..to])
        });
        number
    }

    /// The distinct texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|(from, to)| &self.plain[*from..*to])
    }

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Appends the numbers to a data page. The distinct texts in plain encoding, and how many.
    pub(super) fn finish(self, page: &mut Vec<u8>) -> (Vec<u8>, usize) {
        let width = hybrid::width((self.places.len() as u32).saturating_sub(1));
        page.push(width);
        hybrid::encode(&self.numbers, width, page);
        (self.plain, self.places.len())
    }
}
