//! Which rows an event is made of, and which rows are none.

use regex::Regex;

use super::document::Section;
use super::row::RowRefusal;
use super::template::Template;
use super::value::{Context, Scope, pattern};

/// Something that holds for a row or does not.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    template: Template,
    test: Test,
    ignore_case: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Is(Vec<String>),
    IsNot(Vec<String>),
    Matches(Regex),
    Empty(bool),
}

impl Condition {
    /// Reads `{ column = "…", is = "…" }` and its like.
    pub fn read(mut table: Section<'_, '_>, scope: &Scope<'_>) -> Option<Condition> {
        let (column, value) = (table.text("column"), table.text("value"));
        let template = match (column, value) {
            (Some(column), None) => {
                scope.used.borrow_mut().insert(column.text.to_owned());
                Some(Template::column(column.text))
            }
            (None, Some(value)) if scope.values.iter().any(|name| name == value.text) => {
                Template::parse(&format!("{{value.{}}}", value.text)).ok()
            }
            (None, Some(value)) => {
                let reason = format!("no value \"{}\" is defined in [values]", value.text);
                table.document.problem(&value.span, reason);
                None
            }
            _ => {
                table.problem("a condition is about one `column` or one `value`");
                None
            }
        };
        let owned = |texts: Vec<super::document::Text<'_>>| {
            texts.iter().map(|text| text.text.to_owned()).collect()
        };
        let ignore_case = table.flag("ignore_case").unwrap_or(false);
        let tests = [
            table.texts("is").map(|texts| Test::Is(owned(texts))),
            table.texts("is_not").map(|texts| Test::IsNot(owned(texts))),
            table
                .text("matches")
                .and_then(|text| pattern(table.document, &text, ignore_case))
                .map(Test::Matches),
            table.flag("empty").map(Test::Empty),
        ];
        let asked = ["is", "is_not", "matches", "empty"].map(|key| table.has(key));
        if asked.iter().filter(|asked| **asked).count() != 1 {
            table.problem("a condition has exactly one of is, is_not, matches and empty");
        }
        table.finish();
        let test = tests.into_iter().flatten().next()?;
        Some(Condition {
            template: template?,
            test,
            ignore_case,
        })
    }

    /// Whether it holds.
    pub fn holds(&self, context: &Context<'_>) -> Result<bool, RowRefusal> {
        let text = self.template.fill("when", context)?;
        let same = |other: &String| {
            *other == text || (self.ignore_case && other.to_lowercase() == text.to_lowercase())
        };
        Ok(match &self.test {
            Test::Is(words) => words.iter().any(same),
            Test::IsNot(words) => !words.iter().any(same),
            Test::Matches(pattern) => pattern.is_match(&text),
            Test::Empty(empty) => text.is_empty() == *empty,
        })
    }
}

/// Whether all of them hold.
pub(super) fn all_hold(
    conditions: &[Condition],
    context: &Context<'_>,
) -> Result<bool, RowRefusal> {
    for condition in conditions {
        if !condition.holds(context)? {
            return Ok(false);
        }
    }
    Ok(true)
}
