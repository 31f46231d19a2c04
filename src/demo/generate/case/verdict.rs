//! What comes of a case, and what its resident thinks of it.

use siji_schemas::Event;

use super::{Case, put};
use crate::demo::generate::Scene;
use crate::demo::generate::calendar::HOUR;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Answered,
    Resolved,
    Partly,
    Unresolved,
    Void,
}

impl Verdict {
    /// The word for it in `outcome`.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Answered => "answered",
            Verdict::Resolved => "resolved",
            Verdict::Partly => "partly",
            Verdict::Unresolved => "unresolved",
            Verdict::Void => "void",
        }
    }
}

impl Case {
    /// Slow places leave more undone.
    pub(super) fn judge(&self, now_ms: i64, scene: &mut Scene<'_>) -> Verdict {
        let pace = scene.city.place(self.handler).pace.clamp(0.4, 2.5);
        let late = if now_ms > self.due_ms { 1.8 } else { 1.0 };
        let worse = pace * late / (1.0 + f64::from(self.again));
        let draw = scene.dice.unit();
        match draw {
            _ if draw < 0.06 * worse => Verdict::Unresolved,
            _ if draw < 0.15 * worse => Verdict::Partly,
            _ if draw > 0.99 => Verdict::Void,
            _ => Verdict::Resolved,
        }
    }

    /// The resident is asked what came of it, and how it was.
    pub(super) fn ask(&mut self, event: &mut Event, now_ms: i64, scene: &mut Scene<'_>) {
        put(
            event,
            "method",
            ["phone", "phone", "sms"][scene.dice.below(3) as usize],
        );
        put(
            event,
            "attempt",
            if scene.dice.chance(0.8) { "1" } else { "2" },
        );
        if scene.dice.chance(scene.plan.life.missed) {
            event.outcome = Some("missed".to_owned());
            return;
        }
        // Of 100 people, how many give 5, 4, 3, 2; the rest gives 1.
        let (outcome, ratings): (_, [u64; 4]) = match self.verdict {
            Verdict::Answered | Verdict::Resolved => ("resolved", [64, 24, 9, 2]),
            Verdict::Partly => ("partly", [16, 26, 35, 15]),
            Verdict::Unresolved => ("unresolved", [2, 8, 22, 30]),
            Verdict::Void => ("void", [30, 30, 25, 10]),
        };
        let mut left = scene.dice.below(100);
        let below = ratings.iter().take_while(|share| {
            let passed = left >= **share;
            left = left.saturating_sub(**share);
            passed
        });
        let rating = 5 - below.count() as i32;
        let annoyed = now_ms > self.due_ms + 48 * HOUR && scene.dice.chance(0.2);
        event.rating = Some((rating - i32::from(annoyed)).max(1));
        event.outcome = Some(outcome.to_owned());
    }
}
