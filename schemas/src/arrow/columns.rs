//! Collecting one column, row by row.
//!
//! Most columns of an event are absent most of the time, so an absent value must cost next to nothing: whether there is
//! one is a byte a row until the column is finished.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, DictionaryArray, Int32Array, PrimitiveArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;

use super::absent::absent;
use super::word_type;
use crate::vocabulary::Vocabulary;

/// Which rows have a value.
#[derive(Debug, Default)]
struct Present {
    rows: Vec<bool>,
    absent: usize,
}

impl Present {
    #[inline]
    fn push(&mut self, present: bool) {
        self.rows.push(present);
        self.absent += usize::from(!present);
    }

    /// Starts anew. `Err`: so many rows, and none has a value.
    fn finish(&mut self) -> Result<Option<NullBuffer>, usize> {
        let rows = self.rows.len();
        let all_absent = self.absent == rows;
        let nulls = (self.absent > 0 && !all_absent)
            .then(|| NullBuffer::new(BooleanBuffer::from(self.rows.as_slice())));
        self.rows.clear();
        self.absent = 0;
        if all_absent { Err(rows) } else { Ok(nulls) }
    }
}

/// What was collected; the next batch, probably as large, begins with room for as much instead of growing to it.
fn take_as_large<T>(collected: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(collected.len());
    std::mem::replace(collected, next)
}

/// Numbers and instants.
#[derive(Debug)]
pub(super) struct NumberBuilder<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    present: Present,
}

impl<T: ArrowPrimitiveType> Default for NumberBuilder<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            present: Present::default(),
        }
    }
}

impl<T: ArrowPrimitiveType> NumberBuilder<T> {
    #[inline]
    pub(super) fn append_option(&mut self, value: Option<T::Native>) {
        self.values.push(value.unwrap_or_default());
        self.present.push(value.is_some());
    }

    /// The column so far, of a type with the layout of `T`.
    pub(super) fn finish(&mut self, data_type: DataType) -> ArrayRef {
        match self.present.finish() {
            Err(rows) => {
                self.values.clear();
                absent(&data_type, rows)
            }
            Ok(nulls) => {
                let values = ScalarBuffer::from(take_as_large(&mut self.values));
                Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(data_type))
            }
        }
    }
}

/// Texts that hardly repeat.
#[derive(Debug, Default)]
pub(super) struct TextBuilder {
    joined: String,
    ends: Vec<i32>,
    present: Present,
}

impl TextBuilder {
    #[inline]
    pub(super) fn append_option(&mut self, text: Option<&str>) {
        self.joined.push_str(text.unwrap_or_default());
        self.ends.push(self.joined.len() as i32);
        self.present.push(text.is_some());
    }

    /// The column so far.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        match self.present.finish() {
            Err(rows) => {
                self.ends.clear();
                Ok(absent(&DataType::Utf8, rows))
            }
            Ok(nulls) => {
                let next = String::with_capacity(self.joined.len());
                let joined = std::mem::replace(&mut self.joined, next);
                let ends = self.ends.drain(..);
                let offsets: ScalarBuffer<i32> = std::iter::once(0).chain(ends).collect();
                let texts = Buffer::from_vec(joined.into_bytes());
                let texts = StringArray::try_new(OffsetBuffer::new(offsets), texts, nulls)?;
                Ok(Arc::new(texts))
            }
        }
    }
}

/// Texts that repeat, as numbers.
#[derive(Debug, Default)]
pub(super) struct WordBuilder {
    keys: Vec<i32>,
    present: Present,
    /// The last number, for the next row often has the same.
    last: Option<i32>,
}

impl WordBuilder {
    #[inline]
    pub(super) fn append_option(&mut self, text: Option<&str>, words: &mut Vocabulary) {
        self.present.push(text.is_some());
        let number = match (text, self.last) {
            (None, _) => 0,
            (Some(text), Some(last)) if words.text(last) == text => last,
            (Some(text), _) => {
                let number = words.number(text);
                self.last = Some(number);
                number
            }
        };
        self.keys.push(number);
    }

    /// The column so far. The vocabulary may be another one afterwards.
    pub(super) fn finish(&mut self, texts: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        self.last = None;
        match self.present.finish() {
            Err(rows) => {
                self.keys.clear();
                Ok(absent(&word_type(), rows))
            }
            Ok(nulls) => {
                let keys = Int32Array::try_new(take_as_large(&mut self.keys).into(), nulls)?;
                let numbered = DictionaryArray::<Int32Type>::try_new(keys, Arc::clone(texts))?;
                Ok(Arc::new(numbered))
            }
        }
    }
}
