//! The load of `siji bench aggregate`: 30 days of one city, dense and wide.
//!
//! Its shape is that of the load on which other systems were measured: 30 types, all communities, six services a type
//! and eight channels, each chosen by a Zipf distribution; 1 % up to two hours late, 0.5 % sent twice. The words are
//! siji's own, so that every event is valid.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use siji_schemas::Event;
use siji_schemas::area::{Day, Tier};
use siji_schemas::catalogue::Column;
use siji_schemas::validate::{Reference, validate};

const HOUR_MS: i64 = 3_600_000;
const DAYS: i64 = 30;
/// First local day.
const FIRST: &str = "2026-01-01";
const TYPES: usize = 30;
const SERVICES_A_TYPE: usize = 6;
const CHANNELS: usize = 8;
/// In a thousand.
const LATE: u32 = 10;
/// In a thousand.
const TWICE: u32 = 5;
/// An event that is sent twice comes again after at most so many others.
const AGAIN_WITHIN: u64 = 5000;

/// Events one after another, in order of their recording.
pub struct Load {
    random: ChaCha8Rng,
    events: u64,
    next: u64,
    begin_ms: i64,
    templates: Vec<Event>,
    areas: Vec<String>,
    services: Vec<String>,
    channels: Vec<String>,
    type_choice: Zipf,
    area_choice: Zipf,
    service_choice: Zipf,
    channel_choice: Zipf,
    again: VecDeque<(u64, Event)>,
}

impl Load {
    /// `events` events of a city whose registry is loaded. Always the same.
    pub fn new(events: u64, reference: &Reference) -> Option<Load> {
        let mut random = ChaCha8Rng::seed_from_u64(20_261_122);
        let first = Day::parse(FIRST)?;
        let begin_ms = reference.zone.start_of(first);
        let mut areas: Vec<String> = reference
            .areas
            .of_tier(Tier::Community, first)
            .map(|area| area.code.clone())
            .collect();
        // Otherwise the busiest communities would all lie in the first street.
        for i in (1..areas.len()).rev() {
            areas.swap(i, random.random_range(0..=i));
        }
        let services: Vec<String> = reference
            .catalogue
            .services()
            .iter()
            .filter(|service| service.leaf && service.holds_on(first))
            .map(|service| service.code.clone())
            .collect();
        let words = |column| reference.catalogue.words(column);
        let channels: Vec<String> = words(Column::channel)?
            .words
            .iter()
            .take(CHANNELS)
            .map(|word| word.name.clone())
            .collect();
        let templates = templates(reference, areas.first()?, services.first()?, begin_ms);
        if templates.is_empty() || channels.is_empty() {
            return None;
        }
        Some(Load {
            type_choice: Zipf::new(templates.len(), 1.1),
            area_choice: Zipf::new(areas.len(), 0.7),
            service_choice: Zipf::new(SERVICES_A_TYPE, 1.3),
            channel_choice: Zipf::new(channels.len(), 1.3),
            random,
            events,
            next: 0,
            begin_ms,
            templates,
            areas,
            services,
            channels,
            again: VecDeque::new(),
        })
    }

    fn draw(&mut self, number: u64) -> Event {
        let random = &mut self.random;
        let recorded = self.begin_ms
            + (i128::from(number) * i128::from(DAYS * 24 * HOUR_MS) / i128::from(self.events))
                as i64;
        let late = random.random_range(0..1000) < LATE;
        let lag = random.random_range(0..if late { 2 * HOUR_MS } else { 30_000 });
        let kind = self.type_choice.pick(random);
        let service = kind * 2 + self.service_choice.pick(random) * 7;
        let channel = self.channel_choice.pick(random) + service;
        let area = &self.areas[self.area_choice.pick(random)];
        let mut event = self.templates[kind].clone();
        event.event_id = Some(
            uuid::Builder::from_random_bytes(random.random())
                .into_uuid()
                .to_string(),
        );
        event.occurred_at = Some((recorded - lag).max(self.begin_ms));
        event.recorded_at = Some(recorded);
        event.area_code = Some(area.clone());
        event.home_area_code = Some(area.clone());
        // Letters: sixteen random digits sometimes look like a telephone number, which V12 refuses.
        let name = (0..16).map(|_| char::from(random.random_range(b'a'..=b'z')));
        event.subject_id = Some(format!("sub-{}", name.collect::<String>()));
        event.service_code = Some(self.services[service % self.services.len()].clone());
        event.channel = Some(self.channels[channel % self.channels.len()].clone());
        let percent = |random: &mut ChaCha8Rng, part: u32| random.random_range(0..100) < part;
        event.count =
            Some(1 + i64::from(random.random_range(0..20) * random.random_range(0..20) / 20));
        event.amount_fen = event
            .amount_fen
            .or_else(|| percent(random, 6).then(|| random.random_range(100..50_100)));
        event.minutes = event
            .minutes
            .or_else(|| percent(random, 50).then(|| random.random_range(1..=180)));
        event.rating = percent(random, 15).then(|| random.random_range(1..=5));
        event.attrs.insert(
            "external_id".into(),
            format!("{:08x}", random.random::<u32>()),
        );
        event
    }
}

