//! Everything but cases: one event, and what may follow from it.

use siji_schemas::Event;
use siji_schemas::json::MICROS;

use super::Scene;
use super::calendar::{self, DAY, HOUR};
use super::dice::{Dice, mix, of_text};
use super::ident::Person;
use super::plan::Shape;
use super::record::{record, text};

/// Something under way, and its next event.
#[derive(Debug, Clone)]
pub(super) struct Matter {
    /// Number of this occasion.
    serial: u64,
    /// Number of the subject.
    number: u64,
    begun_ms: i64,
    leaf: u32,
    shape: u16,
    /// Minutes or fen of the event before.
    measure: i64,
}

/// Known residents of a community.
const RESIDENTS: i64 = 600;

impl Matter {
    /// A new matter of a shape at a lowest area.
    pub fn begin(
        shape: u16,
        leaf: u32,
        serial: u64,
        begun_ms: i64,
        scene: &mut Scene<'_>,
    ) -> Matter {
        let of = &scene.plan.shapes[usize::from(shape)];
        let number = match of.pool {
            None => serial,
            Some(pool) => mix(
                of_text(person_of(of).map_or(&of.subject, |(name, _)| name)),
                u64::from(leaf) << 32 | scene.dice.below(pool),
            ),
        };
        Matter {
            serial,
            number,
            begun_ms,
            leaf,
            shape,
            measure: 0,
        }
    }

    /// Its event, and where it lies.
    pub fn write(&mut self, occurred_ms: i64, scene: &mut Scene<'_>) -> (Event, u32) {
        let shape = &scene.plan.shapes[usize::from(self.shape)];
        let at = scene.city.up_to(self.leaf, shape.tier);
        let code = &scene.city.place(at).code;
        let grid = shape
            .grid
            .then(|| format!("{code}-g{}", 1 + self.number % shape.pool.unwrap_or(9)));
        let subject = match (person_of(shape), &grid) {
            (Some((_, person)), _) => scene.ident.person(person, self.number),
            (None, Some(grid)) if shape.subject == "grid" => format!("grid:{grid}"),
            (None, _) if shape.of_area => code.clone(),
            (None, _) => scene.ident.subject(&shape.subject, self.number),
        };
        let mut event = record(&shape.event_type, &shape.subject, subject, code);
        event.grid_code = grid;
        event.actor_role = text(&shape.role);
        let dice = &mut *scene.dice;
        if shape.worker {
            event.actor_ref = Some(
                scene
                    .ident
                    .person(Person::Worker, mix(u64::from(at), dice.below(9))),
            );
        }
        let mut sensitive = false;
        if !shape.services.is_empty() {
            let service = shape.services[dice.below(shape.services.len() as u64) as usize];
            let offer = &scene.plan.services[usize::from(service)];
            event.service_code = Some(offer.code.clone());
            sensitive = offer.sensitive;
        }
        if shape.resident > 0.0 && !sensitive && dice.chance(shape.resident) {
            event.resident_ref = Some(
                scene
                    .ident
                    .person(Person::Resident, resident(self.leaf, dice)),
            );
        }
        self.measures(shape, &mut event, dice);
        event.outcome = shape.outcome.pick(dice.bits()).map(str::to_owned);
        event.fee_mode = shape.fee.pick(dice.bits()).map(str::to_owned);
        event.fund_source = shape.fund.of(self.serial, 1).map(str::to_owned);
        event.due_at = shape
            .due_days
            .map(|(low, high)| occurred_ms + dice.between(low, high) * DAY);
        let words = shape
            .nature
            .iter()
            .map(|(key, words)| (key, words, self.number));
        for (key, words, thing) in words.chain(
            shape
                .attrs
                .iter()
                .map(|(key, words)| (key, words, self.serial)),
        ) {
            if let Some(word) = words.of(thing, of_text(key)) {
                event.attrs.insert(key.clone(), self.spell(word));
            }
        }
        if shape.subject == "register" {
            level(&mut event, u64::from(at), scene);
        }
        (event, at)
    }

