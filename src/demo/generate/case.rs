//! The life of a case: opened, accepted or refused, dispatched, signed, contacted, handled, closed, called back, with the
//! turns it may take on the way. One call of [`Case::play`] is one event; the next step and its time follow from it.

mod handler;
mod step;
mod times;
mod verdict;

use siji_schemas::Event;

use super::Scene;
use super::calendar::{MINUTE, deadline};
use super::dice::mix;
use super::ident::Person;
use super::matter::resident;
use super::plan::{Offer, Opening};
use super::record::record;
use step::Step;
use verdict::Verdict;

/// A case under way.
#[derive(Debug, Clone)]
pub(super) struct Case {
    number: u64,
    /// The case opened before it at the same place; 0 = none.
    neighbour: u64,
    /// When it is to be closed.
    due_ms: i64,
    /// When it will be handled, where that is settled already.
    handled_ms: i64,
    leaf: u32,
    handler: u32,
    service: u16,
    opening: u16,
    step: Step,
    verdict: Verdict,
    /// How often it has been taken up again.
    again: u8,
    direct: bool,
}

impl Case {
    /// A new case at a lowest area.
    pub fn begin(opening: u16, leaf: u32, number: u64, scene: &mut Scene<'_>) -> Case {
        let how = &scene.plan.openings[usize::from(opening)];
        let service = how.services[scene.dice.below(how.services.len() as u64) as usize];
        let step = if how.channel == "hotline" {
            Step::Call
        } else {
            Step::Open
        };
        let direct = scene.dice.chance(how.direct);
        let (neighbour, due_ms, handled_ms) = (0, 0, 0);
        let verdict = if direct {
            Verdict::Answered
        } else {
            Verdict::Resolved
        };
        Case {
            number,
            neighbour,
            due_ms,
            handled_ms,
            leaf,
            handler: leaf,
            service,
            opening,
            step,
            verdict,
            again: 0,
            direct,
        }
    }

    /// The lowest area where it was opened.
    pub fn leaf(&self) -> u32 {
        self.leaf
    }

