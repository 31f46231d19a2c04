//! What stands in a row, made into what an event needs: trim, extract, replace, look up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use regex::Regex;

use super::row::{Row, RowRefusal, trimmed};
use super::template::Template;
use super::times::Clock;

mod groups;
mod read;

pub(super) use read::{Scope, pattern, read_clock, read_map};

/// A row and what is known of it.
pub(super) struct Context<'r> {
    pub row: &'r Row,
    pub row_id: &'r str,
    pub values: &'r BTreeMap<String, ValueRule>,
}

impl Context<'_> {
    /// A value that the mapping defines.
    pub fn value(&self, field: &str, name: &str) -> Result<String, RowRefusal> {
        match self.values.get(name) {
            Some(rule) => rule.text(field, self),
            None => Ok(String::new()),
        }
    }
}

/// What to do where a pattern or a map does not know a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unknown {
    Refuse,
    Keep,
    LeaveOut,
    Use(String),
}

#[derive(Debug, Clone)]
enum Step {
    Extract(Regex, Unknown),
    Replace(Regex, String),
    Upper,
    Lower,
    /// Most bytes.
    Cut(usize),
}

#[derive(Debug, Clone)]
struct Lookup {
    entries: Arc<HashMap<String, String>>,
    /// By lower-case key, where case does not matter.
    ignore_case: bool,
    unmapped: Unknown,
}

/// How one value is made.
#[derive(Debug, Clone)]
pub(super) struct ValueRule {
    /// Line of the mapping file.
    pub line: u64,
    pub template: Template,
    steps: Vec<Step>,
    lookup: Option<Lookup>,
    if_empty: Option<Template>,
    required: bool,
    /// Where the rule reads times in its own way.
    pub clock: Option<Clock>,
    pub multiply: Option<i64>,
}

impl ValueRule {
    /// The value for a row; empty = there is none.
    pub fn text(&self, field: &str, context: &Context<'_>) -> Result<String, RowRefusal> {
        let filled = self.template.fill(field, context)?;
        let mut text = trimmed(&filled).to_owned();
        for step in &self.steps {
            if text.is_empty() {
                break;
            }
            text = step.take(field, text)?;
        }
        if let Some(lookup) = &self.lookup
            && !text.is_empty()
        {
            text = lookup.take(field, text)?;
        }
        if !text.is_empty() {
            return Ok(text);
        }
        match &self.if_empty {
            Some(instead) => instead.fill(field, context),
            None if self.required => {
                let reason = "the value is required and the row has none";
                Err(RowRefusal::new("M06", field, reason))
            }
            None => Ok(text),
        }
    }

    /// Every text that the rule is known to give, before a row is seen: to be checked against the catalogue.
    pub fn constants(&self) -> Vec<&str> {
        let instead = self.if_empty.as_ref().and_then(Template::constant);
        let mut all: Vec<&str> = instead.into_iter().collect();
        if self.steps.is_empty() && self.lookup.is_none() {
            all.extend(self.template.constant());
        }
        if let Some(lookup) = &self.lookup {
            all.extend(lookup.entries.values().map(String::as_str));
            all.extend(lookup.unmapped.used());
        } else if let Some(Step::Extract(_, unknown)) = self.steps.last() {
            all.extend(unknown.used());
        }
        all.retain(|text| !text.is_empty());
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Unknown {
    fn used(&self) -> Option<&str> {
        match self {
            Unknown::Use(text) => Some(text),
            _ => None,
        }
    }

    fn take(
        &self,
        text: String,
        refusal: impl FnOnce() -> RowRefusal,
    ) -> Result<String, RowRefusal> {
        match self {
            Unknown::Refuse => Err(refusal()),
            Unknown::Keep => Ok(text),
            Unknown::LeaveOut => Ok(String::new()),
            Unknown::Use(other) => Ok(other.clone()),
        }
    }
}

impl Step {
    fn take(&self, field: &str, mut text: String) -> Result<String, RowRefusal> {
        Ok(match self {
            Step::Extract(pattern, unknown) => match pattern.captures(&text) {
                Some(found) => {
                    // The first group that took part, else all that was found.
                    let group = found.iter().skip(1).flatten().next();
                    let found = group.or_else(|| found.get(0));
                    found.map_or(String::new(), |found| trimmed(found.as_str()).to_owned())
                }
                None => unknown.take(text, || {
                    let reason = format!("the value does not match `{pattern}`");
                    RowRefusal::new("M03", field, reason)
                })?,
            },
            Step::Replace(pattern, with) => {
                trimmed(&pattern.replace_all(&text, with.as_str())).to_owned()
            }
            Step::Upper => text.to_uppercase(),
            Step::Lower => text.to_lowercase(),
            Step::Cut(most) => {
                text.truncate(text.floor_char_boundary(*most));
                text
            }
        })
    }
}

impl Lookup {
    fn take(&self, field: &str, text: String) -> Result<String, RowRefusal> {
        let found = if self.ignore_case {
            self.entries.get(&text.to_lowercase())
        } else {
            self.entries.get(&text)
        };
        match found {
            Some(found) => Ok(found.clone()),
            None => self.unmapped.take(text, || {
                let reason = "the value is not in the map of the mapping: add it there, or say by `unmapped` what to do with others";
                RowRefusal::new("M02", field, reason)
            }),
        }
    }
}
