//! The material of the days, compiled: the data file against the catalogue, words with their weights, what follows what.

mod file;

use siji_schemas::area::{Day, Tier};
use siji_schemas::catalogue::{Catalogue, Sensitivity};

use super::GeneratorError;
use super::calendar::WEEK;
use super::dice::{Dice, Lottery, mix};
use super::timetable::Rhythm;

/// What can happen in a city.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub openings: Vec<Opening>,
    pub shapes: Vec<Shape>,
    pub services: Vec<Offer>,
    pub registers: Vec<Level>,
    pub life: Life,
    /// Events that follow hours or days later, for each that begins by itself or follows that at once.
    pub later: f64,
    /// When they do.
    pub desk: Rhythm,
    /// What begins in each hour of the week: openings first, then shapes.
    begin: Vec<Lottery>,
    /// How much begins in each hour of the week.
    pub volume: [f64; WEEK],
}

/// What begins by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// A case, by position among the openings.
    Case(u16),
    /// Anything else, by position among the shapes.
    Matter(u16),
}

/// How cases begin.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub channel: String,
    pub kind: String,
    pub services: Vec<u16>,
    pub direct: f64,
    pub resident: f64,
    pub role: String,
}

/// A service of the catalogue.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub code: String,
    pub sign_hours: u32,
    pub respond_hours: u32,
    pub close_hours: u32,
    pub working: bool,
    pub callback: bool,
    pub sensitive: bool,
}

/// A register and the range of its values.
#[derive(Debug, Clone)]
pub(super) struct Level {
    pub code: String,
    pub unit: String,
    pub range: (i64, i64),
}

/// Chances of the turns a case may take.
pub(super) use file::Life;

/// An event that is none of a case.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub event_type: String,
    pub name: String,
    pub tier: Tier,
    pub subject: String,
    pub of_area: bool,
    pub pool: Option<u64>,
    pub role: String,
    pub worker: bool,
    pub grid: bool,
    pub resident: f64,
    pub services: Vec<u16>,
    pub count: Option<(i64, i64)>,
    pub count_part: Option<(f64, f64)>,
    pub minutes: Option<(i64, i64)>,
    pub yuan: Option<(i64, i64)>,
    pub yuan_part: Option<(f64, f64)>,
    pub value: Option<(i64, i64)>,
    pub value_of_minutes: bool,
    pub unit: String,
    pub rating: bool,
    pub outcome: Words,
    pub fee: Words,
    pub fund: Words,
    pub due_days: Option<(i64, i64)>,
    pub nature: Vec<(String, Words)>,
    pub attrs: Vec<(String, Words)>,
    pub then: Vec<Then>,
    pub late: bool,
    pub first_days: u32,
}

/// What may follow an event.
#[derive(Debug, Clone)]
pub(super) struct Then {
    pub shape: u16,
    pub chance: f64,
    pub hours: f64,
    pub any_time: bool,
}

/// Words with weights; none at all says nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    words: Vec<(u32, String)>,
    total: u32,
}

impl Words {
    /// The word that a number chooses; `None` where that is to say nothing.
    pub fn pick(&self, bits: u64) -> Option<&str> {
        let at = ((u128::from(bits) * u128::from(self.total)) >> 64) as u32;
        let (_, word) = self.words.iter().find(|(up_to, _)| at < *up_to)?;
        (!word.is_empty()).then_some(word)
    }

    /// The word that belongs to a thing: the same thing, the same word.
    pub fn of(&self, thing: u64, salt: u64) -> Option<&str> {
        self.pick(mix(thing, salt))
    }
}

impl Plan {
    /// The built-in material, as far as the catalogue knows its types, services and registers on all days of the run.
    ///
    /// # Errors
    /// If nothing is left of it.
    pub fn new(catalogue: &Catalogue, first: Day, last: Day) -> Result<Plan, GeneratorError> {
        let file = file::read().map_err(GeneratorError::Material)?;
        let known = |name: &str| {
            catalogue
                .event_type(name)
                .is_some_and(|kind| kind.holds_on(first) && kind.holds_on(last))
        };
        let services: Vec<Offer> = catalogue
            .services()
            .iter()
            .filter(|service| {
                service.leaf
                    && service.holds_on(first)
                    && service.holds_on(last)
                    && !service.code.contains(".unnamed")
            })
            .map(|service| Offer {
                code: service.code.clone(),
                sign_hours: service.sign_hours.unwrap_or(8),
                respond_hours: service.respond_hours.unwrap_or(24),
                close_hours: service.close_hours.unwrap_or(168),
                working: service.calendar == "working",
                callback: service.callback,
                sensitive: service.sensitivity == Sensitivity::Sensitive,
            })
            .collect();
        let registers = file.register.iter().filter_map(|(code, [low, high])| {
            let register = catalogue
                .register(code)
                .filter(|register| register.holds_on(first) && register.holds_on(last))?;
            Some(Level {
                code: code.clone(),
                unit: register.unit.clone(),
                range: (*low, *high),
            })
        });
        let registers: Vec<Level> = registers.collect();
        let cases = file::CASE_TYPES.iter().all(|name| known(name));
        let shares = file.compile(&services, cases, |shape| {
            known(&shape.event_type) && (shape.subject != "register" || !registers.is_empty())
        });
        let file::Compiled {
            openings,
            shapes,
            shares,
            desk,
        } = shares.map_err(GeneratorError::Material)?;
        let mut volume = [0.0; WEEK];
        let mut begin = Vec::with_capacity(WEEK);
        for (hour, slot) in volume.iter_mut().enumerate() {
            let weights: Vec<f64> = shares
                .iter()
                .map(|(share, rhythm)| share * rhythm.0[hour])
                .collect();
            *slot = weights.iter().sum();
            begin.push(Lottery::new(&weights).ok_or(GeneratorError::NothingKnown)?);
        }
        let mean = volume.iter().sum::<f64>() / WEEK as f64;
        volume.iter_mut().for_each(|slot| *slot /= mean);
        let (life, later) = (file.life, file.later / (1.0 + file.at_once));
        Ok(Plan {
            openings,
            shapes,
            services,
            registers,
            life,
            later,
            desk,
            begin,
            volume,
        })
    }

    /// What begins in an hour of the week.
    pub fn begin(&self, hour_of_week: usize, dice: &mut Dice) -> Begin {
        let at = self.begin[hour_of_week].draw(dice) as usize;
        match at.checked_sub(self.openings.len()) {
            None => Begin::Case(at as u16),
            Some(shape) => Begin::Matter(shape as u16),
        }
    }

    /// The first shape of an event type.
    pub fn shape_of(&self, event_type: &str) -> Option<u16> {
        self.shapes
            .iter()
            .position(|shape| shape.event_type == event_type)
            .and_then(|at| u16::try_from(at).ok())
    }
}
