//! Every event is accounted for: counts, fates, districts.

use std::collections::{BTreeMap, HashMap};

use siji_schemas::area::Tier;
use siji_schemas::validate::{Sources, validate};

use super::*;

#[test]
fn counts_add_up_exactly_whatever_the_number_and_the_city() {
    for city in CITIES {
        let world = world(city);
        for events in [0, 1, 10, 1000, 200_000] {
            let mut generator = world.generator(&GeneratorConfig {
                events,
                ..GeneratorConfig::default()
            });
            let mut counted = Summary::default();
            let mut by_district: BTreeMap<String, u64> = BTreeMap::new();
            assert_eq!(
                generator.size_hint(),
                (events as usize, Some(events as usize))
            );
            for emission in generator.by_ref() {
                counted.generated += 1;
                match emission.fate {
                    Fate::Accepted => counted.accepted += 1,
                    Fate::Duplicate => counted.duplicate += 1,
                    Fate::Quarantined(code) => *counted.quarantined.entry(code).or_default() += 1,
                }
                if emission.fate == Fate::Accepted {
                    let day = ZONE.day_of(emission.event.occurred_at.unwrap());
                    let lineage = world
                        .reference
                        .areas
                        .lineage(emission.event.area_code.as_deref().unwrap(), day)
                        .unwrap();
                    let (district, _) = world.reference.areas.tier_area(lineage, Tier::District);
                    *by_district.entry(district.to_owned()).or_default() += 1;
                }
            }
            let summary = generator.expected();
            assert_eq!(counted.generated, events);
            assert_eq!(
                summary.accepted + summary.duplicate + summary.quarantined_total(),
                events
            );
            let Summary {
                generated,
                accepted,
                duplicate,
                ref quarantined,
                ..
            } = summary;
            assert_eq!(
                (generated, accepted, duplicate),
                (events, counted.accepted, counted.duplicate)
            );
            assert_eq!(*quarantined, counted.quarantined);
            let told: BTreeMap<String, u64> = summary
                .districts
                .iter()
                .filter(|row| row.accepted > 0)
                .map(|row| (row.code.clone(), row.accepted))
                .collect();
            assert_eq!(told, by_district, "{city:?} {events}");
            for row in &summary.districts {
                assert_eq!(
                    row.generated,
                    row.accepted + row.duplicate + row.quarantined,
                    "{}",
                    row.name
                );
            }
            if events == 200_000 {
                assert!((900..=1100).contains(&duplicate), "{duplicate} duplicates");
                assert!(
                    (1800..=2200).contains(&summary.late),
                    "{} late",
                    summary.late
                );
                assert!(
                    (540..=660).contains(&summary.quarantined_total()),
                    "{quarantined:?}"
                );
                let codes = [2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 16].map(|n| Code::ALL[n - 1]);
                assert!(quarantined.keys().copied().eq(codes), "{quarantined:?}");
                assert!(
                    quarantined.values().all(|n| (48..=62).contains(n)),
                    "{quarantined:?}"
                );
            }
        }
    }
}

#[test]
fn the_validator_accepts_and_refuses_what_was_meant_to_be() {
    for city in CITIES {
        let mut world = world(city);
        let mut generator = world.generator(&GeneratorConfig {
            events: 120_000,
            ..GeneratorConfig::default()
        });
        let registered = generator.sources().to_vec();
        let sources = registered.iter().map(|source| {
            (
                source.id.as_str(),
                source.areas.iter().map(String::as_str).collect(),
            )
        });
        let sources = Sources::new(sources, &world.reference.areas).unwrap();
        world.reference = world.reference.with_sources(sources);
        for Emission {
            source,
            event,
            fate,
        } in generator.by_ref()
        {
            assert_eq!(
                (&event.source_id, event.incarnation, event.source_seq),
                (&None, None, None)
            );
            let mut stamped = event.clone();
            stamped.source_id = Some(registered[source].id.clone());
            match (
                validate(
                    &stamped.as_ref(),
                    &world.reference,
                    event.recorded_at.unwrap(),
                ),
                fate,
            ) {
                (Ok(_), Fate::Accepted | Fate::Duplicate) => {}
                (Err(refusal), Fate::Quarantined(code)) if refusal.code == code => {}
                (judged, fate) => panic!("{event:?}: {judged:?} instead of {fate:?}"),
            }
        }
    }
}

