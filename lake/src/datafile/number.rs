//! Columns of whole numbers, instants, days and short decimals: differences, packed (`DELTA_BINARY_PACKED`).
//!
//! Nearly all of them rise slowly, repeat or are small, so a row takes a few bits, and none needs a dictionary.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use parquet::basic::Encoding;
use parquet::file::statistics::Statistics;

use super::chunk::Chunk;
use super::levels::Levels;

/// Numbers in a block, and in each of its four parts.
const BLOCK: usize = 128;
const PART: usize = 32;

/// The numbers of one row group.
pub(super) struct NumberChunk {
    numbers: Vec<i64>,
    levels: Levels,
    wide: bool,
}

impl NumberChunk {
    /// For a column of this type; `None` if it holds no whole numbers.
    pub(super) fn of(data_type: &DataType) -> Option<NumberChunk> {
        let wide = match data_type {
            DataType::Int32 | DataType::Date32 => false,
            DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) => true,
            // As Parquet stores decimals of so many digits.
            DataType::Decimal128(10..=18, _) => true,
            _ => return None,
        };
        Some(NumberChunk {
            numbers: Vec::new(),
            levels: Levels::new(),
            wide,
        })
    }

    /// Adds the rows of an array. False: it is of no type [`Self::of`] knows.
    pub(super) fn push(&mut self, array: &ArrayRef) -> bool {
        match array.data_type() {
            DataType::Int32 => self.push_values(array.as_primitive::<Int32Type>()),
            DataType::Date32 => self.push_values(array.as_primitive::<Date32Type>()),
            DataType::Int64 => self.push_values(array.as_primitive::<Int64Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                self.push_values(array.as_primitive::<TimestampMicrosecondType>());
            }
            DataType::Decimal128(..) => {
                for digits in array.as_primitive::<Decimal128Type>().iter().flatten() {
                    let Ok(digits) = i64::try_from(digits) else {
                        return false;
                    };
                    self.numbers.push(digits);
                }
            }
            _ => return false,
        }
        self.levels.push(array.as_ref());
        true
    }

    fn push_values<T>(&mut self, array: &PrimitiveArray<T>)
    where
        T: ArrowPrimitiveType,
        T::Native: Into<i64>,
    {
        if array.null_count() == 0 {
            self.numbers
                .extend(array.values().iter().map(|number| (*number).into()));
        } else {
            self.numbers.extend(array.iter().flatten().map(Into::into));
        }
    }

    /// The chunk as it is stored.
    pub(super) fn finish(self, optional: bool, bounds: bool) -> Chunk {
        let (rows, nulls) = (self.levels.rows(), self.levels.nulls());
        let statistics = bounds.then(|| self.statistics(nulls));
        if optional && self.levels.all_null() {
            return Chunk::nothing_but_nulls(rows);
        }
        let mut data = self.levels.page(optional);
        if self.wide {
            encode::<64>(&self.numbers, &mut data);
        } else {
            encode::<32>(&self.numbers, &mut data);
        }
        Chunk {
            dictionary: None,
            data,
            encoding: Encoding::DELTA_BINARY_PACKED,
            rows,
            values: rows,
            statistics,
        }
    }

    fn statistics(&self, nulls: usize) -> Statistics {
        let (least, most) = (self.numbers.iter().min(), self.numbers.iter().max());
        let nulls = Some(nulls as u64);
        if self.wide {
            Statistics::int64(least.copied(), most.copied(), None, nulls, false)
        } else {
            // They came from 32 bits.
            let narrow = |number: Option<&i64>| number.map(|number| *number as i32);
            Statistics::int32(narrow(least), narrow(most), None, nulls, false)
        }
    }
}

/// First number, then blocks of differences; differences wrap around at the type's width.
fn encode<const BITS: u32>(numbers: &[i64], out: &mut Vec<u8>) {
    for header in [BLOCK as u64, (BLOCK / PART) as u64, numbers.len() as u64] {
        varint(header, out);
    }
    varint(zigzag(numbers.first().copied().unwrap_or_default()), out);
    let narrow = |difference: i64| {
        if BITS == 32 {
            i64::from(difference as i32)
        } else {
            difference
        }
    };
    let mut differences = [0i64; BLOCK];
    for block in 0..numbers.len().saturating_sub(1).div_ceil(BLOCK) {
        let from = block * BLOCK;
        let ahead = &numbers[from + 1..numbers.len().min(from + 1 + BLOCK)];
        for (difference, (number, before)) in differences
            .iter_mut()
            .zip(ahead.iter().zip(&numbers[from..]))
        {
            *difference = narrow(number.wrapping_sub(*before));
        }
        let differences = &differences[..ahead.len()];
        let least = differences.iter().copied().min().unwrap_or_default();
        varint(zigzag(least), out);
        let widths = out.len();
        out.extend_from_slice(&[0; BLOCK / PART]);
        for (part, differences) in differences.chunks(PART).enumerate() {
            let mut above = [0u64; PART];
            let mut any = 0;
            for (above, difference) in above.iter_mut().zip(differences) {
                let wrapped = difference.wrapping_sub(least) as u64;
                *above = if BITS == 32 {
                    wrapped & u64::from(u32::MAX)
                } else {
                    wrapped
                };
                any |= *above;
            }
            let width = u64::BITS - any.leading_zeros();
            out[widths + part] = width as u8;
            pack(&above, width, out);
        }
    }
}

/// 32 numbers of `width` bits, least significant first.
fn pack(numbers: &[u64; PART], width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut held, mut bits) = (0u128, 0);
    for number in numbers {
        held |= u128::from(*number) << bits;
        bits += width;
        if bits >= 64 {
            out.extend_from_slice(&(held as u64).to_le_bytes());
            held >>= 64;
            bits -= 64;
        }
    }
    // 32 numbers end on a multiple of four bytes.
    out.extend_from_slice(&(held as u64).to_le_bytes()[..(bits / 8) as usize]);
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
