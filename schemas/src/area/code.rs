//! Area codes: which texts are codes, and how they become numbers.

use std::num::NonZeroU32;

/// Longest area code.
pub const MAX_CODE_LEN: usize = 12;

/// An interned area code: dense, starting at 1, valid for one [`super::AreaTree`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AreaId(NonZeroU32);

impl AreaId {
    pub(super) fn from_index(index: usize) -> Option<AreaId> {
        NonZeroU32::new(u32::try_from(index).ok()?.checked_add(1)?).map(AreaId)
    }

    /// Position in the tree, from 0: an index for dense tables of one entry per area.
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A code as a number: 1 to 12 characters of `0-9A-Z` in base 37 (0 = no character). `None` where the text is no code.
///
/// 37^12 < 2^63, so different codes have different numbers.
pub(super) fn pack(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_CODE_LEN {
        return None;
    }
    text.bytes().try_fold(0u64, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0' + 1,
            b'A'..=b'Z' => byte - b'A' + 11,
            _ => return None,
        };
        Some(number * 37 + u64::from(digit))
    })
}

/// The form padded with zeros to 12 digits, for codes in one of the shorter forms of the National Bureau of Statistics
/// (2, 4, 6 or 9 digits). Other codes are never padded: wards `1` and `10` of a city abroad must not meet.
pub(super) fn padded(code: &str) -> Option<String> {
    let nbs = matches!(code.len(), 2 | 4 | 6 | 9) && code.bytes().all(|b| b.is_ascii_digit());
    nbs.then(|| format!("{code:0<12}"))
}

/// A code kept in place instead of on the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    len: u8,
    bytes: [u8; MAX_CODE_LEN],
}

impl Short {
    /// Keeps a checked code: ASCII, at most [`MAX_CODE_LEN`] characters; more would be cut.
    pub fn of(code: &str) -> Short {
        let mut bytes = [0; MAX_CODE_LEN];
        let len = code.len().min(MAX_CODE_LEN);
        bytes[..len].copy_from_slice(&code.as_bytes()[..len]);
        Short {
            len: len as u8,
            bytes,
        }
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}
