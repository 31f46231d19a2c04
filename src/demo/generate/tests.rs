mod account;
mod days;

use std::collections::HashSet;

use siji_schemas::area::AreaSource;
use siji_schemas::catalogue::CatalogueSource;
use siji_schemas::validate::{Reference, validate};

use super::*;

const CITIES: [(&str, &str); 5] = [
    ("huzhou", "3305"),
    ("changzhou", "3204"),
    ("fuzhou", "3501"),
    ("beijing", "11"),
    ("guangdong", "44"),
];

struct World {
    reference: Reference,
    root: &'static str,
}

fn world((name, root): (&str, &'static str)) -> World {
    let areas = AreaTree::load(&AreaSource::builtin([name])).unwrap();
    let catalogue = Catalogue::load(&CatalogueSource::Builtin).unwrap();
    World {
        reference: Reference::new(areas, catalogue, ZONE),
        root,
    }
}

impl World {
    fn generator(&self, config: &GeneratorConfig) -> Generator {
        Generator::new(
            config,
            &self.reference.areas,
            &self.reference.catalogue,
            self.root,
        )
        .unwrap()
    }

    fn run(&self, events: u64) -> (Vec<Emission>, Summary) {
        let mut generator = self.generator(&GeneratorConfig {
            events,
            ..GeneratorConfig::default()
        });
        let emissions = generator.by_ref().collect();
        (emissions, generator.expected())
    }
}

/// Anything under way.
pub(super) fn some_matter() -> Matter {
    let huzhou = world(CITIES[0]);
    let mut generator = huzhou.generator(&GeneratorConfig::default());
    Matter::begin(0, 0, 1, 0, &mut generator.scene())
}

fn of_type<'e>(emissions: &'e [Emission], event_type: &str) -> impl Iterator<Item = &'e Event> {
    let accepted = emissions
        .iter()
        .filter(|emission| emission.fate == Fate::Accepted);
    accepted
        .map(|emission| &emission.event)
        .filter(move |event| event.event_type.as_deref() == Some(event_type))
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let huzhou = world(CITIES[0]);
    let json = |seed: u64| -> Vec<String> {
        let config = GeneratorConfig {
            seed,
            events: 20_000,
            ..GeneratorConfig::default()
        };
        huzhou
            .generator(&config)
            .map(|emission| serde_json::to_string(&emission.event).unwrap())
            .collect()
    };
    let first = json(7);
    assert!(first == json(7), "the same seed gave other events");
    let other: HashSet<String> = json(8).into_iter().collect();
    assert!(!first.iter().any(|event| other.contains(event)));
}

#[test]
fn runs_of_another_length_or_time_share_no_event_id() {
    let huzhou = world(CITIES[0]);
    let plain = GeneratorConfig {
        events: 3000,
        ..GeneratorConfig::default()
    };
    let ids = |config: &GeneratorConfig| -> HashSet<Option<String>> {
        huzhou
            .generator(config)
            .map(|emission| emission.event.event_id)
            .collect()
    };
    let first = ids(&plain);
    for other in [
        GeneratorConfig {
            events: 3001,
            ..plain.clone()
        },
        GeneratorConfig {
            end_ms: plain.end_ms + DAY,
            ..plain.clone()
        },
        GeneratorConfig {
            days: 31,
            ..plain.clone()
        },
    ] {
        assert!(first.is_disjoint(&ids(&other)), "{other:?}");
    }
}

#[test]
fn few_or_many_days_are_filled_as_well() {
    let huzhou = world(CITIES[0]);
    for (days, events) in [(1, 1), (1, 30_000), (7, 3), (400, 30_000), (3660, 5000)] {
        let config = GeneratorConfig {
            days,
            events,
            ..GeneratorConfig::default()
        };
        let mut generator = huzhou.generator(&config);
        for Emission { event, fate, .. } in generator.by_ref() {
            let (occurred, recorded) = (event.occurred_at.unwrap(), event.recorded_at.unwrap());
            assert!(recorded < config.end_ms && recorded >= config.end_ms - i64::from(days) * DAY);
            match validate(&event.as_ref(), &huzhou.reference, recorded) {
                Ok(_) => assert!(occurred <= recorded),
                Err(refusal) => assert_eq!(fate, Fate::Quarantined(refusal.code)),
            }
        }
        assert_eq!(generator.expected().generated, events);
    }
}

#[test]
fn any_part_of_a_registry_can_be_the_city() {
    let guangdong = world(CITIES[4]);
    for root in ["4401", "4419", "440103", "440103001"] {
        let part = World {
            reference: guangdong.reference.clone(),
            root,
        };
        let (emissions, summary) = part.run(5000);
        assert_eq!(summary.generated, 5000);
        for emission in &emissions {
            let judged = validate(
                &emission.event.as_ref(),
                &part.reference,
                emission.event.recorded_at.unwrap(),
            );
            match emission.fate {
                Fate::Quarantined(Code::V14) => {}
                Fate::Quarantined(_) => assert!(judged.is_err()),
                _ => assert!(
                    judged
                        .unwrap()
                        .place
                        .is_within(part.reference.areas.id(root).unwrap())
                ),
            }
        }
    }
}

#[test]
fn what_cannot_be_generated_is_refused_in_words() {
    let huzhou = world(CITIES[0]);
    let new = |config: GeneratorConfig, root: &str| {
        Generator::new(
            &config,
            &huzhou.reference.areas,
            &huzhou.reference.catalogue,
            root,
        )
        .err()
        .map(|error| error.to_string())
    };
    let plain = GeneratorConfig::default();
    assert!(
        new(plain.clone(), "3306")
            .unwrap()
            .contains("area 3306 is not in the registry")
    );
    assert!(
        new(
            GeneratorConfig {
                days: 0,
                ..plain.clone()
            },
            "3305"
        )
        .unwrap()
        .contains("days")
    );
    assert!(
        new(
            GeneratorConfig {
                end_ms: 0,
                ..plain.clone()
            },
            "3305"
        )
        .unwrap()
        .contains("2000-02-01")
    );
    assert!(
        new(
            GeneratorConfig {
                events: u64::MAX,
                ..plain
            },
            "3305"
        )
        .unwrap()
        .contains("2^40")
    );
}
