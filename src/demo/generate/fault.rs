//! Events that are wrong in one way each, as clients get them wrong.

use siji_schemas::area::{AreaTree, Day};
use siji_schemas::json::MICROS;
use siji_schemas::{Code, Event};

use super::calendar::{HOUR, MINUTE};
use super::city::City;
use super::dice::Dice;
use super::plan::Plan;

/// Mistakes by the rule they break, each with the types of event it is made in.
const MISTAKES: [(Code, &[&str]); 11] = [
    (
        Code::V02,
        &[
            "service.delivered",
            "volunteer.served",
            "fund.spent",
            "proposal.submitted",
        ],
    ),
    (
        Code::V03,
        &["visit.made", "activity.held", "service.delivered"],
    ),
    (Code::V04, &["visit.made", "service.delivered"]),
    (Code::V05, &["visit.made"]),
    (
        Code::V06,
        &["service.delivered", "fund.spent", "visit.made"],
    ),
    (Code::V07, &["survey.answered", "score.awarded"]),
    (Code::V08, &["service.delivered", "stock.reported"]),
    (Code::V12, &["visit.made"]),
    (Code::V13, &["visit.made", "activity.held"]),
    (Code::V14, &["visit.made", "activity.held"]),
    (Code::V16, &["stock.reported", "points.redeemed"]),
];

/// Makes mistakes, each in its turn.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    /// Codes with the shapes they can be made in.
    mistakes: Vec<(Code, Vec<u16>)>,
    turn: usize,
    /// Area codes that nobody knows, or not in these days.
    nowhere: Vec<String>,
}

impl Faults {
    /// What can go wrong in a city.
    pub fn new(
        plan: &Plan,
        city: &City,
        tree: &AreaTree,
        first: Day,
        last: Day,
        dice: &mut Dice,
    ) -> Faults {
        let nowhere = nowhere(city, tree, first, last);
        let possible = |code: Code| match code {
            Code::V04 => !nowhere.is_empty(),
            // The centre may send for every area, so it takes two others to be in the wrong one.
            Code::V14 => city.sources.len() > 2,
            _ => true,
        };
        let mut mistakes: Vec<(Code, Vec<u16>)> = MISTAKES
            .iter()
            .filter(|(code, _)| possible(*code))
            .map(|(code, types)| {
                (
                    *code,
                    types
                        .iter()
                        .filter_map(|name| plan.shape_of(name))
                        .collect::<Vec<u16>>(),
                )
            })
            .filter(|(_, shapes)| !shapes.is_empty())
            .collect();
        for i in (1..mistakes.len()).rev() {
            mistakes.swap(i, dice.below(i as u64 + 1) as usize);
        }
        Faults {
            mistakes,
            turn: 0,
            nowhere,
        }
    }

    /// The next mistake, and the shape it is made in; `None` where nothing can go wrong.
    pub fn next(&mut self, dice: &mut Dice) -> Option<(Code, u16)> {
        let (code, shapes) = self.mistakes.get(self.turn % self.mistakes.len().max(1))?;
        self.turn += 1;
        Some((*code, shapes[dice.below(shapes.len() as u64) as usize]))
    }

    /// Makes a good event wrong. `source` is the collector it is sent through, which V14 changes.
    pub fn spoil(
        &self,
        code: Code,
        event: &mut Event,
        source: &mut usize,
        always: bool,
        city: &City,
        dice: &mut Dice,
    ) {
        let event_type = event.event_type.clone().unwrap_or_default();
        let set = |slot: &mut Option<String>, text: &str| *slot = Some(text.to_owned());
        match (code, event_type.as_str()) {
            (Code::V02, "service.delivered") => event.count = None,
            (Code::V02, "volunteer.served") => event.minutes = None,
            (Code::V02, "fund.spent") => event.amount_fen = None,
            (Code::V02, _) => drop(event.attrs.remove("layer")),
            (Code::V03, "visit.made") => set(&mut event.event_type, "visit.done"),
            (Code::V03, "activity.held") => set(&mut event.channel, "wechat_group"),
            (Code::V03, _) => set(&mut event.fee_mode, "cheap"),
            (Code::V04, _) => {
                event.area_code =
                    Some(self.nowhere[dice.below(self.nowhere.len() as u64) as usize].clone())
            }
            (Code::V05, _) => {
                let occurred = event.occurred_at.unwrap_or_default();
                event.occurred_at = Some(match dice.below(3) {
                    // Seconds taken for milliseconds.
                    0 if always => occurred / 1000,
                    // Local time taken for UTC.
                    1 => occurred + 8 * HOUR,
                    // A date typed wrong.
                    _ => occurred + dice.between(24 * HOUR, 72 * HOUR) / MINUTE * MINUTE,
                });
            }
            (Code::V06, "service.delivered") => {
                event.count = event.count.map(|count| -count.max(1))
            }
            (Code::V06, "fund.spent") => event.amount_fen = event.amount_fen.map(|fen| -fen.max(1)),
            (Code::V06, _) => event.minutes = Some(-dice.between(1, 600) as i32),
            (Code::V07, "survey.answered") => {
                event.rating = Some(*[0, 6, 10, 100].get(dice.below(4) as usize).unwrap_or(&6))
            }
            (Code::V07, _) => {
                event.value = Some(dice.between(101, 999) * MICROS);
                set(&mut event.unit, "pct");
            }
            (Code::V08, "service.delivered") => {
                set(
                    &mut event.service_code,
                    ["elder", "elder.homecare", "yanglao"][dice.below(3) as usize],
                );
            }
            (Code::V08, _) => set(
                &mut event.subject_id,
                ["population", "hh", "staf"][dice.below(3) as usize],
            ),
            (Code::V12, _) => {
                // Numbers that nobody has: a subscriber of all zeros, a person born on 1900-01-01 with serial 000.
                let number = ["13800000000", "110101190001010000"][dice.below(2) as usize];
                event
                    .attrs
                    .insert("external_id".to_owned(), number.to_owned());
            }
            (Code::V13, "visit.made") => drop(
                event
                    .attrs
                    .insert("remark".to_owned(), "nobody at home".to_owned()),
            ),
            (Code::V13, _) => drop(event.attrs.insert("topic".to_owned(), "health ".repeat(40))),
            (Code::V14, _) => {
                let others = city.sources.len() - 2;
                let other = 1 + dice.below(others as u64) as usize;
                *source = if other >= *source { other + 1 } else { other };
            }
            (Code::V16, "stock.reported") => set(&mut event.unit, "km2"),
            (Code::V16, _) => set(&mut event.unit, "yuan"),
            _ => {}
        }
    }
}

/// Codes of no area of those days: abolished ones, and neighbours of real ones that were never given out.
fn nowhere(city: &City, tree: &AreaTree, first: Day, last: Day) -> Vec<String> {
    let mut codes: Vec<String> = tree
        .rows()
        .iter()
        .filter(|row| {
            row.valid_to.is_some_and(|to| to <= first) && tree.lineage(&row.code, last).is_none()
        })
        .filter(|row| tree.lineage(&row.code, first).is_none())
        .map(|row| row.code.clone())
        .take(8)
        .collect();
    let step = (city.places.len() / 16).max(1);
    for place in city.places.iter().rev().step_by(step) {
        let stem = place
            .code
            .get(..place.code.len().saturating_sub(3))
            .unwrap_or_default();
        codes.extend(
            (900..1000)
                .rev()
                .map(|n| format!("{stem}{n}"))
                .find(|code| tree.id(code).is_none()),
        );
    }
    codes
}
