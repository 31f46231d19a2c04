//! Which rows of a flat column have a value.

use arrow::array::{Array, BooleanBufferBuilder};

use super::hybrid;

/// One bit a row.
pub(super) struct Levels {
    valid: BooleanBufferBuilder,
    nulls: usize,
}

impl Levels {
    pub(super) fn new() -> Levels {
        Levels {
            valid: BooleanBufferBuilder::new(0),
            nulls: 0,
        }
    }

    pub(super) fn push(&mut self, array: &dyn Array) {
        self.nulls += array.null_count();
        match array.nulls() {
            Some(nulls) => self.valid.append_buffer(nulls.inner()),
            None => self.valid.append_n(array.len(), true),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.valid.len()
    }

    pub(super) fn nulls(&self) -> usize {
        self.nulls
    }

    /// Whether no row has a value.
    pub(super) fn all_null(&self) -> bool {
        self.nulls == self.rows()
    }

    /// As they begin a data page: length and bits. A column that may not be null has none.
    pub(super) fn page(self, optional: bool) -> Vec<u8> {
        if !optional {
            return Vec::new();
        }
        if self.nulls == 0 || self.all_null() {
            return all_alike(self.nulls == 0, self.rows());
        }
        with_length(|levels| hybrid::bits(self.valid.as_slice(), levels))
    }
}

/// The levels of so many rows without a value.
pub(super) fn nothing_but_nulls(rows: usize) -> Vec<u8> {
    all_alike(false, rows)
}

fn all_alike(valid: bool, rows: usize) -> Vec<u8> {
    with_length(|levels| hybrid::run(u32::from(valid), rows, 1, levels))
}

/// What `write` appends, after its length.
pub(super) fn with_length(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut levels = vec![0; 4];
    write(&mut levels);
    let length = (levels.len() - 4) as u32;
    levels[..4].copy_from_slice(&length.to_le_bytes());
    levels
}
