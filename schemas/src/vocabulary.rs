//! Texts told by number.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use hashbrown::{DefaultHashBuilder, HashTable};

/// Distinct texts, numbered from 0 in order of first appearance.
#[derive(Debug)]
pub struct Vocabulary {
    joined: String,
    /// Where each text ends in `joined`, after a 0.
    ends: Vec<i32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// All texts as an array, until there are more.
    shared: Option<ArrayRef>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self {
            joined: String::new(),
            ends: vec![0],
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            shared: None,
        }
    }
}

impl Vocabulary {
    /// Bytes of text beyond which a vocabulary should be begun anew: arrays count them in 32 bits.
    pub const FULL: usize = 4 << 20;

    /// The number of a text; a new one is given if need be.
    #[inline]
    pub fn number(&mut self, text: &str) -> i32 {
        let hash = self.hasher.hash_one(text);
        let (joined, ends) = (&self.joined, &self.ends);
        match self
            .table
            .find(hash, |number| value(joined, ends, *number) == text)
        {
            Some(number) => *number as i32,
            None => self.add(text, hash),
        }
    }

    #[cold]
    fn add(&mut self, text: &str, hash: u64) -> i32 {
        let number = self.len() as u32;
        self.joined.push_str(text);
        self.ends.push(self.joined.len() as i32);
        self.shared = None;
        let Self {
            joined,
            ends,
            table,
            hasher,
            ..
        } = self;
        table.insert_unique(hash, number, |number| {
            hasher.hash_one(value(joined, ends, *number))
        });
        number as i32
    }

    /// The text of a number. Panics, like slices, when there is none.
    #[inline]
    pub fn text(&self, number: i32) -> &str {
        value(&self.joined, &self.ends, number as u32)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it should be begun anew; see [`Self::FULL`].
    pub fn is_full(&self) -> bool {
        self.joined.len() > Self::FULL || self.len() > Self::FULL / 16
    }

    /// All of them, by number. The same array again while none is added.
    pub fn texts(&mut self) -> ArrayRef {
        let Self {
            joined,
            ends,
            shared,
            ..
        } = self;
        let texts = shared.get_or_insert_with(|| {
            let ends = OffsetBuffer::new(ScalarBuffer::from(ends.clone()));
            let joined = Buffer::from(joined.as_bytes());
            Arc::new(StringArray::new(ends, joined, None))
        });
        Arc::clone(texts)
    }
}

#[inline]
fn value<'t>(joined: &'t str, ends: &[i32], number: u32) -> &'t str {
    let number = number as usize;
    &joined[ends[number] as usize..ends[number + 1] as usize]
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn equal_texts_have_one_number_and_the_array_is_shared_until_it_grows() {
        let mut words = Vocabulary::default();
        let numbers = ["b", "", "b", "文"].map(|text| words.number(text));
        assert_eq!(numbers, [0, 1, 0, 2]);
        let texts = words.texts();
        let read: Vec<&str> = texts.as_string::<i32>().iter().flatten().collect();
        assert_eq!(read, ["b", "", "文"]);
        assert!(Arc::ptr_eq(&texts, &words.texts()));
        words.number("c");
        assert_eq!(words.texts().len(), 4);
        assert_eq!(words.text(3), "c");
    }
}
