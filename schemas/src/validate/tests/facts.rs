//! V04 to V08, V14, V16: places, times, numbers, codes.

use super::*;
use crate::validate::Sources;

#[test]
fn an_accepted_event_is_placed_in_the_tree() {
    let event = Event {
        area_code: some("330502001000"),
        handler_code: some("h:330502"),
        home_area_code: some("330500000000"),
        ..opened()
    };
    let event = event.as_ref();
    let judged = validate(&event, reference(), NOW).expect("an accepted event");
    let areas = &reference().areas;
    assert_eq!(
        (judged.area_code, judged.home_area_code),
        ("330502001", "3305")
    );
    assert_eq!(areas.codes(judged.place).district, Some("330502"));
    assert_eq!(
        judged.handler.map(|handler| areas.code(handler.own)),
        Some("330502")
    );
    assert_eq!(judged.day.to_string(), "2024-05-20");
    assert_eq!(judged.event_type.name, "case.opened");
}

#[test]
fn the_home_area_defaults_to_the_area_and_a_handler_need_not_be_an_area() {
    let event = Event {
        handler_code: some("org:77"),
        ..opened()
    };
    let event = event.as_ref();
    let judged = validate(&event, reference(), NOW).expect("an accepted event");
    assert_eq!(judged.home_area_code, "330502001005");
    assert!(judged.handler.is_none());
    is_accepted(Event {
        handler_code: some("h:1"),
        ..opened()
    });
}

#[test]
fn a_damaged_figure_may_be_absent() {
    is_refused(
        Event {
            value: None,
            ..stock()
        },
        Code::V02,
        "value",
    );
    is_accepted(Event {
        value: None,
        qualifier: some("damaged"),
        ..stock()
    });
}

#[test]
fn an_area_that_is_unknown_or_not_valid_on_the_day_is_v04() {
    is_refused(
        Event {
            area_code: some("999999"),
            ..opened()
        },
        Code::V04,
        "area_code",
    );
    is_refused(
        Event {
            home_area_code: some("999999"),
            ..opened()
        },
        Code::V04,
        "home_area_code",
    );
    let of = |day: &str| {
        let day = crate::area::Day::parse(day).expect("a day");
        let noon = Zone::CHINA.start_of(day) + 12 * 60 * MINUTE;
        Event {
            area_code: some("110103"),
            occurred_at: Some(noon),
            recorded_at: Some(noon),
            ..opened()
        }
    };
    is_accepted(of("2010-06-30"));
    let refusal = refusal(&of("2010-07-01")).expect("a refusal");
    assert_eq!(refusal.code, Code::V04);
    assert!(
        refusal.reason.contains("before 2010-07-01"),
        "{}",
        refusal.reason
    );
}

#[test]
fn a_time_in_the_future_or_before_2000_is_v05() {
    let at = |occurred: i64, recorded: i64| Event {
        occurred_at: Some(occurred),
        recorded_at: Some(recorded),
        ..opened()
    };
    is_accepted(at(NOW + 5 * MINUTE, NOW));
    is_refused(at(NOW + 5 * MINUTE + 1, NOW), Code::V05, "occurred_at");
    let y2000 = Zone::CHINA.start_of(crate::area::Day::parse("2000-01-01").expect("a day"));
    is_accepted(at(y2000, NOW));
    is_refused(at(y2000 - 1, NOW), Code::V05, "occurred_at");
    is_refused(
        at(NOW, NOW + 24 * 60 * MINUTE + 1),
        Code::V05,
        "recorded_at",
    );
    is_accepted(at(NOW, NOW + 24 * 60 * MINUTE));
    is_refused(at(i64::MIN, i64::MAX), Code::V05, "occurred_at");
    is_refused(at(i64::MAX, i64::MIN), Code::V05, "occurred_at");
}

#[test]
fn a_deadline_that_storage_cannot_hold_is_v05() {
    let due = |due_at: i64| Event {
        due_at: Some(due_at),
        ..opened()
    };
    is_accepted(due(crate::validate::END_MS - 1));
    for impossible in [crate::validate::END_MS, i64::MAX, i64::MIN, 0] {
        is_refused(due(impossible), Code::V05, "due_at");
    }
}

#[test]
fn negative_numbers_are_v06() {
    is_refused(
        Event {
            count: Some(-1),
            ..opened()
        },
        Code::V06,
        "count",
    );
    is_refused(
        Event {
            minutes: Some(-1),
            ..opened()
        },
        Code::V06,
        "minutes",
    );
    let fund = Event {
        amount_fen: Some(-1),
        fund_source: some("fiscal"),
        ..event("fund.received", "fund", "fund:1")
    };
    is_refused(fund, Code::V06, "amount_fen");
    is_refused(
        Event {
            value: Some(-1),
            ..stock()
        },
        Code::V06,
        "value",
    );
}

