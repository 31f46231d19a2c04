//! The data file `days.toml` as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use siji_schemas::area::Tier;

use super::{Offer, Opening, Shape, Then, Words};
use crate::demo::generate::timetable::Rhythm;

const DAYS: &str = include_str!("../../data/days.toml");

/// Types that the life of a case is made of.
pub(super) const CASE_TYPES: [&str; 19] = [
    "call.received",
    "case.opened",
    "case.accepted",
    "case.refused",
    "case.dispatched",
    "case.signed",
    "case.contacted",
    "case.transferred",
    "case.escalated",
    "case.suspended",
    "case.resumed",
    "case.handled",
    "case.closed",
    "case.callback",
    "case.reworked",
    "case.reopened",
    "case.merged",
    "case.withdrawn",
    "case.supervised",
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DaysFile {
    pub at_once: f64,
    pub later: f64,
    rhythm: BTreeMap<String, RhythmFile>,
    pub life: Life,
    opening: Vec<OpeningFile>,
    event: Vec<EventFile>,
    pub register: BTreeMap<String, [i64; 2]>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RhythmFile {
    hours: [f64; 24],
    weekend: Option<[f64; 24]>,
    #[serde(default = "one")]
    monday: f64,
    saturday: f64,
    sunday: f64,
}

fn one() -> f64 {
    1.0
}

/// Chances of the turns a case may take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::demo::generate) struct Life {
    pub refused: f64,
    pub merged: f64,
    pub withdrawn: f64,
    pub transferred: f64,
    pub escalated: f64,
    pub suspended: f64,
    pub reworked: f64,
    pub reopened: f64,
    pub called_back: f64,
    pub missed: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpeningFile {
    channel: String,
    kind: String,
    share: f64,
    rhythm: String,
    services: Vec<String>,
    direct: f64,
    resident: f64,
    role: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventFile {
    r#type: String,
    name: Option<String>,
    share: f64,
    #[serde(default)]
    rhythm: String,
    tier: Option<String>,
    subject: String,
    #[serde(default)]
    of_area: bool,
    pool: Option<u64>,
    #[serde(default)]
    role: String,
    #[serde(default)]
    worker: bool,
    #[serde(default)]
    grid: bool,
    #[serde(default)]
    resident: f64,
    #[serde(default)]
    services: Vec<String>,
    count: Option<(i64, i64)>,
    count_part: Option<(f64, f64)>,
    minutes: Option<(i64, i64)>,
    yuan: Option<(i64, i64)>,
    yuan_part: Option<(f64, f64)>,
    value: Option<(i64, i64)>,
    #[serde(default)]
    value_of_minutes: bool,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    rating: bool,
    #[serde(default)]
    outcome: Vec<String>,
    #[serde(default)]
    fee: Vec<String>,
    #[serde(default)]
    fund: Vec<String>,
    due_days: Option<(i64, i64)>,
    #[serde(default)]
    nature: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    attrs: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    then: Vec<ThenFile>,
    #[serde(default)]
    late: bool,
    #[serde(default)]
    first_days: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThenFile {
    /// Name of a shape, or the type of its first one.
    #[serde(alias = "type")]
    name: String,
    chance: f64,
    hours: f64,
    #[serde(default)]
    any_time: bool,
}

/// The file against a catalogue.
pub(super) struct Compiled {
    pub openings: Vec<Opening>,
    pub shapes: Vec<Shape>,
    /// Share and rhythm of each opening, then of each shape.
    pub shares: Vec<(f64, Rhythm)>,
    pub desk: Rhythm,
}

/// Reads the built-in file.
///
/// # Errors
/// What is wrong with it, with its line.
pub(super) fn read() -> Result<DaysFile, String> {
    toml::from_str(DAYS).map_err(|error| format!("days.toml: {error}"))
}

impl DaysFile {
    /// Keeps what `known` knows of.
    ///
    /// # Errors
    /// The first name that stands for nothing, the first weight that is none.
    pub fn compile(
        &self,
        services: &[Offer],
        cases: bool,
        known: impl Fn(&Shape) -> bool,
    ) -> Result<Compiled, String> {
        let rhythms: BTreeMap<&str, Rhythm> = self
            .rhythm
            .iter()
            .map(|(name, rhythm)| (name.as_str(), rhythm.compile()))
            .collect();
        let rhythm = |name: &str| {
            rhythms
                .get(name)
                .cloned()
                .ok_or_else(|| format!("days.toml: there is no rhythm {name:?}"))
        };
        let flat = Rhythm::new(&[1.0; 24], &[1.0; 24], 1.0, 1.0, 1.0);
        let (mut openings, mut shapes, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for opening in self.opening.iter().filter(|_| cases) {
            let services = positions(&opening.services, services);
            if services.is_empty() {
                continue;
            }
            shares.push((opening.share, rhythm(&opening.rhythm)?));
            openings.push(Opening {
                channel: opening.channel.clone(),
                kind: opening.kind.clone(),
                services,
                direct: opening.direct,
                resident: opening.resident,
                role: opening.role.clone(),
            });
        }
        let mut kept = Vec::new();
        for event in &self.event {
            let shape = event.compile(services)?;
            if known(&shape) {
                shares.push((
                    event.share,
                    if event.share > 0.0 {
                        rhythm(&event.rhythm)?
                    } else {
                        flat.clone()
                    },
                ));
                shapes.push(shape);
                kept.push(event);
            }
        }
        let places: Vec<(String, String)> = shapes
            .iter()
            .map(|shape: &Shape| (shape.name.clone(), shape.event_type.clone()))
            .collect();
        for (shape, event) in shapes.iter_mut().zip(kept) {
            for then in &event.then {
                let by_name = places.iter().position(|(name, _)| *name == then.name);
                let at = by_name.or_else(|| {
                    places
                        .iter()
                        .position(|(_, event_type)| *event_type == then.name)
                });
                // A catalogue may lack the type; then nothing follows.
                if let Some(at) = at.and_then(|at| u16::try_from(at).ok()) {
                    let ThenFile {
                        chance,
                        hours,
                        any_time,
                        ..
                    } = *then;
                    shape.then.push(Then {
                        shape: at,
                        chance,
                        hours,
                        any_time,
                    });
                } else if !self.event.iter().any(|event| {
                    event.r#type == then.name || event.name.as_ref() == Some(&then.name)
                }) {
                    return Err(format!(
                        "days.toml: nothing is named {:?}, which should follow {}",
                        then.name, event.r#type
                    ));
                }
            }
        }
        Ok(Compiled {
            openings,
            shapes,
            shares,
            desk: rhythm("desk")?,
        })
    }
}

impl RhythmFile {
    fn compile(&self) -> Rhythm {
        let weekend = self.weekend.as_ref().unwrap_or(&self.hours);
        Rhythm::new(
            &self.hours,
            weekend,
            self.monday,
            self.saturday,
            self.sunday,
        )
    }
}

impl EventFile {
    fn compile(&self, services: &[Offer]) -> Result<Shape, String> {
        let tier = match &self.tier {
            None => Tier::Community,
            Some(text) => Tier::parse(text)
                .ok_or_else(|| format!("days.toml: tier {text:?} of {} is none", self.r#type))?,
        };
        let table = |table: &BTreeMap<String, Vec<String>>| {
            table
                .iter()
                .map(|(key, list)| Ok((key.clone(), words(list)?)))
                .collect::<Result<Vec<_>, String>>()
        };
        Ok(Shape {
            event_type: self.r#type.clone(),
            name: self.name.clone().unwrap_or_else(|| self.r#type.clone()),
            tier,
            subject: self.subject.clone(),
            of_area: self.of_area,
            pool: self.pool,
            role: self.role.clone(),
            worker: self.worker,
            grid: self.grid,
            resident: self.resident,
            services: positions(&self.services, services),
            count: self.count,
            count_part: self.count_part,
            minutes: self.minutes,
            yuan: self.yuan,
            yuan_part: self.yuan_part,
            value: self.value,
            value_of_minutes: self.value_of_minutes,
            unit: self.unit.clone(),
            rating: self.rating,
            outcome: words(&self.outcome)?,
            fee: words(&self.fee)?,
            fund: words(&self.fund)?,
            due_days: self.due_days,
            nature: table(&self.nature)?,
            attrs: table(&self.attrs)?,
            then: Vec::new(),
            late: self.late,
            first_days: self.first_days,
        })
    }
}

/// Services that are named, or whose group is.
fn positions(names: &[String], services: &[Offer]) -> Vec<u16> {
    let named = |code: &str| {
        names.iter().any(|name| {
            code.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    (0..services.len())
        .filter(|i| named(&services[*i].code))
        .filter_map(|i| u16::try_from(i).ok())
        .collect()
}

/// `word` or `word*weight`.
fn words(list: &[String]) -> Result<Words, String> {
    let mut all = Words::default();
    for item in list {
        let (word, weight) = match item.split_once('*') {
            None => (item.as_str(), 1),
            Some((word, weight)) => match weight.parse::<u16>() {
                Ok(weight) if weight > 0 => (word, u32::from(weight)),
                _ => {
                    return Err(format!(
                        "days.toml: {item:?} has no weight: expected word*3"
                    ));
                }
            },
        };
        all.total += weight;
        all.words.push((all.total, word.to_owned()));
    }
    Ok(all)
}
