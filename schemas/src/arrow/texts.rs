//! A column of texts, numbered or not.

use arrow::array::{Array, AsArray, Int32Array, StringArray};
use arrow::datatypes::Int32Type;

/// A column of texts, read row by row.
#[derive(Debug, Clone, Copy)]
pub enum TextColumn<'a> {
    /// Each row has its text.
    Plain(&'a StringArray),
    /// Each row has the number of its text.
    Numbered {
        /// Numbers by row.
        keys: &'a Int32Array,
        /// Texts by number.
        texts: &'a StringArray,
    },
}

impl<'a> TextColumn<'a> {
    /// A column of either kind; `None` for any other.
    pub fn of(array: &'a dyn Array) -> Option<TextColumn<'a>> {
        if let Some(texts) = array.as_string_opt::<i32>() {
            return Some(TextColumn::Plain(texts));
        }
        let numbered = array.as_dictionary_opt::<Int32Type>()?;
        Some(TextColumn::Numbered {
            keys: numbered.keys(),
            texts: numbered.values().as_string_opt::<i32>()?,
        })
    }

    /// The text of a row. Panics, like arrays, when there is no such row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            TextColumn::Plain(texts) => texts.is_valid(row).then(|| texts.value(row)),
            TextColumn::Numbered { keys, texts } => keys
                .is_valid(row)
                .then(|| texts.value(keys.value(row) as usize)),
        }
    }

    /// All rows, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Option<&'a str>> {
        let rows = match self {
            TextColumn::Plain(texts) => texts.len(),
            TextColumn::Numbered { keys, .. } => keys.len(),
        };
        (0..rows).map(move |row| self.get(row))
    }
}
