//! How values are written in a mapping file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use regex::Regex;
use toml::Spanned;
use toml::de::DeValue;

use super::super::document::{Document, Section, Text};
use super::super::row::trimmed;
use super::super::suggest::did_you_mean;
use super::super::template::{Piece, Template};
use super::super::times::{Choice, Clock};
use super::groups::check_groups;
use super::{Lookup, Step, Unknown, ValueRule};

/// What is known while a mapping file is read.
pub(in super::super) struct Scope<'m> {
    pub maps: &'m BTreeMap<String, Arc<HashMap<String, String>>>,
    /// Names of `[values]` that a template may use.
    pub values: &'m [String],
    /// Columns of the input that are used.
    pub used: &'m RefCell<BTreeSet<String>>,
    pub clock: &'m Clock,
}

impl ValueRule {
    /// Reads a rule: a text with places, a number, or a table. `None`: it cannot be understood, which is noted.
    pub fn read<'d>(
        document: &Document<'d>,
        key: &str,
        value: &Spanned<DeValue<'d>>,
        scope: &Scope<'_>,
    ) -> Option<ValueRule> {
        let line = document.line_of(&value.span());
        match value.get_ref() {
            DeValue::String(text) => {
                let template = template(document, &value.span(), text, scope)?;
                Some(ValueRule::plain(line, template))
            }
            DeValue::Integer(number) => {
                let template = Template::parse(number.as_str()).ok()?;
                Some(ValueRule::plain(line, template))
            }
            DeValue::Table(_) => read_table(document, key, value, line, scope),
            other => {
                let is = other.type_str();
                document.problem(
                    &value.span(),
                    format!("{key} is a {is}: expected a text such as \"{{column}}\", a whole number, or a table"),
                );
                None
            }
        }
    }

    fn plain(line: u64, template: Template) -> ValueRule {
        ValueRule {
            line,
            template,
            steps: Vec::new(),
            lookup: None,
            if_empty: None,
            required: false,
            clock: None,
            multiply: None,
        }
    }
}

/// Reads the places of a text and notes the columns they use.
fn template(
    document: &Document<'_>,
    span: &std::ops::Range<usize>,
    text: &str,
    scope: &Scope<'_>,
) -> Option<Template> {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(reason) => {
            document.problem(span, reason);
            return None;
        }
    };
    for piece in template.pieces() {
        match piece {
            Piece::Column(name) => {
                scope.used.borrow_mut().insert(name.clone());
            }
            Piece::Value(name) if !scope.values.contains(name) => {
                let known = scope.values.iter().map(String::as_str);
                document.problem(
                    span,
                    format!(
                        "no value \"{name}\" is defined in [values]{} (values are made of columns, not of other values)",
                        did_you_mean(name, known)
                    ),
                );
            }
            _ => {}
        }
    }
    Some(template)
}

fn read_table<'d>(
    document: &Document<'d>,
    key: &str,
    value: &Spanned<DeValue<'d>>,
    line: u64,
    scope: &Scope<'_>,
) -> Option<ValueRule> {
    let mut table = Section::of(document, key, value)?;
    let (column, from) = (table.text("column"), table.text("from"));
    let source = match (column, from) {
        (Some(column), None) => {
            scope.used.borrow_mut().insert(column.text.to_owned());
            Some(Template::column(column.text))
        }
        (None, Some(from)) => template(document, &from.span, from.text, scope),
        (None, None) => {
            table.problem(format!(
                "{key} needs `column = \"…\"` or `from = \"…{{column}}…\"`"
            ));
            None
        }
        (Some(_), Some(_)) => {
            table.problem(format!("{key} has `column` and `from`: keep one"));
            None
        }
    };
    let steps: Vec<Section<'_, '_>> = table.tables("steps");
    let steps = steps.into_iter().filter_map(read_step).collect();
    let lookup = read_lookup(&mut table, scope);
    let if_empty = table
        .text("if_empty")
        .and_then(|text| template(document, &text.span, text.text, scope));
    let required = table.flag("required").unwrap_or(false);
    if required && if_empty.is_some() {
        table.problem_at(
            "required",
            "required and if_empty exclude each other: keep one",
        );
    }
    let clock = read_clock(&mut table, scope.clock);
    let multiply = table.integer("multiply");
    if multiply == Some(0) {
        table.problem_at("multiply", "multiply is 0: every value would be 0");
    }
    table.finish();
    Some(ValueRule {
        line,
        template: source?,
        steps,
        lookup,
        if_empty,
        required,
        clock,
        multiply,
    })
}

/// Whether a text that is not known is kept, refused (`None`) or left out.
const UNKNOWN: [(&str, Option<bool>); 3] = [
    ("refuse", None),
    ("keep", Some(true)),
    ("leave_out", Some(false)),
];

fn read_unknown(table: &mut Section<'_, '_>, key: &'static str) -> Unknown {
    let chosen = table.choice(key, &UNKNOWN);
    let otherwise = table.text("otherwise");
    match (chosen, otherwise) {
        (Some(_), Some(_)) => {
            table.problem_at(
                "otherwise",
                format!("otherwise and {key} exclude each other: keep one"),
            );
            Unknown::Refuse
        }
        (Some(Some(true)), None) => Unknown::Keep,
        (Some(Some(false)), None) => Unknown::LeaveOut,
        (Some(None), None) => Unknown::Refuse,
        (None, Some(text)) => Unknown::Use(text.text.to_owned()),
        (None, None) => Unknown::Refuse,
    }
}

