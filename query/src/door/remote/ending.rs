//! How a JSON answer ends: with its count of rows, in an `error` member, or in the middle.

use serde_json::Value;

use super::words;

/// Longest name of a member that matters.
const LONGEST: usize = 8;

/// Reads along with an answer, byte by byte, without keeping it.
#[derive(Debug, Default)]
pub(super) struct Ending {
    depth: u32,
    in_text: bool,
    escaped: bool,
    begun: bool,
    /// The last text directly in the outermost object: a member's name, if a colon follows.
    name: Vec<u8>,
    /// The `error` member's value and what follows it.
    error: Option<Vec<u8>>,
}

impl Ending {
    /// Reads the next bytes; false when the answer is an error from here on.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> bool {
        for (at, byte) in bytes.iter().enumerate() {
            if let Some(error) = &mut self.error {
                error.extend_from_slice(&bytes[at..]);
                break;
            }
            self.byte(*byte);
        }
        self.error.is_none()
    }

    fn byte(&mut self, byte: u8) {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ if self.depth == 1 && self.name.len() < LONGEST => self.name.push(byte),
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_text = true;
                if self.depth == 1 {
                    self.name.clear();
                }
            }
            b'{' | b'[' => {
                self.begun = true;
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if self.depth == 1 && self.name == b"error" => self.error = Some(Vec::new()),
            _ => {}
        }
    }

    /// At the end of the bytes: why this is no whole answer.
    pub(super) fn trouble(&self) -> Option<String> {
        let Some(error) = &self.error else {
            let over = self.begun && self.depth == 0;
            return (!over).then(|| "the answer ends in the middle".to_owned());
        };
        let told = serde_json::Deserializer::from_slice(error)
            .into_iter::<Value>()
            .next();
        let told = told.and_then(Result::ok);
        let unknown = || "the query broke off, and the server did not say why".to_owned();
        Some(told.as_ref().and_then(words).unwrap_or_else(unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `answer` in pieces of `size` bytes: how many pieces were passed on, and the trouble.
    fn read(answer: &str, size: usize) -> (usize, Option<String>) {
        let mut ending = Ending::default();
        let passed = answer
            .as_bytes()
            .chunks(size)
            .filter(|chunk| ending.pass(chunk))
            .count();
        (passed, ending.trouble())
    }

    #[test]
    fn a_whole_answer_passes_whatever_its_rows_hold() {
        let answer = r#"{"columns":[{"name":"error","type":"text"}],"versions":{"error":1},
            "rows":[{"error":"a \"quoted\" }{][ \\"},{"error":null}],"row_count":2}"#;
        for size in 1..=answer.len() {
            let pieces = answer.len().div_ceil(size);
            assert_eq!(read(answer, size), (pieces, None), "{size}");
        }
    }

    #[test]
    fn an_error_member_is_told_and_not_passed_on() {
        let answer =
            r#"{"rows":[{"a":1}],"error":{"code":"rows","detail":"too \"many\"","hint":"fewer"}}"#;
        for size in 1..=answer.len() {
            let (passed, trouble) = read(answer, size);
            assert_eq!(trouble.as_deref(), Some("too \"many\" (fewer)"), "{size}");
            assert!(passed * size <= answer.find("{\"code").unwrap(), "{size}");
        }
    }

    #[test]
    fn an_answer_without_an_end_is_no_answer() {
        for cut in ["", "{", r#"{"rows":[{"a":1}"#, r#"{"rows":[{"a":"}]}"#] {
            let trouble = read(cut, 3).1.unwrap();
            assert!(trouble.contains("in the middle"), "{cut}: {trouble}");
        }
        let unsaid = read(r#"{"rows":[],"error":"#, 4).1.unwrap();
        assert!(unsaid.contains("did not say why"), "{unsaid}");
    }
}
