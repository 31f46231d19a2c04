//! Whether the groups that a replacement names are there.

use regex::Regex;

use super::super::document::{Document, Text};

/// Notes a reference to a group that the pattern does not have: silently, it would stand for nothing.
pub(super) fn check_groups(document: &Document<'_>, pattern: &Regex, with: &Text<'_>) {
    if let Some(name) = unknown_group(pattern, with.text) {
        document.problem(
            &with.span,
            format!(
                "with names the group \"{name}\", which the expression does not have: write ${{1}} where a letter, a digit or _ follows the group, and $$ for a dollar"
            ),
        );
    }
}

/// The first reference to no group, by the rules of [`Regex::replace_all`]: a name without braces is as long as can be.
fn unknown_group<'w>(pattern: &Regex, with: &'w str) -> Option<&'w str> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = with;
    while let Some((_, reference)) = rest.split_once('$') {
        rest = reference;
        if let Some(after) = reference.strip_prefix('$') {
            rest = after;
            continue;
        }
        let name = match reference.strip_prefix('{') {
            Some(braced) => braced.split_once('}').map(|(name, _)| name),
            None => {
                let end = reference.find(|c: char| !in_name(c));
                let (name, _) = reference.split_at(end.unwrap_or(reference.len()));
                Some(name).filter(|name| !name.is_empty())
            }
        };
        // Else a dollar that stands for itself.
        let Some(name) = name else { continue };
        let known = match name.parse::<usize>() {
            Ok(number) => number < pattern.captures_len(),
            Err(_) => pattern.capture_names().flatten().any(|known| known == name),
        };
        if !known {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_to_no_group_is_found_by_the_rules_of_the_library() {
        let pattern = Regex::new("^(.*)-(?<year>[0-9]+)$").unwrap();
        for (with, unknown, becomes) in [
            ("desk_$1_2024", Some("1_2024"), "desk_"),
            ("desk_${1}_2024", None, "desk_a_2024"),
            ("$year-$1", None, "2024-a"),
            ("$years", Some("years"), ""),
            ("$0 $2 $3", Some("3"), "a-2024 2024 "),
            ("${3}", Some("3"), ""),
            ("${}", Some(""), ""),
            ("$$1_2024 $$$1", None, "$1_2024 $a"),
            ("5 $, $ and ${1", None, "5 $, $ and ${1"),
            ("$号$1号", None, "$号a号"),
            ("$", None, "$"),
        ] {
            assert_eq!(unknown_group(&pattern, with), unknown, "{with}");
            assert_eq!(pattern.replace_all("a-2024", with), becomes, "{with}");
        }
    }
}