#[test]
fn a_refused_event_is_wrong_in_one_way_only() {
    // Mended in the column the refusal names, it must pass: else its code would depend on the order of the rules.
    let world = world(CITIES[0]);
    let (emissions, _) = world.run(60_000);
    let mut mended = 0;
    for Emission { event, fate, .. } in emissions {
        let mut event = event;
        match fate {
            Fate::Quarantined(Code::V03) if event.event_type.as_deref() == Some("visit.done") => {
                event.event_type = Some("visit.made".into())
            }
            Fate::Quarantined(Code::V03) => (event.channel, event.fee_mode) = (None, None),
            Fate::Quarantined(Code::V04) => event.area_code = Some("3305".into()),
            Fate::Quarantined(Code::V05) => event.occurred_at = event.recorded_at,
            Fate::Quarantined(Code::V06) => {
                event.count = event.count.map(i64::abs);
                event.minutes = event.minutes.map(i32::abs);
                event.amount_fen = event.amount_fen.map(i64::abs);
            }
            Fate::Quarantined(Code::V08) if event.service_code.is_some() => {
                event.service_code = None
            }
            Fate::Quarantined(Code::V12) => drop(event.attrs.remove("external_id")),
            Fate::Quarantined(Code::V13) => ["remark", "topic"]
                .into_iter()
                .for_each(|key| drop(event.attrs.remove(key))),
            _ => continue,
        }
        validate(
            &event.as_ref(),
            &world.reference,
            event.recorded_at.unwrap(),
        )
        .unwrap();
        mended += 1;
    }
    assert!(mended > 100);
}

#[test]
fn a_duplicate_is_an_earlier_accepted_event_byte_for_byte_and_never_its_neighbour() {
    let (emissions, _) = world(CITIES[3]).run(60_000);
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut last_duplicate_of: Vec<usize> = Vec::new();
    for (n, emission) in emissions.iter().enumerate() {
        let id = emission.event.event_id.as_deref().unwrap();
        if emission.fate != Fate::Duplicate {
            assert!(first.insert(id, n).is_none(), "{id} stands for two events");
            continue;
        }
        let original = &emissions[first[id]];
        assert_eq!(original.fate, Fate::Accepted);
        assert_eq!(
            (original.source, &original.event),
            (emission.source, &emission.event)
        );
        assert!(n - first[id] >= 2);
        last_duplicate_of.push(n - first[id]);
    }
    // Some come back at once, some only after many others.
    assert!(
        last_duplicate_of.iter().any(|gap| *gap < 1000)
            && last_duplicate_of.iter().any(|gap| *gap > 10_000)
    );
}

#[test]
fn a_merger_during_the_run_is_counted_as_it_then_was() {
    // Chongwen and Xuanwu were merged on 2010-07-01.
    let beijing = world(CITIES[3]);
    let config = GeneratorConfig {
        events: 50_000,
        end_ms: 1_279_123_200_000,
        ..GeneratorConfig::default()
    };
    let mut generator = beijing.generator(&config);
    let mut by_district: BTreeMap<String, u64> = BTreeMap::new();
    for emission in generator
        .by_ref()
        .filter(|emission| emission.fate == Fate::Accepted)
    {
        let judged = validate(
            &emission.event.as_ref(),
            &beijing.reference,
            emission.event.recorded_at.unwrap(),
        )
        .unwrap();
        let (district, _) = beijing
            .reference
            .areas
            .tier_area(judged.place, Tier::District);
        *by_district.entry(district.to_owned()).or_default() += 1;
    }
    let summary = generator.expected();
    let told: BTreeMap<String, u64> = summary
        .districts
        .iter()
        .filter(|row| row.accepted > 0)
        .map(|row| (row.code.clone(), row.accepted))
        .collect();
    assert_eq!(told, by_district);
    assert!(
        told.contains_key("110103") && told.contains_key("110104"),
        "{told:?}"
    );
}