    fn offer<'a>(&self, scene: &Scene<'a>) -> &'a Offer {
        &scene.plan.services[usize::from(self.service)]
    }

    fn how<'a>(&self, scene: &Scene<'a>) -> &'a Opening {
        &scene.plan.openings[usize::from(self.opening)]
    }

    /// The event of the step that is due, and when the next one is; `None` where the case ends.
    pub fn play(&mut self, now_ms: i64, scene: &mut Scene<'_>) -> (Event, Option<i64>) {
        let event = self.event(now_ms, scene);
        let next = self.turn(now_ms, scene).map(|(step, at)| {
            self.step = step;
            at.max(now_ms + MINUTE)
        });
        (event, next)
    }

    fn event(&mut self, now_ms: i64, scene: &mut Scene<'_>) -> Event {
        let (how, offer) = (self.how(scene), self.offer(scene));
        let mut event = self.bare(scene);
        let role = match self.step {
            Step::Call => {
                event.event_type = Some("call.received".to_owned());
                event.subject_kind = Some("call".to_owned());
                event.subject_id = Some(scene.ident.subject("call", self.number));
                (event.case_kind, event.home_area_code) = (None, None);
                event.outcome = Some("answered".to_owned());
                put(&mut event, "line", "12345");
                put(&mut event, "wait_s", &scene.dice.skewed(2, 40).to_string());
                put(
                    &mut event,
                    "talk_s",
                    &scene.dice.skewed(40, 600).to_string(),
                );
                "operator"
            }
            Step::Open => {
                self.neighbour =
                    std::mem::replace(&mut scene.latest[self.leaf as usize], self.number);
                match how.channel.as_str() {
                    "hotline" => put(&mut event, "line", "12345"),
                    "proactive" | "patrol" => put(&mut event, "trigger", "proactive"),
                    "button" => put(&mut event, "urgency", "urgent"),
                    _ => {}
                }
                if !offer.sensitive && scene.dice.chance(how.resident) {
                    event.resident_ref = Some(
                        scene
                            .ident
                            .person(Person::Resident, resident(self.leaf, scene.dice)),
                    );
                }
                &how.role
            }
            Step::Accept => {
                self.due_ms = deadline(now_ms, offer.close_hours, offer.working);
                event.due_at = Some(self.due_ms);
                event.outcome = Some("accepted".to_owned());
                "operator"
            }
            Step::Refuse => {
                event.outcome = Some(
                    if scene.dice.chance(0.8) {
                        "refused"
                    } else {
                        "void"
                    }
                    .to_owned(),
                );
                put(
                    &mut event,
                    "reason",
                    ["not_competent", "in_court", "unclear", "repeated"]
                        [scene.dice.below(4) as usize],
                );
                "operator"
            }
            Step::Merge => {
                put(
                    &mut event,
                    "parent_case",
                    &scene.ident.subject("case", self.neighbour),
                );
                "operator"
            }
            Step::Withdraw => "resident",
            Step::Dispatch => {
                self.handler = self.choose_handler(scene);
                self.limit(
                    &mut event,
                    deadline(now_ms, offer.sign_hours, offer.working),
                    scene,
                );
                "operator"
            }
            Step::Transfer => {
                let reason = ["return", "return", "wrong_area", "not_competent"]
                    [scene.dice.below(4) as usize];
                self.handler = self.other_handler(scene);
                self.limit(
                    &mut event,
                    deadline(now_ms, offer.sign_hours, offer.working),
                    scene,
                );
                put(&mut event, "reason", reason);
                "operator"
            }
            Step::Sign => {
                self.limit(
                    &mut event,
                    deadline(now_ms, offer.respond_hours, offer.working),
                    scene,
                );
                self.handler_role(scene)
            }
            Step::Contact => {
                event.outcome = Some(
                    if scene.dice.chance(0.93) {
                        "yes"
                    } else {
                        "missed"
                    }
                    .to_owned(),
                );
                self.handler_role(scene)
            }
            Step::Escalate => {
                self.handler = scene.city.place(self.handler).above.unwrap_or(self.handler);
                self.limit(&mut event, self.due_ms, scene);
                put(
                    &mut event,
                    "reason",
                    ["several_departments", "no_power", "no_money"][scene.dice.below(3) as usize],
                );
                "street"
            }
            Step::Suspend => {
                put(
                    &mut event,
                    "reason",
                    [
                        "waiting_for_parts",
                        "resident_absent",
                        "planned_works",
                        "in_court",
                    ][scene.dice.below(4) as usize],
                );
                self.handler_role(scene)
            }
            Step::Resume | Step::Rework => self.handler_role(scene),
            Step::Supervise => {
                put(
                    &mut event,
                    "level",
                    ["district", "district", "city"][scene.dice.below(3) as usize],
                );
                "supervisor"
            }
            Step::Handle => {
                self.verdict = self.judge(now_ms, scene);
                event.outcome = Some(self.verdict.word().to_owned());
                event.minutes = Some(scene.dice.skewed(10, 300) as i32);
                event.actor_ref = Some(scene.ident.person(
                    Person::Worker,
                    mix(u64::from(self.handler), scene.dice.below(14)),
                ));
                self.handler_role(scene)
            }
            Step::Close => {
                event.outcome = Some(self.verdict.word().to_owned());
                if how.kind == "affair" {
                    put(
                        &mut event,
                        "visits",
                        if self.direct || scene.dice.chance(0.55) {
                            "1"
                        } else {
                            "2"
                        },
                    );
                }
                if self.direct {
                    &how.role
                } else {
                    self.handler_role(scene)
                }
            }
            Step::CallBack => {
                self.ask(&mut event, now_ms, scene);
                "operator"
            }
            Step::Reopen => "operator",
        };
        if matches!(self.step, Step::Rework | Step::Reopen) {
            put(&mut event, "reason", "callback_unresolved");
        }
        event.actor_role = Some(
            if how.channel == "window" && role == "operator" {
                "worker"
            } else {
                role
            }
            .to_owned(),
        );
        event
    }

    /// What every event of the case says.
    fn bare(&self, scene: &Scene<'_>) -> Event {
        let how = self.how(scene);
        let code = &scene.city.place(self.leaf).code;
        let mut event = record(
            self.step.event_type(),
            "case",
            scene.ident.subject("case", self.number),
            code,
        );
        event.home_area_code = Some(code.clone());
        event.case_kind = Some(how.kind.clone());
        event.channel = Some(how.channel.clone());
        event.service_code = Some(self.offer(scene).code.clone());
        if self.step.has_handler() && !self.direct {
            self.name_handler(&mut event, scene);
        }
        event
    }
}

fn put(event: &mut Event, key: &str, value: &str) {
    event.attrs.insert(key.to_owned(), value.to_owned());
}
