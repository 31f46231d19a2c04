//! What a run is asked for, and why it may not come about.

use siji_schemas::area::Day;

/// What to generate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratorConfig {
    /// Same seed (and everything else here), same events.
    pub seed: u64,
    /// Number of events, each sending counted.
    pub events: u64,
    /// End of the days, in milliseconds UTC: everything is recorded before.
    pub end_ms: i64,
    /// Number of days they spread over.
    pub days: u32,
}

impl Default for GeneratorConfig {
    /// 200,000 events of the 30 days before 2026-01-01, local time: past for every clock, so that nothing is refused as
    /// coming from the future.
    fn default() -> GeneratorConfig {
        GeneratorConfig {
            seed: 1,
            events: 200_000,
            end_ms: 1_767_196_800_000,
            days: 30,
        }
    }
}

/// Why nothing can be generated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeneratorError {
    /// No such area.
    #[error("area {code} is not in the registry on all days from {first} to {last}")]
    UnknownCity {
        /// The code that was asked for.
        code: String,
        /// First day that matters, late events included.
        first: Day,
        /// Last day that matters.
        last: Day,
    },
    /// A time or number outside what can be generated.
    #[error("{0}")]
    Range(&'static str),
    /// The built-in material is damaged.
    #[error("{0}")]
    Material(String),
    /// The catalogue shares no event type with the built-in material.
    #[error("the catalogue knows none of the event types the demo is made of")]
    NothingKnown,
}
