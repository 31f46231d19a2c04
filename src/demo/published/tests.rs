use std::collections::BTreeSet;
use std::path::Path;

use siji_schemas::area::{AreaSource, AreaTree};
use siji_schemas::catalogue::{Catalogue, CatalogueSource};
use siji_schemas::json::{MICROS, format_instant};
use siji_schemas::validate::{Reference, validate};

use super::*;

/// Golden cases, registry, area.
const CITIES: [(&str, &str, &str); 5] = [
    ("GH", "huzhou", "3305"),
    ("GB", "beijing", "11"),
    ("GG", "guangdong", "44"),
    ("GF", "fuzhou", "3501"),
    ("GC", "changzhou", "3204"),
];

/// Register, area, day, millionths, unit, qualifier, attrs.
type Plain = (
    String,
    String,
    String,
    Option<i64>,
    String,
    String,
    BTreeMap<String, String>,
);

fn golden(prefix: &str) -> BTreeSet<Plain> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut figures = BTreeSet::new();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !(name.starts_with(prefix) && name.ends_with(".json")) {
            continue;
        }
        let case: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for item in case["given"].as_array().unwrap() {
            if item["event_type"] != "stock.reported" {
                continue;
            }
            let text = |key: &str| item[key].as_str().unwrap().to_owned();
            let attrs = item["attrs"].as_object().into_iter().flatten();
            let attrs = attrs.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()));
            figures.insert((
                text("subject_id"),
                text("area"),
                text("as_of"),
                item["value"].as_i64().map(|value| value * MICROS),
                text("unit"),
                text("qualifier"),
                attrs.filter(|(_, value)| !value.is_empty()).collect(),
            ));
        }
    }
    figures
}

#[test]
fn the_figures_are_those_of_the_golden_cases() {
    for (prefix, city, root) in CITIES {
        let shipped: Vec<Plain> = figures(root)
            .into_iter()
            .map(|(mut event, _)| {
                assert!(
                    event
                        .attrs
                        .remove("source")
                        .is_some_and(|source| source.contains(prefix))
                );
                let day = format_instant(event.occurred_at.unwrap())[..10].to_owned();
                let text = |text: Option<String>| text.unwrap();
                (
                    text(event.subject_id),
                    text(event.area_code),
                    day,
                    event.value,
                    text(event.unit),
                    text(event.qualifier),
                    event.attrs,
                )
            })
            .collect();
        let expected = golden(prefix);
        assert!(!expected.is_empty(), "{city}");
        assert_eq!(
            shipped.len(),
            expected.len(),
            "{city}: a figure stands once, however many cases use it"
        );
        assert_eq!(
            shipped.into_iter().collect::<BTreeSet<_>>(),
            expected,
            "{city}"
        );
    }
}

#[test]
fn every_published_figure_is_one_that_the_validator_accepts() {
    let mut ids = BTreeSet::new();
    for (_, city, root) in CITIES {
        let areas = AreaTree::load(&AreaSource::builtin([city])).unwrap();
        let reference = Reference::new(
            areas,
            Catalogue::load(&CatalogueSource::Builtin).unwrap(),
            Zone::CHINA,
        );
        let judge = |event: &Event| {
            validate(&event.as_ref(), &reference, event.recorded_at.unwrap()).map(|_| ())
        };
        for (event, refused) in figures(root) {
            assert_eq!(
                judge(&event).err().map(|refusal| refusal.code),
                refused,
                "{event:?}"
            );
            assert_eq!(published(root).contains(&event), refused.is_none());
            assert!(ids.insert(event.event_id));
        }
    }
    assert_eq!(ids.len(), read(FIGURES).unwrap().len());
}

#[test]
fn damaged_figures_have_no_value_and_impossible_ones_are_kept_as_printed() {
    let huzhou = published("3305");
    let opened = huzhou
        .iter()
        .find(|event| event.subject_id.as_deref() == Some("fac.unit_open"))
        .unwrap();
    assert_eq!(
        (opened.value, opened.qualifier.as_deref()),
        (None, Some("damaged"))
    );
    assert_eq!(opened.attrs["printed"], "65,438+050");
    assert_eq!(opened.attrs["candidates"], "150|1050");
    let beijing = figures("11");
    let impossible: Vec<_> = beijing
        .iter()
        .filter(|(_, refused)| refused.is_some())
        .collect();
    let [(share, Some(Code::V07))] = &impossible[..] else {
        panic!("{impossible:?}")
    };
    assert_eq!(
        (share.subject_id.as_deref(), share.value),
        (Some("staff.party_share"), Some(497 * MICROS))
    );
    assert_eq!(published("99"), []);
}

#[test]
fn a_damaged_file_names_the_line() {
    let damaged = FIGURES.replacen("2007-06-28,64", "2007-06-31,64", 1);
    assert_eq!(read(&damaged).err().unwrap(), "line 3: as_of is no date");
    assert!(
        read("a,b\n")
            .err()
            .unwrap()
            .contains("expected the columns")
    );
}