fn read_step(mut table: Section<'_, '_>) -> Option<Step> {
    let extract = table.text("extract");
    let replace = table.text("replace");
    let with = table.text("with");
    let case = table.choice("case", &[("upper", true), ("lower", false)]);
    let cut = table.integer("cut");
    let given = [
        extract.is_some(),
        replace.is_some(),
        case.is_some(),
        cut.is_some(),
    ];
    let mut step = None;
    if given.iter().filter(|given| **given).count() != 1 {
        table.problem("a step has exactly one of extract, replace (with `with`), case and cut");
    } else if let Some(extract) = extract {
        let unknown = read_unknown(&mut table, "no_match");
        step =
            pattern(table.document, &extract, false).map(|pattern| Step::Extract(pattern, unknown));
    } else if let Some(replace) = replace {
        step = pattern(table.document, &replace, false).map(|pattern| {
            let with = with.map_or(String::new(), |with| {
                check_groups(table.document, &pattern, &with);
                with.text.to_owned()
            });
            Step::Replace(pattern, with)
        });
    } else if let Some(upper) = case {
        step = Some(if upper { Step::Upper } else { Step::Lower });
    } else if let Some(most) = cut {
        match usize::try_from(most) {
            Ok(most) if most > 0 => step = Some(Step::Cut(most)),
            _ => table.problem_at("cut", "cut is the most bytes to keep: expected 1 or more"),
        }
    }
    table.finish();
    step
}

/// A regular expression.
pub(in super::super) fn pattern(
    document: &Document<'_>,
    text: &Text<'_>,
    ignore_case: bool,
) -> Option<Regex> {
    match regex::RegexBuilder::new(text.text)
        .case_insensitive(ignore_case)
        .size_limit(1 << 20)
        .build()
    {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim();
            let why = why.trim_start_matches("error: ");
            document.problem(
                &text.span,
                format!("no regular expression: {why} (write it in 'single quotation marks', where a backslash is a backslash)"),
            );
            None
        }
    }
}

fn read_lookup(table: &mut Section<'_, '_>, scope: &Scope<'_>) -> Option<Lookup> {
    let ignore_case = table.flag("ignore_case").unwrap_or(false);
    let there = table.has("map");
    let named = table.value("map").and_then(|map| {
        let name = map.get_ref().as_str()?;
        Some((name, map.span()))
    });
    let entries = match named {
        Some((name, span)) => {
            let found = scope.maps.get(name);
            if found.is_none() {
                let known = scope.maps.keys().map(String::as_str);
                table.document.problem(
                    &span,
                    format!(
                        "no map \"{name}\" is defined in [maps]{}",
                        did_you_mean(name, known)
                    ),
                );
            }
            found.cloned()
        }
        None if there => Some(Arc::new(read_map(table.document, table.entries("map")))),
        None => None,
    };
    let unmapped = if there {
        read_unknown(table, "unmapped")
    } else {
        for key in ["unmapped", "otherwise", "ignore_case"] {
            if table.has(key) {
                table.problem_at(
                    key,
                    format!("{key} says something about `map`, and there is none"),
                );
            }
        }
        let _ = (table.value("unmapped"), table.value("otherwise"));
        return None;
    };
    let entries = entries?;
    let entries = if ignore_case {
        let lower = entries
            .iter()
            .map(|(from, to)| (from.to_lowercase(), to.clone()));
        Arc::new(lower.collect())
    } else {
        entries
    };
    Some(Lookup {
        entries,
        ignore_case,
        unmapped,
    })
}

/// Entries `from = "to"`; what is no text is noted.
pub(in super::super) fn read_map<'d>(
    document: &Document<'d>,
    entries: Vec<(Text<'_>, &Spanned<DeValue<'d>>)>,
) -> HashMap<String, String> {
    let mut map = HashMap::new();
    for (from, to) in entries {
        match to.get_ref().as_str() {
            Some(text) => {
                map.insert(trimmed(from.text).to_owned(), text.to_owned());
            }
            None => document.problem(
                &to.span(),
                format!(
                    "\"{}\" is mapped to a {}: expected a text",
                    from.text,
                    to.get_ref().type_str()
                ),
            ),
        }
    }
    map
}

/// `zone`, `formats`, `twice` and `skipped` of a table, over what holds otherwise. `None`: it says nothing of times.
pub(in super::super) fn read_clock(
    table: &mut Section<'_, '_>,
    otherwise: &Clock,
) -> Option<Clock> {
    use Choice::{Earlier, Later, Refuse};
    let mut clock = otherwise.clone();
    let (zone, formats) = (table.text("zone"), table.texts("formats"));
    let words = [("earlier", Earlier), ("later", Later), ("refuse", Refuse)];
    let (twice, skipped) = (
        table.choice("twice", &words),
        table.choice("skipped", &words),
    );
    let says = zone.is_some() || formats.is_some() || twice.is_some() || skipped.is_some();
    if let Some(zone) = zone
        && let Err(reason) = clock.set_zone(zone.text)
    {
        table.document.problem(&zone.span, reason);
    }
    if let Some(formats) = formats
        && let Err((at, reason)) = clock.set_formats(formats.iter().map(|format| format.text))
        && let Some(format) = formats.get(at)
    {
        table.document.problem(&format.span, reason);
    }
    clock.twice = twice.unwrap_or(clock.twice);
    clock.skipped = skipped.unwrap_or(clock.skipped);
    says.then_some(clock)
}
