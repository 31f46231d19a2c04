//! Values for `$1`, `$2`, … of a statement, typed from JSON.

use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;

use crate::QueryError;

/// Positional parameters. A string stands for any type that can be read from text: `"2026-10-01"` compares with a date.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters(Vec<ScalarValue>);

impl Parameters {
    /// No parameters.
    pub fn none() -> Self {
        Self::default()
    }

    /// From a JSON array of null, booleans, numbers and strings.
    ///
    /// # Errors
    /// [`QueryError::Parameters`] naming the position of a value that is something else or does not fit 64 bits.
    pub fn from_json(values: &[serde_json::Value]) -> Result<Self, QueryError> {
        values
            .iter()
            .enumerate()
            .map(|(i, value)| {
                scalar(value).map_err(|why| QueryError::Parameters(format!("${}: {why}", i + 1)))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_values(self) -> ParamValues {
        ParamValues::from(self.0)
    }
}

fn scalar(value: &serde_json::Value) -> Result<ScalarValue, &'static str> {
    use serde_json::Value;
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(b) => Ok(ScalarValue::Boolean(Some(*b))),
        Value::String(s) => Ok(ScalarValue::Utf8(Some(s.clone()))),
        Value::Number(n) if n.is_f64() => Ok(ScalarValue::Float64(n.as_f64())),
        Value::Number(n) => n
            .as_i64()
            .map(|n| ScalarValue::Int64(Some(n)))
            .ok_or("an integer must fit 64 bits with sign"),
        Value::Array(_) | Value::Object(_) => {
            Err("a parameter is null, a boolean, a number or a string")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_values_keep_their_type() {
        let given = [
            json!(null),
            json!(true),
            json!(7),
            json!(-1.5),
            json!("社区"),
        ];
        let expected = vec![
            ScalarValue::Null,
            ScalarValue::Boolean(Some(true)),
            ScalarValue::Int64(Some(7)),
            ScalarValue::Float64(Some(-1.5)),
            ScalarValue::Utf8(Some("社区".into())),
        ];
        assert_eq!(Parameters::from_json(&given).unwrap(), Parameters(expected));
    }

    #[test]
    fn a_list_or_a_too_large_integer_is_refused_with_its_position() {
        let list = Parameters::from_json(&[json!(1), json!([1])])
            .unwrap_err()
            .to_string();
        assert!(list.contains("$2"), "{list}");
        let large = Parameters::from_json(&[json!(u64::MAX)])
            .unwrap_err()
            .to_string();
        assert!(large.contains("$1") && large.contains("64 bits"), "{large}");
    }
}
