//! The quick way through JSON in its usual form: known columns, each once, strings without escapes, whole numbers.
//!
//! It either reads an event exactly as [`read`](super::read()) does or gives up; whether an unusual event is good and
//! what is wrong with it is told by `read` alone.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::{instant, parse_decimal};
use crate::catalogue::Column;
use crate::event::{BorrowedEvent, EventRef, Pair, with_event_columns};

/// Reads an event from a JSON object in its usual form. `None`: it is in another form, or not good.
pub fn usual(bytes: &[u8]) -> Option<BorrowedEvent<'_>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut scan = Scan { text, at: 0 };
    let mut event = BorrowedEvent::default();
    let mut seen = 0u64;
    scan.expect(b'{')?;
    if !scan.is_next(b'}') {
        loop {
            let member = member(scan.string()?)?;
            scan.expect(b':')?;
            if seen & (1 << member) != 0 {
                return None;
            }
            seen |= 1 << member;
            match Column::ALL.get(member) {
                Some(column) => take(&mut event.columns, *column, &mut scan)?,
                None => event.attrs = scan.pairs()?,
            }
            if !scan.more(b'}')? {
                break;
            }
        }
    }
    scan.end().then_some(event)
}

macro_rules! define_take {
    ($($name:ident: $kind:ident $presence:ident $meaning:literal;)*) => {
        /// Reads the value of a column.
        fn take<'a>(event: &mut EventRef<'a>, column: Column, scan: &mut Scan<'a>) -> Option<()> {
            if scan.null() {
                return Some(());
            }
            match column {
                $(Column::$name => event.$name = define_take!(@ $kind scan),)*
            }
            Some(())
        }
    };
    (@ text $scan:ident) => { Some($scan.string()?).filter(|text| !text.is_empty()) };
    (@ word $scan:ident) => { define_take!(@ text $scan) };
    (@ int $scan:ident) => { Some(i32::try_from($scan.integer()?).ok()?) };
    (@ long $scan:ident) => { Some($scan.integer()?) };
    (@ instant $scan:ident) => { Some($scan.instant()?) };
    (@ decimal $scan:ident) => { Some($scan.decimal()?) };
}
with_event_columns!(define_take);

/// Names of members by a hash of theirs: the number of a column, that of `attrs`, or nothing.
static MEMBERS: LazyLock<[Option<(&'static str, usize)>; 256]> = LazyLock::new(|| {
    let mut members = [None; 256];
    let names = Column::ALL.iter().map(|column| column.name());
    for (number, name) in names.chain(["attrs"]).enumerate() {
        let mut slot = slot(name.as_bytes());
        while members[slot].is_some() {
            slot = (slot + 1) % members.len();
        }
        members[slot] = Some((name, number));
    }
    members
});

fn slot(name: &[u8]) -> usize {
    match name {
        [first, .., last] => {
            let middle = name[name.len() / 2];
            let sum = name.len() * 31
                + usize::from(*first) * 7
                + usize::from(*last) * 13
                + usize::from(middle) * 3;
            sum % 256
        }
        _ => 0,
    }
}

/// The number of a member of that name.
fn member(name: &str) -> Option<usize> {
    let members = &*MEMBERS;
    let mut slot = slot(name.as_bytes());
    // There are more slots than names, so an empty one comes.
    loop {
        let (known, number) = members[slot]?;
        if known == name {
            return Some(number);
        }
        slot = (slot + 1) % members.len();
    }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The next byte that is no white space; it stays.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes().get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn is_next(&mut self, byte: u8) -> bool {
        self.expect(byte).is_some()
    }

    /// Whether another member follows, or the object ends here with `close`.
    fn more(&mut self, close: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            _ if byte == close => Some(false),
            _ => None,
        }
    }

    fn end(&mut self) -> bool {
        self.peek().is_none()
    }

    fn null(&mut self) -> bool {
        let null = self.peek() == Some(b'n') && self.bytes()[self.at..].starts_with(b"null");
        if null {
            self.at += 4;
        }
        null
    }

    /// A string without escapes.
    #[inline]
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let from = self.at;
        let rest = &self.bytes()[from..];
        let length = plain_length(rest);
        (rest.get(length) == Some(&b'"')).then(|| {
            self.at = from + length + 1;
            &self.text[from..from + length]
        })
    }

    /// A whole number of at most 18 digits.
    fn integer(&mut self) -> Option<i64> {
        self.peek()?;
        let negative = self.bytes()[self.at] == b'-';
        let from = self.at + usize::from(negative);
        let digits = self.bytes()[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit());
        let length = digits.count();
        let digits = &self.bytes()[from..from + length];
        // Minus zero is no integer to JSON, and a leading zero no number.
        if length == 0 || length > 18 || (digits[0] == b'0' && (length > 1 || negative)) {
            return None;
        }
        if matches!(self.bytes().get(from + length), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at = from + length;
        let number = digits
            .iter()
            .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        Some(if negative { -number } else { number })
    }

    /// A number in millionths, from its digits.
    fn decimal(&mut self) -> Option<i64> {
        self.peek()?;
        let rest = &self.text[self.at..];
        let number = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))?;
        let (number, after) = rest.split_at(number);
        let digits = number.strip_prefix('-').unwrap_or(number);
        let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        if padded || after.starts_with(['e', 'E']) {
            return None;
        }
        self.at += number.len();
        parse_decimal(number).ok()
    }

    fn instant(&mut self) -> Option<i64> {
        match self.peek()? {
            b'"' => instant::usual(self.string()?.as_bytes()),
            _ => self.integer(),
        }
    }

    /// An object of strings, sorted by key.
    fn pairs(&mut self) -> Option<Vec<Pair<'a>>> {
        let mut pairs: Vec<Pair<'a>> = Vec::new();
        if self.null() {
            return Some(pairs);
        }
        self.expect(b'{')?;
        if self.is_next(b'}') {
            return Some(pairs);
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            self.peek()?;
            let value = self.string()?;
            if pairs
                .last()
                .is_some_and(|(before, _)| before.as_ref() >= key)
            {
                return None;
            }
            pairs.push((Cow::Borrowed(key), Cow::Borrowed(value)));
            if !self.more(b'}')? {
                return Some(pairs);
            }
        }
    }
}

