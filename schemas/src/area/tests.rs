mod problems;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proptest::prelude::*;

use super::*;
use crate::catalogue::LoadProblems;

fn day(text: &str) -> Day {
    Day::parse(text).expect("a date")
}

fn builtin(names: &[&str]) -> AreaTree {
    AreaTree::load(&AreaSource::builtin(names.iter().copied())).expect("a built-in registry loads")
}

#[test]
fn every_built_in_registry_loads_and_has_its_published_counts() {
    // Distinct codes per tier, from community up, as published with the data.
    let expected = [
        ("huzhou", [1301, 72, 5, 1, 0]),
        ("changzhou", [1049, 67, 6, 1, 0]),
        ("fuzhou", [3022, 186, 13, 1, 0]),
        ("beijing", [7535, 349, 18, 1, 0]),
        ("guangdong", [26_842, 1757, 122, 21, 1]),
    ];
    for (name, counts) in expected {
        let tree = builtin(&[name]);
        for (tier, count) in Tier::ALL.into_iter().zip(counts) {
            let codes: BTreeSet<&str> = tree
                .rows()
                .iter()
                .filter(|row| row.tier == tier)
                .map(|row| row.code.as_str())
                .collect();
            assert_eq!(codes.len(), count, "{name} {tier}");
        }
    }
    let all = builtin(BUILTIN);
    assert_eq!(all.roots(day("2024-01-01")).count(), 5);
    assert_eq!(all.changes().len(), 17);
    assert_eq!(builtin(&["huzhou"]).changes().len(), 0);
}

#[test]
fn beijings_streets_have_other_districts_before_and_after_july_2010() {
    let tree = builtin(&["beijing"]);
    let (then, now) = (day("2010-06-01"), day("2010-08-01"));
    let district = |code: &str, day| {
        let lineage = tree.lineage(code, day).expect("a lineage");
        tree.codes(lineage).district.map(str::to_owned)
    };
    assert_eq!(
        tree.get("110101011", then)
            .and_then(|row| row.parent.as_deref()),
        Some("110103")
    );
    assert_eq!(
        tree.get("110101011", now)
            .and_then(|row| row.parent.as_deref()),
        Some("110101")
    );
    let community = &tree
        .children("110101011", then)
        .next()
        .expect("a community")
        .code;
    assert_eq!(district(community, then).as_deref(), Some("110103"));
    assert_eq!(district(community, now).as_deref(), Some("110101"));
    // The merger holds from the first of July, half-open.
    assert_eq!(
        district(community, day("2010-06-30")).as_deref(),
        Some("110103")
    );
    assert_eq!(
        district(community, day("2010-07-01")).as_deref(),
        Some("110101")
    );
    assert!(tree.lineage("110103", then).is_some());
    assert!(tree.lineage("110103", now).is_none());
    let codes = tree.codes(tree.lineage(community, now).expect("a lineage"));
    assert_eq!((codes.city, codes.province), (Some("11"), None));
    assert_eq!(tree.of_tier(Tier::District, then).count(), 18);
    assert_eq!(tree.of_tier(Tier::District, now).count(), 16);
}

#[test]
fn dongguan_and_zhongshan_pass_through_the_district_tier() {
    let tree = builtin(&["guangdong"]);
    let today = day("2024-01-01");
    for city in ["4419", "4420"] {
        let street = tree.children(city, today).next().expect("a street");
        assert_eq!(street.tier, Tier::Street);
        let community = tree
            .children(&street.code, today)
            .next()
            .expect("a community");
        let lineage = tree.lineage(&community.code, today).expect("a lineage");
        assert_eq!(tree.codes(lineage).district, None);
        assert_eq!(
            tree.tier_area(lineage, Tier::District),
            (city, Placement::PassThrough)
        );
        assert_eq!(
            tree.tier_area(lineage, Tier::Street),
            (street.code.as_str(), Placement::Placed)
        );
        assert_eq!(
            tree.tier_area(lineage, Tier::City),
            (city, Placement::Placed)
        );
        assert_eq!(
            tree.tier_area(lineage, Tier::Province),
            ("44", Placement::Placed)
        );
    }
}

#[test]
fn what_lies_above_a_tier_is_unallocated_there_and_what_lies_above_the_root_passes_through() {
    let tree = builtin(&["huzhou"]);
    let today = day("2024-01-01");
    let district = tree.lineage("330502", today).expect("a lineage");
    assert_eq!(
        tree.tier_area(district, Tier::Community),
        ("330502", Placement::Unallocated)
    );
    assert_eq!(
        tree.tier_area(district, Tier::Street),
        ("330502", Placement::Unallocated)
    );
    assert_eq!(
        tree.tier_area(district, Tier::District),
        ("330502", Placement::Placed)
    );
    assert_eq!(
        tree.tier_area(district, Tier::City),
        ("3305", Placement::Placed)
    );
    assert_eq!(
        tree.tier_area(district, Tier::Province),
        ("3305", Placement::PassThrough)
    );
}

#[test]
fn a_code_is_found_in_its_own_form_and_padded_to_twelve_digits() {
    let tree = builtin(&["huzhou", "beijing"]);
    for (form, canonical) in [
        ("3305", Some("3305")),
        ("330500000000", Some("3305")),
        ("330502", Some("330502")),
        ("330502000000", Some("330502")),
        ("330502001000", Some("330502001")),
        ("330502001005", Some("330502001005")),
        ("110000000000", Some("11")),
        ("3305020", None),
        ("1101", None),
        ("", None),
        ("330502001005 ", None),
        ("3305020010050", None),
        ("三三〇五", None),
    ] {
        assert_eq!(tree.canonical(form), canonical, "{form}");
    }
}

