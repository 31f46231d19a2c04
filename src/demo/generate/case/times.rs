//! Which step of a case comes next, and when.

use super::{Case, Step, Verdict};
use crate::demo::generate::Scene;
use crate::demo::generate::calendar::{HOUR, MINUTE, daytime, office};

/// Hours on the clock in which an office works one hour: a week has 168, an office 40.
const WORKING: f64 = 4.2;

impl Case {
    /// The step after the one that has just been played.
    pub(super) fn turn(&mut self, now_ms: i64, scene: &mut Scene<'_>) -> Option<(Step, i64)> {
        let life = &scene.plan.life;
        match self.step {
            Step::Call => Some((Step::Open, now_ms + scene.dice.between(MINUTE, 4 * MINUTE))),
            Step::Open if scene.dice.chance(life.refused) => {
                Some((Step::Refuse, self.at_desk(now_ms, scene)))
            }
            Step::Open => Some((Step::Accept, self.at_desk(now_ms, scene))),
            Step::Accept if self.direct => Some((Step::Close, self.at_desk(now_ms, scene))),
            Step::Accept if self.neighbour != 0 && scene.dice.chance(life.merged) => {
                Some((Step::Merge, self.at_desk(now_ms, scene)))
            }
            Step::Accept if scene.dice.chance(life.withdrawn) => {
                let later = self.after(now_ms, 5.0, scene);
                Some((Step::Withdraw, daytime(later, scene.dice)))
            }
            Step::Accept => Some((Step::Dispatch, self.at_desk(now_ms, scene))),
            Step::Dispatch if scene.dice.chance(life.transferred) => Some((
                Step::Transfer,
                self.part_of(now_ms, 0.25, |o| o.sign_hours, scene),
            )),
            Step::Dispatch | Step::Transfer => Some((
                Step::Sign,
                self.part_of(now_ms, 0.25, |o| o.sign_hours, scene),
            )),
            Step::Sign => Some((
                Step::Contact,
                self.part_of(now_ms, 0.25, |o| o.respond_hours, scene),
            )),
            Step::Contact => Some(self.after_contact(now_ms, scene)),
            Step::Escalate | Step::Resume | Step::Rework => {
                Some(self.towards_handling(now_ms, scene))
            }
            Step::Suspend => {
                let later = self.after(now_ms, 70.0, scene);
                Some((Step::Resume, office(later, scene.dice)))
            }
            Step::Supervise => Some((Step::Handle, self.handled_ms.max(now_ms + HOUR))),
            Step::Handle => {
                let later = self.after(now_ms, 1.5, scene);
                Some((Step::Close, self.settle(later, scene)))
            }
            Step::Close
                if self.offer(scene).callback
                    && self.how(scene).resident > 0.0
                    && scene.dice.chance(life.called_back) =>
            {
                let later = self.after(now_ms, 22.0, scene);
                Some((Step::CallBack, daytime(later, scene.dice)))
            }
            Step::CallBack if self.verdict == Verdict::Unresolved && self.again < 2 => {
                let draw = scene.dice.unit();
                self.again += 1;
                let step = match draw {
                    _ if draw < life.reworked => Step::Rework,
                    _ if draw < life.reworked + life.reopened => Step::Reopen,
                    _ => return None,
                };
                let later = self.after(now_ms, 3.0, scene);
                Some((step, office(later, scene.dice)))
            }
            Step::Reopen => Some((Step::Dispatch, self.at_desk(now_ms, scene))),
            Step::Close | Step::CallBack | Step::Refuse | Step::Merge | Step::Withdraw => None,
        }
    }

    fn after_contact(&mut self, now_ms: i64, scene: &mut Scene<'_>) -> (Step, i64) {
        let life = &scene.plan.life;
        let draw = scene.dice.unit();
        let top = scene.city.place(self.handler).above.is_none();
        if draw < life.escalated && !top {
            (
                Step::Escalate,
                self.part_of(now_ms, 0.1, |o| o.close_hours, scene),
            )
        } else if draw > 1.0 - life.suspended {
            (
                Step::Suspend,
                self.part_of(now_ms, 0.15, |o| o.close_hours, scene),
            )
        } else {
            self.towards_handling(now_ms, scene)
        }
    }

    /// Handling takes its share of the limit; where it overruns, somebody may ask after it.
    fn towards_handling(&mut self, now_ms: i64, scene: &mut Scene<'_>) -> (Step, i64) {
        self.handled_ms = self.part_of(now_ms, 0.16, |o| o.close_hours, scene);
        let asked = office(self.due_ms.max(now_ms) + 4 * HOUR, scene.dice);
        if asked < self.handled_ms && scene.dice.chance(0.3) {
            return (Step::Supervise, asked);
        }
        (Step::Handle, self.handled_ms)
    }

    /// About so much of a limit later, in the hours of those who do it.
    fn part_of(
        &self,
        now_ms: i64,
        part: f64,
        limit: impl Fn(&super::Offer) -> u32,
        scene: &mut Scene<'_>,
    ) -> i64 {
        let offer = self.offer(scene);
        let clock = if offer.working { WORKING } else { 1.0 };
        let pace = scene.city.place(self.handler).pace;
        let later = self.after(now_ms, f64::from(limit(offer)) * part * clock * pace, scene);
        self.settle(later, scene)
    }

    /// About so many hours later.
    fn after(&self, now_ms: i64, hours: f64, scene: &mut Scene<'_>) -> i64 {
        now_ms + (hours * scene.dice.factor(1.0) * HOUR as f64) as i64
    }

    /// Where the case came in: a window or a telephone at once, a mailbox when somebody reads it.
    fn at_desk(&self, now_ms: i64, scene: &mut Scene<'_>) -> i64 {
        let (channel, urgent) = (self.how(scene).channel.as_str(), self.urgent(scene));
        match channel {
            "hotline" | "window" | "button" | "patrol" | "visit" => self.after(now_ms, 0.1, scene),
            _ if urgent => self.after(now_ms, 0.3, scene),
            "mailbox" | "media" | "council" | "web" => {
                let later = self.after(now_ms, 4.0, scene);
                office(later, scene.dice)
            }
            _ => {
                let later = self.after(now_ms, 0.8, scene);
                daytime(later, scene.dice)
            }
        }
    }

    fn urgent(&self, scene: &Scene<'_>) -> bool {
        self.offer(scene).close_hours <= 24 && !self.offer(scene).working
    }

    /// What is urgent is done at any hour, what has a few days at weekends too, the rest in office hours.
    fn settle(&self, at_ms: i64, scene: &mut Scene<'_>) -> i64 {
        match self.offer(scene) {
            _ if self.urgent(scene) => at_ms,
            offer if offer.close_hours <= 72 && !offer.working => daytime(at_ms, scene.dice),
            _ => office(at_ms, scene.dice),
        }
    }
}