/// How many bytes come before the first quote, backslash or control character: eight at a time.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut words = bytes.chunks_exact(8);
    let mut length = 0;
    for word in &mut words {
        let Ok(word) = word.try_into() else { break };
        let word = u64::from_le_bytes(word);
        let quotes = zero(word ^ (ONES * u64::from(b'"')));
        let backslashes = zero(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = quotes | backslashes | controls;
        if found != 0 {
            // The lowest bit set is exact: a borrow can only come from a match below.
            return length + (found.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    let special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
    let rest = words.remainder();
    length + rest.iter().position(special).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Event;
    use crate::json::read;

    fn event() -> Event {
        Event {
            event_id: Some("0190b5a2-7c1e-7def-8000-000000000001".into()),
            schema_version: Some(1),
            event_type: Some("service.delivered".into()),
            op: Some("assert".into()),
            occurred_at: Some(1_772_323_200_000),
            recorded_at: Some(1_772_323_260_000),
            source_seq: Some(12),
            area_code: Some("330502001005".into()),
            subject_kind: Some("service".into()),
            subject_id: Some("服务-1".into()),
            count: Some(-3),
            rating: Some(5),
            value: Some(-1_500_000),
            attrs: [
                ("a".into(), String::new()),
                ("line".into(), "二号线".into()),
            ]
            .into(),
            ..Event::default()
        }
    }

    #[test]
    fn what_siji_writes_is_usual() {
        let bytes = serde_json::to_vec(&event()).unwrap();
        assert_eq!(usual(&bytes).unwrap().as_ref().to_event(), event());
        let spaced = String::from_utf8(bytes).unwrap().replace(":{", " : {\n\t");
        assert_eq!(
            usual(spaced.as_bytes()).unwrap().as_ref().to_event(),
            event()
        );
    }

    #[test]
    fn every_column_is_found_by_its_name() {
        for (number, column) in Column::ALL.iter().enumerate() {
            assert_eq!(member(column.name()), Some(number));
        }
        assert_eq!(member("attrs"), Some(Column::ALL.len()));
        for other in ["", "a", "event", "event_idx", "resident"] {
            assert_eq!(member(other), None);
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_general_reader() {
        for json in [
            r#"{"op":"a\\u0062"}"#,
            r#"{"op":"assert","op":"assert"}"#,
            r#"{"count":1.0}"#,
            r#"{"count":-0}"#,
            r#"{"count":01}"#,
            r#"{"value":1e3}"#,
            r#"{"value":01.5}"#,
            r#"{"value":"1.5"}"#,
            r#"{"attrs":{"b":"1","a":"2"}}"#,
            r#"{"attrs":{"a":1}}"#,
            r#"{"resident":{}}"#,
            r#"{"op":"assert"} x"#,
            r#"{"op":"assert",}"#,
            r#"{"op":"#,
            "{\"op\":\"a\tb\"}",
        ] {
            assert!(usual(json.as_bytes()).is_none(), "{json}");
        }
        assert!(usual(b"{\"op\":\"\xff\"}").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// Whatever it reads, the general reader reads alike.
        #[test]
        fn it_never_reads_what_the_general_reader_reads_otherwise(
            flips in proptest::collection::vec((0usize..400, prop_oneof![any::<u8>(), "[\"\\\\{}:,0-9 ntul-]".prop_map(|s| s.as_bytes()[0])]), 0..4),
            cut in 0usize..600,
        ) {
            let mut bytes = serde_json::to_vec(&event()).unwrap();
            for (at, byte) in flips {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(cut);
            if let Some(quick) = usual(&bytes) {
                let general = read(&bytes, &mut |_, _| Ok(false));
                prop_assert!(general.is_ok(), "{:?}", general.err());
                prop_assert_eq!(quick.as_ref().to_event(), general.unwrap().as_ref().to_event());
            }
        }

        #[test]
        fn eight_bytes_at_a_time_find_what_one_at_a_time_finds(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
            prop_assert_eq!(plain_length(&bytes), bytes.iter().position(special).unwrap_or(bytes.len()));
        }
    }
}
