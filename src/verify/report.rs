//! What an audit found.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::{Value, json};

use super::LISTED;

/// The result of an audit.
#[derive(Debug, Default)]
pub struct Report {
    /// Kafka offsets the ledger accounts for.
    pub offsets: i64,
    /// Of these, by disposition.
    pub dispositions: BTreeMap<String, i64>,
    /// Offsets without records, and sequence numbers that never arrived.
    pub gaps: Vec<Value>,
    differences: Vec<String>,
}

impl Report {
    /// Whether everything follows from the ledger.
    pub fn ok(&self) -> bool {
        self.differences.is_empty()
    }

    /// What does not.
    pub fn differences(&self) -> &[String] {
        &self.differences
    }

    pub(super) fn difference(&mut self, text: String) {
        self.differences.push(text);
    }

    fn count(&self, disposition: &str) -> i64 {
        self.dispositions.get(disposition).copied().unwrap_or(0)
    }

    /// As `--output json` prints it.
    pub fn to_json(&self) -> Value {
        json!({
            "ok": self.ok(),
            "offsets": self.offsets,
            "accepted": self.count("accepted"),
            "duplicate": self.count("duplicate"),
            "quarantined": self.count("quarantined"),
            "parked": self.count("parked"),
            "gaps": self.gaps,
            "differences": self.differences,
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut lines = vec![format!("offsets      {:>12}", self.offsets)];
        lines.extend(
            self.dispositions
                .iter()
                .map(|(disposition, count)| format!("{disposition:<12} {count:>12}")),
        );
        lines.extend(listed("gap", &self.gaps));
        lines.extend(listed("difference", &self.differences));
        if self.ok() {
            lines.push(
                "ok: each offset once, every tier equals its recomputation from the ledger"
                    .to_owned(),
            );
        }
        lines.join("\n") + "\n"
    }
}

/// The first of many, and how many more there are.
fn listed(label: &str, items: &[impl Display]) -> Vec<String> {
    let mut lines: Vec<String> = items
        .iter()
        .take(LISTED)
        .map(|item| format!("{label:<12} {item}"))
        .collect();
    if items.len() > LISTED {
        lines.push(format!("{label:<12} and {} more", items.len() - LISTED));
    }
    lines
}
