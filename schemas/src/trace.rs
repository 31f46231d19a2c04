//! W3C trace context: which trace an event belongs to, as it stands in `traceparent`.

use std::fmt;

/// A trace and the span in it that caused what follows. `tracestate` is not carried on: nothing here reads it, and it
/// would be bytes of a stranger's choice in every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace; not 0.
    pub trace_id: u128,
    /// The span; not 0.
    pub span_id: u64,
    /// Whether spans of this trace are recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`, lower case, no id of zeros. A later version may have more
    /// behind that. Anything else is `None` and does not travel on.
    pub fn parse(text: &[u8]) -> Option<TraceContext> {
        let [v0, v1, b'-', rest @ ..] = text else {
            return None;
        };
        let version = number(&[*v0, *v1])?;
        let (trace_id, rest) = rest.split_at_checked(32)?;
        let (b'-', rest) = rest.split_first().map(|(dash, rest)| (*dash, rest))? else {
            return None;
        };
        let (span_id, rest) = rest.split_at_checked(16)?;
        let [b'-', f0, f1, more @ ..] = rest else {
            return None;
        };
        let rest_fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more[0] == b'-',
        };
        let context = TraceContext {
            trace_id: number(trace_id)?,
            span_id: u64::try_from(number(span_id)?).ok()?,
            sampled: number(&[*f0, *f1])? & 1 == 1,
        };
        (rest_fits && context.trace_id != 0 && context.span_id != 0).then_some(context)
    }
}

fn number(hex: &[u8]) -> Option<u128> {
    hex.iter().try_fold(0u128, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(
            f,
            "00-{:032x}-{:016x}-{flags:02x}",
            self.trace_id, self.span_id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_written_as_it_was_read() {
        let context = TraceContext::parse(PARENT.as_bytes()).unwrap();
        assert!(context.sampled);
        assert_eq!(context.span_id, 0xb7ad_6b71_6920_3331);
        assert_eq!(context.to_string(), PARENT);
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-what-else";
        assert_eq!(TraceContext::parse(later.as_bytes()), Some(context));
    }

    #[test]
    fn what_is_no_trace_context_is_not_taken_for_one() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            "13812345678".to_owned(),
            PARENT.to_uppercase(),
            format!("{PARENT}-more"),
            format!("{PARENT} "),
            PARENT[..54].to_owned(),
            PARENT.replacen("00", "ff", 1),
            PARENT.replace("0af7651916cd43dd8448eb211c80319c", &zeros),
            PARENT.replace("b7ad6b7169203331", &zeros[..16]),
            PARENT.replace('-', "_"),
            format!("cc{}x", &PARENT[2..]),
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text}");
        }
    }
}
