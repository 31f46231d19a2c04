//! Why an event is not accepted.

use std::fmt;

macro_rules! codes {
    ($($name:ident $meaning:literal;)*) => {
        /// The validation rules by their published names (event model, "invalid events").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $meaning] $name,)* }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// `V01` and so on: how it stands in tables, headers and answers.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => stringify!($name),)* }
            }

            /// What the rule forbids, in one line.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => $meaning,)* }
            }

            /// The code of that name.
            pub fn parse(text: &str) -> Option<Code> {
                match text { $(stringify!($name) => Some(Code::$name),)* _ => None }
            }
        }
    };
}
codes! {
    V01 "unparsable, or of an unknown version";
    V02 "a required column is missing";
    V03 "an unknown word: type, op, outcome or another listed column";
    V04 "an area that is unknown or not valid at the time of the event";
    V05 "a time in the future or before 2000";
    V06 "a negative count, amount or duration";
    V07 "a rating outside 1 to 5, a percentage outside 0 to 100, more voters than eligible";
    V08 "an unknown service, register or list item";
    V09 "a case event without a case, or out of the lifecycle";
    V10 "an event id used before with another body";
    V11 "a correction or retraction of an unknown event";
    V12 "raw personal data";
    V13 "an attrs key that the type does not allow, or attrs over their limits";
    V14 "a source that is not registered for the area";
    V15 "a locked period";
    V16 "a unit that does not fit the register or the type";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One refused event: the rule, the column, and what to do. Never quotes personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}{}: {reason}", .field.as_ref().map(|f| format!(" {f}")).unwrap_or_default())]
pub struct Refusal {
    /// The rule.
    pub code: Code,
    /// The column, or `attrs.<key>`, where one is at fault.
    pub field: Option<String>,
    /// What was expected, in words for the person who sends.
    pub reason: String,
}

impl Refusal {
    /// A refusal of a column.
    pub fn of(code: Code, field: &str, reason: impl Into<String>) -> Self {
        Self {
            code,
            field: Some(field.to_owned()),
            reason: reason.into(),
        }
    }

    /// A refusal of the whole record.
    pub fn whole(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            field: None,
            reason: reason.into(),
        }
    }
}