#[test]
fn registries_abroad_may_use_letters_and_are_never_padded() {
    let area = |code: &str, parent: Option<&str>, tier| Area {
        code: code.into(),
        parent: parent.map(Into::into),
        tier,
        name: code.into(),
        kind: String::new(),
        valid_from: None,
        valid_to: None,
    };
    let rows = vec![
        area("OTTAWA", None, Tier::City),
        area("1", Some("OTTAWA"), Tier::Community),
        area("10", Some("OTTAWA"), Tier::Community),
        area("W14", Some("OTTAWA"), Tier::Community),
    ];
    let tree = AreaTree::from_rows(rows, Vec::new()).expect("a tree");
    let ward = tree.lineage("W14", Day(0)).expect("a lineage");
    assert_eq!(
        tree.tier_area(ward, Tier::Street),
        ("OTTAWA", Placement::PassThrough)
    );
    assert_eq!(tree.canonical("W14000000000"), None);
}

fn load_files(files: &[(&str, &[u8])]) -> Result<AreaTree, LoadProblems> {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).expect("a file");
    }
    AreaTree::load(&AreaSource::Directory(dir.path().to_owned()))
}

const HEADER: &str = "area_code,parent_code,tier,name,kind,valid_from,valid_to\n";

#[test]
fn an_unknown_city_and_a_missing_directory_are_problems() {
    let unknown = AreaTree::load(&AreaSource::builtin(["atlantis"])).expect_err("a problem");
    assert!(
        unknown
            .to_string()
            .contains("atlantis: no built-in registry"),
        "{unknown}"
    );
    assert!(AreaTree::load(&AreaSource::builtin(Vec::<String>::new())).is_err());
    assert!(AreaTree::load(&AreaSource::Directory("/nonexistent/areas".into())).is_err());
    assert!(load_files(&[]).is_err());
}

#[test]
fn a_city_may_bring_its_own_files_in_any_cut_and_order() {
    let one = format!("\u{feff}{HEADER}3305,,city,湖州市,,,\n330502,3305,district,吴兴区,,,\n");
    let city = format!("{HEADER}3305,,city,湖州市,,,\n");
    let district = format!("{HEADER}330502,3305,district,吴兴区,,,\n");
    let whole = load_files(&[("areas.csv", one.as_bytes())]).expect("a tree");
    let cut =
        load_files(&[("z.csv", city.as_bytes()), ("a.csv", district.as_bytes())]).expect("a tree");
    assert_eq!(whole.rows(), cut.rows());
    assert_eq!(whole.version(), cut.version());
    assert_eq!(whole.version().len(), 12);
    assert_ne!(whole.version(), builtin(&["huzhou"]).version());
}

#[test]
fn every_area_of_a_day_is_reached_from_the_roots_exactly_once() {
    let tree = builtin(BUILTIN);
    for day in [day("2010-06-01"), day("2024-01-01")] {
        let mut reached: BTreeMap<&str, u32> = BTreeMap::new();
        let mut below: Vec<&Area> = tree.roots(day).collect();
        while let Some(area) = below.pop() {
            *reached.entry(&area.code).or_default() += 1;
            below.extend(tree.children(&area.code, day));
        }
        let valid = tree.rows().iter().filter(|row| row.holds_on(day)).count();
        assert_eq!(reached.len(), valid);
        assert!(reached.values().all(|times| *times == 1));
    }
}

#[test]
fn lineages_agree_with_walking_up_the_rows() {
    let tree = builtin(&["beijing", "guangdong"]);
    for day in [day("2010-06-30"), day("2010-07-01")] {
        for row in tree.rows().iter().filter(|row| row.holds_on(day)) {
            let lineage = tree.lineage(&row.code, day).expect("a lineage");
            let mut at = Some(row);
            let mut steps = 0;
            while let Some(area) = at {
                assert_eq!(
                    lineage.at(area.tier).map(|id| tree.code(id)),
                    Some(area.code.as_str())
                );
                steps += 1;
                at = area
                    .parent
                    .as_deref()
                    .map(|parent| tree.get(parent, day).expect("a parent"));
            }
            assert_eq!(
                Tier::ALL
                    .into_iter()
                    .filter(|tier| lineage.at(*tier).is_some())
                    .count(),
                steps
            );
        }
    }
}

#[test]
fn local_days_begin_at_midnight_of_the_zone() {
    let zone = Zone::CHINA;
    let midnight = 1_277_913_600_000; // 2010-06-30T16:00:00Z
    assert_eq!(zone.day_of(midnight).to_string(), "2010-07-01");
    assert_eq!(zone.day_of(midnight - 1).to_string(), "2010-06-30");
    assert_eq!(zone.start_of(day("2010-07-01")), midnight);
    assert_eq!(
        Zone::parse("-05:30")
            .map(|zone| zone.to_string())
            .as_deref(),
        Some("-05:30")
    );
    assert_eq!(Zone::parse("+08:00"), Some(Zone::CHINA));
    assert_eq!(Zone::parse("Z"), Some(Zone::UTC));
    for text in ["", "08:00", "+8:00", "+08:60", "+19:00", "+08", "+0a:00"] {
        assert_eq!(Zone::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_instant_is_too_far_for_a_day(ms in any::<i64>()) {
        let text = Zone::CHINA.day_of(ms).to_string();
        prop_assert!(!text.is_empty());
    }

    #[test]
    fn days_read_back_as_they_were_written(days in -700_000i32..2_900_000) {
        prop_assert_eq!(Day::parse(&Day(days).to_string()), Some(Day(days)));
    }

    #[test]
    fn different_codes_have_different_numbers(a in "[0-9A-Z]{1,12}", b in "[0-9A-Z]{1,12}") {
        prop_assert_eq!(super::code::pack(&a) == super::code::pack(&b), a == b);
    }
}
