//! The distinct texts of a batch, told by number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use siji_schemas::vocabulary::Vocabulary;

/// Number of "no text".
pub(super) const NULL: u32 = 0;
/// Not asked for yet.
const UNKNOWN: u32 = u32::MAX;
/// Dictionaries remembered: those of the columns of one chunk, and some that just grew.
const REMEMBERED: usize = 8;

/// Distinct texts, numbered from 1; [`NULL`] is none.
#[derive(Debug, Default)]
pub(super) struct Texts {
    words: Vocabulary,
    /// Dictionaries of columns, with our number of each of their texts.
    known: Vec<(ArrayRef, Vec<u32>)>,
}

impl Texts {
    /// The numbers of a column's texts, row by row, into `numbers`. Rows that are not `wanted` get [`NULL`].
    pub(super) fn number_column(
        &mut self,
        column: &ArrayRef,
        wanted: &[bool],
        numbers: &mut Vec<u32>,
    ) -> Result<(), ArrowError> {
        numbers.clear();
        numbers.reserve(column.len());
        if let Some(texts) = column.as_string_opt::<i32>() {
            self.number_texts(texts, wanted, numbers);
            return Ok(());
        }
        let no_texts = || ArrowError::SchemaError("a column of words holds no texts".to_owned());
        let numbered = column
            .as_dictionary_opt::<Int32Type>()
            .ok_or_else(no_texts)?;
        if numbered.keys().null_count() == numbered.len() {
            numbers.resize(numbered.len(), NULL);
            return Ok(());
        }
        let texts = numbered.values();
        let at = self.remember(texts);
        let texts = texts.as_string_opt::<i32>().ok_or_else(no_texts)?;
        let Self { words, known } = self;
        translate(
            numbered.keys(),
            texts,
            wanted,
            words,
            &mut known[at].1,
            numbers,
        );
        Ok(())
    }

    fn number_texts(&mut self, texts: &StringArray, wanted: &[bool], numbers: &mut Vec<u32>) {
        // The same text often stands in many rows in a row.
        let mut last = ("", NULL);
        for (text, wanted) in texts.iter().zip(wanted) {
            numbers.push(match text.filter(|_| *wanted) {
                None => NULL,
                Some(text) if last.1 != NULL && last.0 == text => last.1,
                Some(text) => {
                    last = (text, number(&mut self.words, text));
                    last.1
                }
            });
        }
    }

    /// Where a dictionary stands among those known.
    fn remember(&mut self, texts: &ArrayRef) -> usize {
        let same = |(known, _): &(ArrayRef, Vec<u32>)| Arc::ptr_eq(known, texts);
        if let Some(at) = self.known.iter().position(same) {
            return at;
        }
        if self.known.len() == REMEMBERED {
            self.known.remove(0);
        }
        self.known
            .push((Arc::clone(texts), vec![UNKNOWN; texts.len()]));
        self.known.len() - 1
    }

    /// The text of a number; empty for [`NULL`].
    pub(super) fn text(&self, number: u32) -> &str {
        match number {
            NULL => "",
            _ => self.words.text(number as i32 - 1),
        }
    }

    /// How many, none included.
    pub(super) fn len(&self) -> usize {
        self.words.len() + 1
    }

    /// All of them as an array: the text of number 1 first.
    pub(super) fn array(&mut self) -> ArrayRef {
        self.words.texts()
    }

    /// The place of each text, by number, when all are sorted bytewise; none comes first.
    pub(super) fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (1..self.len() as u32).collect();
        order.sort_unstable_by_key(|number| self.text(*number));
        let mut ranks = vec![0; self.len()];
        for (rank, number) in (1..).zip(order) {
            ranks[number as usize] = rank;
        }
        ranks
    }
}

fn number(words: &mut Vocabulary, text: &str) -> u32 {
    words.number(text) as u32 + 1
}

fn translate(
    keys: &Int32Array,
    texts: &StringArray,
    wanted: &[bool],
    words: &mut Vocabulary,
    known: &mut [u32],
    numbers: &mut Vec<u32>,
) {
    let mut one = |key: i32| {
        let key = key as usize;
        if known[key] == UNKNOWN {
            known[key] = number(words, texts.value(key));
        }
        known[key]
    };
    match keys.nulls() {
        None => numbers.extend(
            keys.values().iter().zip(wanted).map(
                |(key, wanted)| {
                    if *wanted { one(*key) } else { NULL }
                },
            ),
        ),
        Some(nulls) => numbers.extend(keys.values().iter().zip(wanted).enumerate().map(
            |(row, (key, wanted))| {
                if *wanted && nulls.is_valid(row) {
                    one(*key)
                } else {
                    NULL
                }
            },
        )),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::DictionaryArray;

    use super::*;

    fn numbers(texts: &mut Texts, column: ArrayRef) -> Vec<u32> {
        let mut numbers = Vec::new();
        let wanted = vec![true; column.len()];
        texts.number_column(&column, &wanted, &mut numbers).unwrap();
        numbers
    }

    #[test]
    fn equal_texts_have_one_number_however_they_are_stored_and_ranks_follow_the_bytes() {
        let mut texts = Texts::default();
        let rows = [Some("b"), None, Some(""), Some("b"), Some("a")];
        let plain: ArrayRef = Arc::new(StringArray::from(rows.to_vec()));
        assert_eq!(numbers(&mut texts, plain), [1, NULL, 2, 1, 3]);
        let numbered: DictionaryArray<Int32Type> = [Some("c"), Some("a"), None, Some("b")]
            .into_iter()
            .collect();
        assert_eq!(numbers(&mut texts, Arc::new(numbered)), [4, 3, NULL, 1]);
        assert_eq!(texts.ranks(), [0, 3, 1, 2, 4]);
        let array = texts.array();
        let array: Vec<&str> = array.as_string::<i32>().iter().flatten().collect();
        assert_eq!(array, ["b", "", "a", "c"]);
    }

    #[test]
    fn rows_that_are_not_wanted_leave_no_text() {
        let mut texts = Texts::default();
        let column: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let mut numbers = Vec::new();
        texts
            .number_column(&column, &[false, true], &mut numbers)
            .unwrap();
        assert_eq!((numbers, texts.len()), (vec![NULL, 1], 2));
    }
}
