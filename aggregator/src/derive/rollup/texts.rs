//! The distinct texts of a batch, told by number.

use std::hash::BuildHasher;

use arrow::array::{Array, StringArray};
use hashbrown::{DefaultHashBuilder, HashTable};

/// Number of "no text".
pub(super) const NULL: u32 = 0;

/// Distinct texts, numbered from 1; [`NULL`] is none.
#[derive(Debug)]
pub(super) struct Texts {
    joined: String,
    /// Where each text ends in `joined`; that of [`NULL`] is 0.
    ends: Vec<usize>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            joined: String::new(),
            ends: vec![0],
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl Texts {
    /// The numbers of a column's texts, row by row, into `numbers`.
    pub(super) fn number_column(&mut self, column: &StringArray, numbers: &mut Vec<u32>) {
        numbers.clear();
        // The same text often stands in many rows in a row.
        let mut last = ("", NULL);
        for row in 0..column.len() {
            if column.is_null(row) {
                numbers.push(NULL);
                continue;
            }
            let text = column.value(row);
            if last.1 == NULL || last.0 != text {
                last = (text, self.number(text));
            }
            numbers.push(last.1);
        }
    }

    fn number(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text);
        let found = self.table.find(hash, |number| {
            value(&self.joined, &self.ends, *number) == text
        });
        if let Some(number) = found {
            return *number;
        }
        let number = self.ends.len() as u32;
        self.joined.push_str(text);
        self.ends.push(self.joined.len());
        let Self {
            joined,
            ends,
            table,
            hasher,
        } = self;
        table.insert_unique(hash, number, |number| {
            hasher.hash_one(value(joined, ends, *number))
        });
        number
    }

    /// The text of a number; empty for [`NULL`].
    pub(super) fn text(&self, number: u32) -> &str {
        value(&self.joined, &self.ends, number)
    }

    /// How many, none included.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All of them, by number, as an array whose first value is null.
    pub(super) fn array(&self) -> StringArray {
        (0..self.ends.len() as u32)
            .map(|number| (number != NULL).then(|| self.text(number)))
            .collect()
    }

    /// The place of each text, by number, when all are sorted bytewise; none comes first.
    pub(super) fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (1..self.ends.len() as u32).collect();
        order.sort_unstable_by_key(|number| self.text(*number));
        let mut ranks = vec![0; self.ends.len()];
        for (rank, number) in (1..).zip(order) {
            ranks[number as usize] = rank;
        }
        ranks
    }
}

fn value<'t>(joined: &'t str, ends: &[usize], number: u32) -> &'t str {
    let number = number as usize;
    match number.checked_sub(1) {
        Some(before) => &joined[ends[before]..ends[number]],
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_one_number_and_ranks_follow_the_bytes() {
        let mut texts = Texts::default();
        let mut numbers = Vec::new();
        let column = StringArray::from(vec![Some("b"), None, Some(""), Some("b"), Some("a")]);
        texts.number_column(&column, &mut numbers);
        assert_eq!(numbers, [1, NULL, 2, 1, 3]);
        assert_eq!(texts.ranks(), [0, 3, 1, 2]);
        let array = texts.array();
        assert!(array.is_null(0));
        assert_eq!(
            (array.value(1), array.value(2), array.value(3)),
            ("b", "", "a")
        );
    }
}
