//! What comes out: events, the collectors they go through, and what must become of them.

use siji_schemas::{Code, Event};

/// A collector of the city.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its `source_id`.
    pub id: String,
    /// Areas it may send for, everything below them included.
    pub areas: Vec<String>,
}

/// What the pipeline must make of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It counts.
    Accepted,
    /// It has been sent before, byte for byte.
    Duplicate,
    /// It is refused by this rule.
    Quarantined(Code),
}

/// One event on its way to a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// Position of the collector among [`super::Generator::sources`].
    pub source: usize,
    /// The event as a client sends it: with `recorded_at`, without the source's stamps.
    pub event: Event,
    /// What must become of it.
    pub fate: Fate,
}