impl Iterator for Load {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.next == self.events {
            return None;
        }
        let number = self.next;
        self.next += 1;
        if self.again.front().is_some_and(|(at, _)| *at <= number) {
            return self.again.pop_front().map(|(_, event)| event);
        }
        let event = self.draw(number);
        if self.random.random_range(0..1000) < TWICE {
            let at = number + 1 + self.random.random_range(0..AGAIN_WITHIN);
            self.again.push_back((at, event.clone()));
        }
        Some(event)
    }
}

/// An event of each of the first types that are valid with what this load gives every event.
fn templates(reference: &Reference, area: &str, service: &str, now_ms: i64) -> Vec<Event> {
    let text = |text: &str| Some(text.to_owned());
    let types = reference.catalogue.event_types().iter();
    types
        .filter(|known| !known.folded && !known.of_register)
        .filter_map(|known| {
            let mut event = Event {
                event_id: text("00000000-0000-4000-8000-000000000000"),
                schema_version: Some(siji_schemas::event::SCHEMA_VERSION),
                event_type: text(&known.name),
                op: text("assert"),
                occurred_at: Some(now_ms),
                recorded_at: Some(now_ms),
                source_id: text("bench"),
                area_code: text(area),
                home_area_code: text(area),
                subject_kind: known.subject_kinds.first().cloned(),
                subject_id: text("sub-0"),
                service_code: text(service),
                channel: reference
                    .catalogue
                    .words(Column::channel)?
                    .words
                    .first()
                    .map(|word| word.name.clone()),
                count: Some(1),
                rating: Some(5),
                qualifier: text("exact"),
                ..Event::default()
            };
            event.attrs.insert("external_id".into(), "0".into());
            event.attrs.insert("batch".into(), "bench".into());
            event
                .attrs
                .insert("source".into(), "load of siji bench".into());
            if known.required.columns.contains(Column::minutes) {
                event.minutes = Some(30);
            }
            // What is drawn later must be allowed too.
            let full = Event {
                minutes: Some(180),
                amount_fen: Some(50_100),
                count: Some(20),
                ..event.clone()
            };
            let bare = Event {
                rating: None,
                ..event.clone()
            };
            let valid = |event: &Event| validate(&event.as_ref(), reference, now_ms).is_ok();
            (valid(&event) && valid(&full) && valid(&bare)).then_some(event)
        })
        .take(TYPES)
        .collect()
}

/// Numbers from 0, small ones more often.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(n: usize, exponent: f64) -> Zipf {
        let mut sums = Vec::with_capacity(n);
        let mut sum = 0.0;
        for rank in 1..=n {
            sum += 1.0 / (rank as f64).powf(exponent);
            sums.push(sum);
        }
        Zipf(sums.into_iter().map(|part| part / sum).collect())
    }

    fn pick(&self, random: &mut ChaCha8Rng) -> usize {
        let drawn: f64 = random.random();
        self.0
            .partition_point(|sum| *sum < drawn)
            .min(self.0.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use siji_schemas::area::Zone;

    use super::*;

    #[test]
    fn every_event_is_valid_and_the_same_again() {
        let reference = Reference::load(None, &["huzhou"], Zone::CHINA).unwrap();
        let load: Vec<Event> = Load::new(20_000, &reference).unwrap().collect();
        assert_eq!(load.len(), 20_000);
        for event in &load {
            let now_ms = event.recorded_at.unwrap();
            let judged = validate(&event.as_ref(), &reference, now_ms);
            assert!(judged.is_ok(), "{:?}", judged.err());
        }
        let ids: std::collections::HashSet<_> = load.iter().map(|event| &event.event_id).collect();
        let twice = load.len() - ids.len();
        assert!((60..140).contains(&twice), "{twice}");
        let bytes: usize = load
            .iter()
            .map(|event| serde_json::to_vec(event).unwrap().len())
            .sum();
        let mean = bytes / load.len();
        assert!((440..560).contains(&mean), "{mean} bytes an event");
        let types: std::collections::HashSet<_> =
            load.iter().map(|event| &event.event_type).collect();
        assert_eq!(types.len(), TYPES);
        assert!(Load::new(20_000, &reference).unwrap().eq(load));
    }
}
