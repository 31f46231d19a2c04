//! The days are believable: order, cases, hours, places.

use std::collections::HashMap;

use super::*;

#[test]
fn events_are_sent_in_the_order_they_are_recorded_and_late_ones_happened_long_before() {
    let config = GeneratorConfig {
        events: 60_000,
        ..GeneratorConfig::default()
    };
    let mut generator = world(CITIES[0]).generator(&config);
    let (mut before, mut late) = (config.end_ms - 30 * DAY, 0);
    for emission in generator
        .by_ref()
        .filter(|emission| emission.fate == Fate::Accepted)
    {
        let (occurred, recorded) = (
            emission.event.occurred_at.unwrap(),
            emission.event.recorded_at.unwrap(),
        );
        assert!(before <= recorded && recorded < config.end_ms && occurred <= recorded);
        before = recorded;
        match recorded - occurred {
            0..60_000 => {}
            lag => {
                assert!((3 * HOUR..7 * DAY).contains(&lag), "{lag} ms");
                late += 1;
            }
        }
    }
    assert_eq!(late, generator.expected().late);
}

#[test]
fn a_case_lives_in_order_at_one_place_and_through_one_collector() {
    let (emissions, _) = world(CITIES[4]).run(200_000);
    let mut lives: HashMap<&str, Vec<&Emission>> = HashMap::new();
    for emission in emissions
        .iter()
        .filter(|emission| emission.fate == Fate::Accepted)
    {
        if emission
            .event
            .event_type
            .as_deref()
            .is_some_and(|name| name.starts_with("case."))
        {
            lives
                .entry(emission.event.subject_id.as_deref().unwrap())
                .or_default()
                .push(emission);
        }
    }
    let mut whole = 0;
    for (case, life) in &lives {
        let steps: Vec<&str> = life
            .iter()
            .map(|emission| &emission.event.event_type.as_deref().unwrap()[5..])
            .collect();
        assert_eq!(steps[0], "opened", "{case}: {steps:?}");
        assert!(!steps[1..].contains(&"opened"), "{case}: {steps:?}");
        assert!(
            life.is_sorted_by_key(|emission| emission.event.occurred_at),
            "{case}"
        );
        for emission in life {
            assert_eq!(
                emission.event.home_area_code, life[0].event.area_code,
                "{case}"
            );
            assert_eq!(emission.source, life[0].source, "{case}");
        }
        let at = |step: &str| steps.iter().position(|other| *other == step);
        for (early, late) in [
            ("accepted", "dispatched"),
            ("dispatched", "signed"),
            ("signed", "contacted"),
            ("contacted", "handled"),
            ("closed", "callback"),
            ("suspended", "resumed"),
        ] {
            if let Some(late) = at(late) {
                assert!(
                    at(early).is_some_and(|early| early < late),
                    "{case}: {steps:?}"
                );
            }
        }
        let usual = [
            "opened",
            "accepted",
            "dispatched",
            "signed",
            "contacted",
            "handled",
            "closed",
            "callback",
        ];
        whole += usize::from(steps == usual);
    }
    assert!(
        whole > lives.len() / 8,
        "{whole} of {} cases went the usual way to the end",
        lives.len()
    );
}

#[test]
fn a_run_shows_every_type_of_event_but_the_heartbeat() {
    let world = world(CITIES[0]);
    let (emissions, _) = world.run(200_000);
    let missing: Vec<&str> = world
        .reference
        .catalogue
        .event_types()
        .iter()
        .map(|kind| kind.name.as_str())
        .filter(|name| of_type(&emissions, name).next().is_none())
        .collect();
    // Collectors make heartbeats themselves.
    assert_eq!(missing, ["source.heartbeat"]);
}

#[test]
fn days_have_office_hours_weekends_and_evenings() {
    let (emissions, _) = world(CITIES[0]).run(200_000);
    let per_hour = |event_type: &str| {
        let mut hours = [0u32; calendar::WEEK];
        of_type(&emissions, event_type)
            .for_each(|event| hours[calendar::hour_of_week(event.occurred_at.unwrap())] += 1);
        let sum = |days: std::ops::Range<usize>, of_day: std::ops::Range<usize>| {
            days.flat_map(|day| of_day.clone().map(move |hour| day * 24 + hour))
                .map(|hour| hours[hour])
                .sum::<u32>()
        };
        (
            sum(0..5, 9..12),
            sum(0..5, 12..13),
            sum(0..5, 0..6),
            sum(5..7, 0..24),
            sum(0..7, 0..24),
        )
    };
    let (morning, noon, night, weekend, all) = per_hour("case.opened");
    assert!(morning / 3 > 2 * noon, "a dip at noon: {morning} {noon}");
    assert!(
        night > 0 && night < all / 50,
        "quiet nights: {night} of {all}"
    );
    assert!(
        weekend > all / 20 && weekend < all / 4,
        "quiet weekends: {weekend} of {all}"
    );
    let (.., signed_weekend, signed) = per_hour("case.signed");
    assert!(
        signed_weekend < signed / 8,
        "offices rest at weekends: {signed_weekend} of {signed}"
    );
    let (.., served_weekend, served) = per_hour("volunteer.served");
    assert!(
        served_weekend > served * 2 / 5,
        "volunteers work at weekends: {served_weekend} of {served}"
    );
    let evening = |channel: &str| {
        let opened: Vec<usize> = of_type(&emissions, "case.opened")
            .filter(|event| event.channel.as_deref() == Some(channel))
            .map(|event| calendar::hour_of_week(event.occurred_at.unwrap()) % 24)
            .collect();
        opened
            .iter()
            .filter(|hour| (18..23).contains(*hour))
            .count() as f64
            / opened.len() as f64
    };
    assert!(
        evening("app") > 0.25 && evening("window") < 0.02,
        "{} {}",
        evening("app"),
        evening("window")
    );
}

#[test]
fn districts_and_communities_differ_and_cities_without_districts_have_their_share() {
    let (emissions, summary) = world(CITIES[4]).run(100_000);
    let accepted = |code: &str| {
        summary
            .districts
            .iter()
            .find(|row| row.code == code)
            .map_or(0, |row| row.accepted)
    };
    // Dongguan and Zhongshan are 2 of 21 cities.
    assert!(
        accepted("4419") + accepted("4420") > 4000,
        "{} {}",
        accepted("4419"),
        accepted("4420")
    );
    let mut rows: Vec<u64> = summary.districts.iter().map(|row| row.accepted).collect();
    rows.sort_unstable();
    assert!(rows[rows.len() - 1] > 5 * rows[rows.len() / 2], "{rows:?}");
    let mut places: HashMap<&str, u32> = HashMap::new();
    emissions.iter().for_each(|emission| {
        *places
            .entry(emission.event.area_code.as_deref().unwrap())
            .or_default() += 1
    });
    let mut places: Vec<u32> = places.into_values().collect();
    places.sort_unstable_by(|a, b| b.cmp(a));
    let top: u32 = places.iter().take(places.len() / 10).sum();
    assert!(
        top > 35_000,
        "the busiest tenth of places has {top} of 100,000"
    );
}