    fn measures(&mut self, shape: &Shape, event: &mut Event, dice: &mut Dice) {
        event.count = shape.count.map(|(low, high)| dice.skewed(low, high));
        event.minutes = shape
            .minutes
            .map(|(low, high)| dice.skewed(low, high) as i32);
        event.amount_fen = match (shape.yuan, shape.yuan_part) {
            (Some((low, high)), _) => Some(dice.skewed(low, high) * 100),
            (None, Some((low, high))) => {
                Some((self.measure as f64 * (low + (high - low) * dice.unit())) as i64)
            }
            (None, None) => None,
        };
        let value = match shape.value {
            // One point an hour, by halves.
            None if shape.value_of_minutes => Some((self.measure / 30).max(1) * MICROS / 2),
            None => None,
            // Scores crowd at the upper end, sizes at the lower.
            Some((low, high)) if shape.unit == "score" => {
                Some((high + low - dice.skewed(low, high)) * MICROS)
            }
            Some((low, high)) => Some(dice.skewed(low, high) * MICROS),
        };
        if let Some((low, high)) = shape.count_part {
            event.count = value
                .map(|value| ((value / MICROS) as f64 * (low + (high - low) * dice.unit())) as i64);
        }
        if value.is_some() {
            event.value = value;
            event.unit = text(&shape.unit);
        }
        event.rating = shape
            .rating
            .then(|| [5, 5, 5, 5, 5, 4, 4, 4, 4, 3, 3, 2, 1][dice.below(13) as usize]);
        if let Some(measure) = event.amount_fen.or(event.minutes.map(i64::from)) {
            self.measure = measure;
        }
    }

    /// What follows, and when.
    pub fn next(mut self, now_ms: i64, scene: &mut Scene<'_>) -> Option<(i64, Matter)> {
        let mut left = scene.dice.unit();
        let shape = &scene.plan.shapes[usize::from(self.shape)];
        let then = shape.then.iter().find(|then| {
            left -= then.chance;
            left < 0.0
        })?;
        self.shape = then.shape;
        let pace = scene.city.place(self.leaf).pace;
        let after = now_ms + (then.hours * pace * scene.dice.factor(0.8) * HOUR as f64) as i64;
        let settle = if then.any_time {
            calendar::daytime
        } else {
            calendar::office
        };
        Some((
            settle(after, scene.dice).max(now_ms + calendar::MINUTE),
            self,
        ))
    }

    fn spell(&self, word: &str) -> String {
        let (year, month, _) = calendar::date(self.begun_ms);
        match word {
            "@year" => year.to_string(),
            "@month" => format!("{year}-{month:02}"),
            "@last_month" if month == 1 => format!("{}-12", year - 1),
            "@last_month" => format!("{year}-{:02}", month - 1),
            word => word.to_owned(),
        }
    }
}

/// Subjects that are people: what their pool is called, and which pseudonym they have.
fn person_of(shape: &Shape) -> Option<(&'static str, Person)> {
    match shape.subject.as_str() {
        "volunteer" | "account" => Some(("volunteer", Person::Resident)),
        "staff" => Some(("staff", Person::Worker)),
        _ => None,
    }
}

/// The number of a resident of a community; some come again and again.
pub(super) fn resident(leaf: u32, dice: &mut Dice) -> u64 {
    mix(
        of_text("resident"),
        u64::from(leaf) << 32 | dice.skewed(0, RESIDENTS).unsigned_abs(),
    )
}

/// Turns the event into a statement of one of the registers: great communities have much of everything.
fn level(event: &mut Event, place: u64, scene: &mut Scene<'_>) {
    let registers = &scene.plan.registers;
    let register = &registers[scene.dice.below(registers.len() as u64) as usize];
    let mut of_place = Dice::new(mix(of_text("size"), place));
    let size = of_place.unit() * of_place.unit();
    let own = Dice::new(mix(of_text(&register.code), place)).unit();
    let part = (size * (0.92 + 0.16 * own)).min(1.0);
    let (low, high) = register.range;
    event.subject_id = Some(register.code.clone());
    event.value = Some((low + ((high - low) as f64 * part) as i64) * MICROS);
    event.unit = Some(register.unit.clone());
}
