//! The scanner: one pass over the bytes, from one run of digits to the next.

/// Fewest digits of any number that is looked for.
const FEWEST_DIGITS: usize = 11;

/// Whether the bytes hold a raw identity or mobile number; see the module's documentation for what is found.
///
/// Works on text and on raw payloads (JSON, Avro, damaged). In binary Avro a length byte that is itself an ASCII digit
/// may hide the number that follows it, and JSON escapes (`\u0031`) are not resolved.
pub fn contains_raw_personal(bytes: &[u8]) -> bool {
    if bytes.len() < FEWEST_DIGITS || possible_digits(bytes) < FEWEST_DIGITS as u32 {
        return false;
    }
    let mut before: [Option<Run>; 2] = [None; 2];
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if !byte.is_ascii_digit() && byte != FULL_WIDTH_LEAD {
            at += 1;
            continue;
        }
        let Some(run) = Run::read(bytes, at) else {
            at += 1;
            continue;
        };
        let found = run.number(bytes).or_else(|| grouped(bytes, before, run));
        if found.is_some_and(|(start, end)| !inside_identifier(bytes, start, end)) {
            return true;
        }
        before = [before[1], Some(run)];
        at = run.end;
    }
    false
}

const FULL_WIDTH_LEAD: u8 = 0xEF;

/// At most so many digits are in there, told eight bytes at a time: most texts need no closer look. Needs eight bytes.
pub(super) fn possible_digits(bytes: &[u8]) -> u32 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The high bit of every byte of `x` that is below `bound`.
    let below = |x: u64, bound: u64| !(((x & LOW) + (128 - bound) * ONES) | x) & !LOW;
    let count = |word: u64| {
        let digits = below(word ^ (u64::from(b'0') * ONES), 10);
        let leads = below(word ^ (u64::from(FULL_WIDTH_LEAD) * ONES), 1);
        (digits | leads).count_ones()
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let whole: u32 = words
        .iter()
        .map(|word| count(u64::from_le_bytes(*word)))
        .sum();
    // The rest is the upper end of the last eight bytes; what is shifted in is no digit.
    let last = bytes
        .last_chunk::<8>()
        .filter(|_| !rest.is_empty())
        .map_or(0, |last| u64::from_le_bytes(*last));
    whole + count(last.checked_shr(64 - 8 * rest.len() as u32).unwrap_or(0))
}

/// The digit at a place, ASCII or full-width (U+FF10 to U+FF19), and how many bytes it takes.
fn digit(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    match *bytes.get(at)? {
        byte @ b'0'..=b'9' => Some((byte - b'0', 1)),
        FULL_WIDTH_LEAD => match bytes.get(at + 1..at + 3)? {
            [0xBC, last @ 0x90..=0x99] => Some((last - 0x90, 3)),
            _ => None,
        },
        _ => None,
    }
}

/// A maximal run of digits.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
    /// Number of digits.
    len: usize,
    /// The first digits.
    head: [u8; 6],
}

impl Run {
    fn read(bytes: &[u8], start: usize) -> Option<Run> {
        let mut run = Run {
            start,
            end: start,
            len: 0,
            head: [0; 6],
        };
        while let Some((value, width)) = digit(bytes, run.end) {
            if let Some(slot) = run.head.get_mut(run.len) {
                *slot = value;
            }
            run.len += 1;
            run.end += width;
        }
        (run.len > 0).then_some(run)
    }

    /// The number this run is, by itself or with an X behind it.
    fn number(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let mobile_at = |skip: usize| self.head[skip] == 1 && self.head[skip + 1] >= 3;
        match self.len {
            11 => mobile_at(0),
            13 => self.head[..2] == [8, 6] && mobile_at(2),
            15 => self.head[..4] == [0, 0, 8, 6] && mobile_at(4),
            17 => ends_with_x(bytes, self.end),
            18 => true,
            _ => false,
        }
        .then_some((self.start, self.end))
    }
}

/// A check character X after 17 digits, not the beginning of a word.
fn ends_with_x(bytes: &[u8], at: usize) -> bool {
    let width = match bytes.get(at..).unwrap_or_default() {
        [b'x' | b'X', ..] => 1,
        [FULL_WIDTH_LEAD, 0xBC, 0xB8, ..] | [FULL_WIDTH_LEAD, 0xBD, 0x98, ..] => 3,
        _ => return false,
    };
    !bytes.get(at + width).is_some_and(u8::is_ascii_alphanumeric)
}

/// A mobile number as 3-4-4 with one space or hyphen between, or an identity number as 6 8 4 with one space between.
/// (Hyphens join area, date and serial in many honest identifiers.)
fn grouped(bytes: &[u8], before: [Option<Run>; 2], last: Run) -> Option<(usize, usize)> {
    let [Some(first), Some(middle)] = before else {
        return None;
    };
    let gap = |left: Run, right: Run| match bytes.get(left.end..right.start) {
        Some([separator]) => Some(*separator),
        _ => None,
    };
    let separators = (gap(first, middle)?, gap(middle, last)?);
    let mobile = (first.len, middle.len, last.len) == (3, 4, 4)
        && first.head[0] == 1
        && first.head[1] >= 3
        && matches!(separators, (b' ' | b'-', b' ' | b'-'));
    let identity = (first.len, middle.len) == (6, 8)
        && (last.len == 4 || last.len == 3 && ends_with_x(bytes, last.end))
        && matches!(middle.head, [1, 9, ..] | [2, 0, ..])
        && separators == (b' ', b' ');
    (mobile || identity).then_some((first.start, last.end))
}

/// Whether a find lies inside a UUID or inside a hexadecimal digest: machine-made identifiers hold any digits.
fn inside_identifier(bytes: &[u8], start: usize, end: usize) -> bool {
    inside_uuid(bytes, start, end) || inside_digest(bytes, start, end)
}

fn inside_uuid(bytes: &[u8], start: usize, end: usize) -> bool {
    const LEN: usize = 36;
    let hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    (end.saturating_sub(LEN)..=start).any(|from| {
        let Some(window) = bytes.get(from..from + LEN) else {
            return false;
        };
        let shaped = window.iter().enumerate().all(|(i, b)| {
            if hyphen(i) {
                *b == b'-'
            } else {
                b.is_ascii_hexdigit()
            }
        });
        shaped
            && !alphanumeric_before(bytes, from)
            && !bytes.get(from + LEN).is_some_and(u8::is_ascii_alphanumeric)
    })
}

fn inside_digest(bytes: &[u8], start: usize, end: usize) -> bool {
    let left = bytes[..start]
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    let right = bytes[end..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    let token = &bytes[start - left..end + right];
    matches!(token.len(), 32 | 40 | 64) && token.iter().all(u8::is_ascii_hexdigit)
}

fn alphanumeric_before(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1)
        .and_then(|at| bytes.get(at))
        .is_some_and(u8::is_ascii_alphanumeric)
}
