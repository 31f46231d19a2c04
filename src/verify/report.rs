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
    /// Offsets without records, and sequence numbers that never arrived: the first of them.
    pub gaps: Vec<Value>,
    /// All runs of offsets without records.
    pub offset_gaps: Gaps,
    /// All openings of spools of which sequence numbers never arrived.
    pub sequence_gaps: Gaps,
    differences: Vec<String>,
}

/// How many gaps of a kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Gaps.
    pub count: i64,
    /// Offsets or sequence numbers in them.
    pub missing: i64,
}

impl Gaps {
    fn to_json(self) -> Value {
        json!({ "count": self.count, "missing": self.missing })
    }
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

    /// Takes what another look found.
    pub(super) fn differences_of(&mut self, other: Report) {
        self.differences.extend(other.differences);
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
            "gap_totals": {
                "offsets": self.offset_gaps.to_json(),
                "sequence": self.sequence_gaps.to_json(),
            },
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
        let gaps = self.offset_gaps.count + self.sequence_gaps.count;
        lines.extend(listed(
            "gap",
            &self.gaps,
            usize::try_from(gaps).unwrap_or(0),
        ));
        let differences = self.differences.len();
        lines.extend(listed("difference", &self.differences, differences));
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
fn listed(label: &str, items: &[impl Display], total: usize) -> Vec<String> {
    let mut lines: Vec<String> = items
        .iter()
        .take(LISTED)
        .map(|item| format!("{label:<12} {item}"))
        .collect();
    if total > lines.len() {
        lines.push(format!("{label:<12} and {} more", total - lines.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_that_are_not_listed_are_counted() {
        let report = Report {
            gaps: (0..1000).map(|from| json!({ "from": from })).collect(),
            offset_gaps: Gaps {
                count: 4000,
                missing: 9000,
            },
            ..Report::default()
        };
        assert!(
            report.to_text().contains("and 3980 more"),
            "{}",
            report.to_text()
        );
        let totals = &report.to_json()["gap_totals"];
        assert_eq!(totals["offsets"], json!({ "count": 4000, "missing": 9000 }));
        assert_eq!(totals["sequence"]["count"], 0);
    }
}
