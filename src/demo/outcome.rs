//! The account of a demo: what was sent, what became of it, and whether the two agree.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use siji_aggregator::Progress;
use siji_aggregator::judge::Disposition;

use super::districts::{self, District};
use super::generate::Summary;
use crate::verify::Report;

/// What a demo came to.
#[derive(Debug)]
pub struct Outcome {
    pub city: &'static str,
    pub seed: u64,
    /// What the generator and the published figures must come to.
    pub expected: Expected,
    /// What the lake took in during the run.
    pub taken: Progress,
    /// Accepted events by tier that came in during the run.
    pub tiers: BTreeMap<&'static str, i64>,
    /// What was sent and what came in during the run, by district.
    pub districts: Vec<District>,
    pub verify: Report,
    pub lake: String,
    pub elapsed_s: f64,
}

/// Events sent during the run, by what must become of them.
#[derive(Debug)]
pub struct Expected {
    /// From the generator.
    pub generated: Summary,
    /// Published figures, all good.
    pub published: u64,
    /// First signs of life of the collectors, all good.
    pub heartbeats: u64,
    /// Whether the lake was empty before: else what was sent before is a duplicate now.
    pub first_run: bool,
}

impl Expected {
    /// Everything sent.
    pub fn all(&self) -> u64 {
        self.generated.generated + self.published + self.heartbeats
    }
}

impl Outcome {
    /// Whether every event became what it must, every tier has every accepted event, and the audit found nothing.
    pub fn ok(&self) -> bool {
        self.problems().is_empty() && self.verify.ok()
    }

    fn accepted(&self) -> u64 {
        self.taken.records(Disposition::Accepted)
    }

    /// What does not add up.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |what: &str, expected: u64, found: u64| {
            if expected != found {
                problems.push(format!("{what}: expected {expected}, found {found}"));
            }
        };
        let (accepted, duplicate) = (self.accepted(), self.taken.records(Disposition::Duplicate));
        let quarantined = self.taken.records(Disposition::Quarantined);
        check(
            "events in the ledger",
            self.expected.all(),
            accepted + duplicate + quarantined,
        );
        if self.expected.first_run {
            let generated = &self.expected.generated;
            check(
                "accepted",
                generated.accepted + self.expected.published + self.expected.heartbeats,
                accepted,
            );
            check("duplicate", generated.duplicate, duplicate);
            for (code, expected) in &generated.quarantined {
                let key = (Disposition::Quarantined.as_str(), code.as_str());
                check(
                    &format!("quarantined {code}"),
                    *expected,
                    self.taken.tally.get(&key).copied().unwrap_or(0),
                );
            }
            check("quarantined", generated.quarantined_total(), quarantined);
        }
        for (tier, found) in &self.tiers {
            check(
                &format!("rollup at tier {tier}"),
                accepted,
                u64::try_from(*found).unwrap_or(0),
            );
        }
        if self.expected.first_run {
            problems.extend(districts::differences(&self.districts));
        }
        problems
    }

    /// As `--output json` prints it.
    pub fn to_json(&self) -> Value {
        let quarantined: BTreeMap<&str, u64> = self
            .taken
            .tally
            .iter()
            .filter(|((disposition, _), _)| *disposition == Disposition::Quarantined.as_str())
            .map(|((_, code), n)| (*code, *n))
            .collect();
        json!({
            "city": self.city,
            "seed": self.seed,
            "events": {
                "generated": self.expected.all(),
                "accepted": self.accepted(),
                "duplicate": self.taken.records(Disposition::Duplicate),
                "quarantined": self.taken.records(Disposition::Quarantined),
                "late": self.expected.generated.late,
                "published": self.expected.published,
                "heartbeats": self.expected.heartbeats,
                "quarantined_by_code": quarantined,
            },
            "rollup": self.tiers,
            "districts": districts::to_json(&self.districts),
            "verify": if self.ok() { "ok" } else { "failed" },
            "problems": self.problems(),
            "differences": self.verify.differences(),
            "lake": self.lake,
            "elapsed_s": (self.elapsed_s * 1000.0).round() / 1000.0,
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = districts::table(&self.districts);
        let mut line = |label: &str, text: String| out.push_str(&format!("{label:<12} {text}\n"));
        line(
            "sent",
            format!(
                "{} events: {} generated, {} published figures, {} heartbeats",
                self.expected.all(),
                self.expected.generated.generated,
                self.expected.published,
                self.expected.heartbeats
            ),
        );
        line(
            "became",
            format!(
                "{} accepted ({} late), {} duplicate, {} quarantined",
                self.accepted(),
                self.expected.generated.late,
                self.taken.records(Disposition::Duplicate),
                self.taken.records(Disposition::Quarantined)
            ),
        );
        let tiers: Vec<String> = self
            .tiers
            .iter()
            .map(|(tier, n)| format!("{tier} {n}"))
            .collect();
        line("rolled up", tiers.join(", "));
        line("verify", if self.ok() { "ok" } else { "failed" }.to_owned());
        for problem in self
            .problems()
            .iter()
            .map(String::as_str)
            .chain(self.verify.differences().iter().map(String::as_str))
        {
            line("difference", problem.to_owned());
        }
        line("lake", self.lake.clone());
        line("took", format!("{:.1} s", self.elapsed_s));
        out
    }
}
