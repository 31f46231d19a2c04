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

    /// As they begin a data page: length and bits. A column that may not be null has none.
    pub(super) fn page(self, optional: bool) -> Vec<u8> {
        if !optional {
            return Vec::new();
        }
        let mut levels = vec![0; 4];
        if self.nulls == 0 || self.nulls == self.rows() {
            hybrid::run(u32::from(self.nulls == 0), self.rows(), 1, &mut levels);
        } else {
            hybrid::bits(self.valid.as_slice(), &mut levels);
        }
        let length = (levels.len() - 4) as u32;
        levels[..4].copy_from_slice(&length.to_le_bytes());
        levels
    }
}
