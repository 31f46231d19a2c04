//! Distinct keys, told by number: the `GROUP BY` of the roll-up.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

/// Distinct keys, numbered from 0 in order of first appearance. Holds at most `u32::MAX` keys; see
/// [`super::rollup::Rollup::add`], which refuses more rows than that.
#[derive(Debug)]
pub(super) struct Numbered<K> {
    keys: Vec<K>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<K> Default for Numbered<K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<K: Copy + Eq + Hash> Numbered<K> {
    /// With room for so many keys.
    pub(super) fn with_capacity(keys: usize) -> Self {
        Self {
            keys: Vec::with_capacity(keys),
            table: HashTable::with_capacity(keys),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// The number of a key; a new one is given if need be.
    pub(super) fn number(&mut self, key: K) -> u32 {
        let Self {
            keys,
            table,
            hasher,
        } = self;
        let hash = hasher.hash_one(key);
        if let Some(number) = table.find(hash, |number| keys[*number as usize] == key) {
            return *number;
        }
        let number = keys.len() as u32;
        keys.push(key);
        table.insert_unique(hash, number, |number| {
            hasher.hash_one(keys[*number as usize])
        });
        number
    }

    /// All keys, by number.
    pub(super) fn keys(&self) -> &[K] {
        &self.keys
    }

    /// The same, without the way back from key to number.
    pub(super) fn into_keys(self) -> Vec<K> {
        self.keys
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}
