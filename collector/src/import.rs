//! Old logs and spreadsheets into events: a mapping file says how, row by row.
//!
//! ```text
//!   file ──> rows (csv, ndjson, xlsx) ──> mapping: values, times, ids ──> events as JSON ──> the collector's intake
//!                    │                            │
//!                    └────────── refused ─────────┴──> FILE.rejects.csv
//! ```
//!
//! Everything here is a function of the file and the mapping, so that a second import of the same row makes the same
//! events with the same ids. Events are judged by the rules the collector judges by before they are sent, so that a
//! refusal names the row.

mod columns;
mod condition;
mod convert;
mod csv;
mod document;
mod ids;
mod mapping;
mod ndjson;
mod numbers;
mod records;
mod rejects;
mod row;
mod submit;
mod suggest;
mod template;
mod times;
mod value;
mod xlsx;

pub use convert::{Converter, Made, Outcome};
pub use ids::{IdRule, Repeated};
pub use mapping::{
    Draft, Format, InputOptions, Mapping, MappingProblem, MappingProblems, ReferenceChoice,
};
pub use rejects::{RejectsFile, rejects_path};
pub use row::{Header, InputError, Row, RowRefusal, RowSource, open, open_from};
pub use submit::InPlace;
pub use times::{Choice, Clock};

#[cfg(test)]
mod tests;