#[test]
fn ratings_percentages_and_voters_out_of_range_are_v07() {
    let callback = |rating| Event {
        rating: Some(rating),
        ..event("case.callback", "case", "case:1")
    };
    for rating in [0, 6, -1] {
        is_refused(callback(rating), Code::V07, "rating");
    }
    is_accepted(callback(1));
    let share = |value| Event {
        value: Some(value),
        unit: some("pct"),
        subject_id: some("staff.party_share"),
        ..stock()
    };
    is_refused(share(497_000_000), Code::V07, "value");
    is_refused(share(-1), Code::V07, "value");
    is_refused(share(100_000_001), Code::V07, "value");
    is_accepted(share(100_000_000));
    let election = |voters, eligible| Event {
        count: Some(voters),
        value: Some(eligible),
        ..with_attr(
            event("election.held", "election", "election:1"),
            "method",
            "direct",
        )
    };
    is_accepted(election(90, 90_000_000));
    is_refused(election(91, 90_000_000), Code::V07, "count");
    is_refused(election(i64::MAX, i64::MAX), Code::V07, "count");
    is_refused(
        Event {
            handler_tier: Some(6),
            ..opened()
        },
        Code::V07,
        "handler_tier",
    );
}

#[test]
fn unknown_services_and_registers_are_v08_and_a_group_is_no_service() {
    is_refused(
        Event {
            service_code: some("magic.wand"),
            ..opened()
        },
        Code::V08,
        "service_code",
    );
    is_refused(
        Event {
            service_code: some("environment"),
            ..opened()
        },
        Code::V08,
        "service_code",
    );
    is_refused(
        Event {
            subject_id: some("weather.rain"),
            ..stock()
        },
        Code::V08,
        "subject_id",
    );
    is_accepted(Event {
        subject_id: some("fac.bicycle_shed"),
        ..stock()
    });
}

#[test]
fn a_source_may_report_only_for_its_areas_v14() {
    let sources = Sources::new(
        [("site-1", vec!["330502"]), ("city", vec!["3305", "11"])],
        &reference().areas,
    )
    .expect("sources");
    let reference = reference().clone().with_sources(sources);
    let judge = |source: Option<&str>, area: &str| {
        let event = Event {
            source_id: source.map(str::to_owned),
            area_code: some(area),
            ..opened()
        };
        validate(&event.as_ref(), &reference, NOW)
            .err()
            .map(|refusal| refusal.code)
    };
    assert_eq!(judge(Some("site-1"), "330502001005"), None);
    assert_eq!(judge(Some("site-1"), "330502"), None);
    assert_eq!(judge(Some("site-1"), "3305"), Some(Code::V14));
    assert_eq!(judge(Some("site-1"), "110101"), Some(Code::V14));
    assert_eq!(judge(Some("city"), "110101"), None);
    assert_eq!(judge(Some("stranger"), "330502"), Some(Code::V14));
    assert_eq!(judge(None, "330502"), Some(Code::V14));
    assert!(Sources::new([("site-1", vec!["nowhere"])], &reference.areas).is_err());

    // Nor may a source change what was reported for an area that is not its own.
    let retracts = |home: &str| {
        let event = Event {
            op: some("retract"),
            source_id: some("site-1"),
            home_area_code: some(home),
            target_event_id: some("0190b5a2-7c1e-7def-8000-000000000002"),
            target_occurred_at: opened().occurred_at,
            ..opened()
        };
        let judged = validate(&event.as_ref(), &reference, NOW);
        judged.err().map(|refusal| refusal.code)
    };
    assert_eq!(retracts("330502"), None);
    assert_eq!(retracts("110101"), Some(Code::V14));
}

#[test]
fn a_unit_that_does_not_fit_is_v16() {
    is_refused(
        Event {
            unit: some("m2"),
            ..stock()
        },
        Code::V16,
        "unit",
    );
    let space = |unit| Event {
        value: Some(1),
        unit: some(unit),
        ..event("space.measured", "space", "space:1")
    };
    is_refused(space("hh"), Code::V16, "unit");
    is_accepted(space("m2"));
}

#[test]
fn a_citys_directory_is_loaded_as_one_reference_and_all_its_mistakes_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let areas = dir.path().join("areas");
    std::fs::create_dir(&areas).expect("a directory");
    let header = "area_code,parent_code,tier,name,kind,valid_from,valid_to\n";
    std::fs::write(areas.join("own.csv"), format!("{header}77,,city,一城,,,\n")).expect("a file");
    let load = || Reference::load(Some(dir.path()), &["huzhou"], Zone::CHINA);
    let own = load().expect("a reference");
    assert_eq!((own.areas.len(), own.areas.canonical("3305")), (1, None));
    assert_ne!(own.version(), reference().version());
    assert_eq!(own.version().len(), 12);

    std::fs::write(areas.join("own.csv"), format!("{header}77,,town,一城,,,\n")).expect("a file");
    std::fs::write(dir.path().join("registers.toml"), "register.\"a\" = 1\n").expect("a file");
    let problems = load().expect_err("problems").to_string();
    assert!(problems.contains("own.csv:2: tier \"town\""), "{problems}");
    assert!(
        problems.contains("registers.toml:1: a is integer"),
        "{problems}"
    );

    let builtin = Reference::load(None, &["huzhou", "beijing"], Zone::CHINA).expect("a reference");
    assert_eq!(builtin.version(), reference().version());
}
