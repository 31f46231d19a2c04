//! Parquet's hybrid of runs and packed bits, in which dictionary numbers and levels are stored.

/// Bits needed for numbers up to `largest`.
pub(super) fn width(largest: u32) -> u8 {
    (u32::BITS - largest.leading_zeros()) as u8
}

/// Appends `numbers`, each of at most `width` bits. Eight equal numbers in a row become a run, the others are packed.
pub(super) fn encode(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    let (mut packed, mut at) = (0, 0);
    while let Some(group) = numbers.get(at..at + 8) {
        let first = group[0];
        if group.iter().any(|number| *number != first) {
            at += 8;
            continue;
        }
        let rest = &numbers[at + 8..];
        let more = rest.iter().take_while(|number| **number == first).count();
        pack(&numbers[packed..at], width, out);
        run(first, 8 + more, width, out);
        at += 8 + more;
        packed = at;
    }
    pack(&numbers[packed..], width, out);
}

/// The same number `times` times.
pub(super) fn run(number: u32, times: usize, width: u8, out: &mut Vec<u8>) {
    varint((times as u64) << 1, out);
    out.extend_from_slice(&number.to_le_bytes()[..usize::from(width).div_ceil(8)]);
}

/// Bits that are packed already, least significant first, eight in a byte.
pub(super) fn bits(packed: &[u8], out: &mut Vec<u8>) {
    varint(((packed.len() as u64) << 1) | 1, out);
    out.extend_from_slice(packed);
}

/// Groups of eight; the last one is filled up with zeros.
fn pack(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    if numbers.is_empty() {
        return;
    }
    varint(((numbers.len().div_ceil(8) as u64) << 1) | 1, out);
    let (mut held, mut bits) = (0u64, 0u32);
    let padding = std::iter::repeat_n(0, numbers.len().next_multiple_of(8) - numbers.len());
    for number in numbers.iter().copied().chain(padding) {
        held |= u64::from(number) << bits;
        bits += u32::from(width);
        if bits >= 32 {
            out.extend_from_slice(&(held as u32).to_le_bytes());
            held >>= 32;
            bits -= 32;
        }
    }
    // Eight numbers end on a whole byte.
    out.extend_from_slice(&held.to_le_bytes()[..(bits / 8) as usize]);
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_a_count_and_a_number() {
        let mut out = Vec::new();
        encode(&[5; 300], 3, &mut out);
        assert_eq!(out, [0b1101_1000, 0b0000_0100, 5]);
    }

    #[test]
    fn other_numbers_are_packed_least_significant_bits_first() {
        // The example of the Parquet format: 0 to 7 in three bits.
        let mut out = Vec::new();
        encode(&[0, 1, 2, 3, 4, 5, 6, 7], 3, &mut out);
        assert_eq!(out, [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
    }

    #[test]
    fn numbers_up_to_one_need_one_bit() {
        assert_eq!([0, 1, 2, 255, 256].map(width), [0, 1, 2, 8, 9]);
    }
}
