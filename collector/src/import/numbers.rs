//! Numbers exactly: from their digits, never through floating point.

use siji_schemas::json::{MICROS, format_decimal, parse_decimal};

use super::row::RowRefusal;

/// A whole number as JSON, multiplied.
pub(super) fn whole(field: &str, text: &str, multiply: Option<i64>) -> Result<String, RowRefusal> {
    let refuse = |reason: String| RowRefusal::new("M05", field, reason);
    let micros = scaled(field, text, multiply)?;
    if micros % MICROS != 0 {
        let times = multiply.map_or(String::new(), |by| format!(" times {by}"));
        return Err(refuse(format!(
            "the number{times} is no whole number: set `multiply` to bring it to the unit of {field}"
        )));
    }
    Ok((micros / MICROS).to_string())
}

/// A decimal as JSON, multiplied.
pub(super) fn decimal(
    field: &str,
    text: &str,
    multiply: Option<i64>,
) -> Result<String, RowRefusal> {
    scaled(field, text, multiply).map(format_decimal)
}

fn scaled(field: &str, text: &str, multiply: Option<i64>) -> Result<i64, RowRefusal> {
    let refuse = |reason: &str| RowRefusal::new("M05", field, reason);
    let plain = text.strip_prefix('+').unwrap_or(text);
    let micros = parse_decimal(plain).map_err(|_| {
        refuse("no number: expected digits with a decimal point, without thousands marks or units (take them out by `steps`)")
    })?;
    micros
        .checked_mul(multiply.unwrap_or(1))
        .ok_or_else(|| refuse("the number is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuan_become_fen_without_losing_one() {
        for (yuan, fen) in [
            ("0.29", "29"),
            ("1234567.01", "123456701"),
            ("-3.5", "-350"),
            ("+7", "700"),
            ("12.00", "1200"),
        ] {
            assert_eq!(whole("amount_fen", yuan, Some(100)), Ok(fen.to_owned()));
        }
    }

    #[test]
    fn what_is_no_whole_number_is_refused_and_not_rounded() {
        for text in ["1.005", "1,200", "3 yuan", "1e3", "九", "999999999999999"] {
            let refusal = whole("amount_fen", text, Some(100)).unwrap_err();
            assert_eq!(refusal.code, "M05", "{text}");
            assert!(!refusal.reason.contains(text), "{refusal:?}");
        }
        assert_eq!(decimal("value", "1.2500", None), Ok("1.25".to_owned()));
        assert!(whole("count", "1.5", None).is_err());
    }
}
