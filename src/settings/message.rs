//! serde's messages without the values they quote: a line of a configuration may hold a password.

/// `invalid type: integer `5555`, expected a string` becomes `invalid type: integer, expected a string`.
pub(super) fn without_values(message: &str) -> String {
    let quoting = ["invalid type: ", "invalid value: ", "unknown variant "];
    if !quoting.iter().any(|start| message.starts_with(start)) {
        return message.to_owned();
    }
    // The value may hold the word itself; what is expected never does.
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return "this value does not fit here".to_owned();
    };
    let named = found
        .find(['`', '"'])
        .map_or(found, |quote| &found[..quote]);
    format!("{}, expected {expected}", named.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_and_what_was_expected_stays() {
        for (message, shown) in [
            (
                "invalid type: integer `5555`, expected a string",
                "invalid type: integer, expected a string",
            ),
            (
                "invalid type: string \"pass\", expected \"word\", expected a sequence",
                "invalid type: string, expected a sequence",
            ),
            (
                "invalid type: sequence, expected a string",
                "invalid type: sequence, expected a string",
            ),
            (
                "unknown variant `secret`, expected `a` or `b`",
                "unknown variant, expected `a` or `b`",
            ),
            (
                "unknown field `broker`, expected `brokers`",
                "unknown field `broker`, expected `brokers`",
            ),
            ("invalid type: secret", "this value does not fit here"),
        ] {
            assert_eq!(without_values(message), shown);
        }
    }
}
