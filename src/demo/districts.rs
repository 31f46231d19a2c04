//! Districts, or what stands in their place: what must have happened there, and what the lake says.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use siji_schemas::area::{AreaTree, Day, Tier};

use super::generate::Summary;
use super::totals::Figures;

/// One area of `rollup_district`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct District {
    pub code: String,
    pub name: String,
    /// Events sent, each sending counted. Refused ones count where they were made.
    pub sent: u64,
    /// What the lake must have taken.
    pub expected: Figures,
    /// What the lake has.
    pub found: Figures,
}

/// Where an event that the generator did not make belongs: published figures, signs of life. They must all be accepted.
#[derive(Debug, Clone)]
pub struct Beside {
    code: String,
    name: String,
}

impl Beside {
    /// An event at `area` on `day`; none if the registry has no such area then.
    pub fn at(tree: &AreaTree, area: &str, day: Day) -> Option<Beside> {
        let (code, _) = tree.tier_area(tree.lineage(area, day)?, Tier::District);
        let name = tree.get(code, day).map(|area| area.name.clone());
        Some(Beside {
            code: code.to_owned(),
            name: name.unwrap_or_default(),
        })
    }
}

/// The account of every district, in the order of codes.
pub fn account(
    generated: &Summary,
    beside: &[Beside],
    found: &BTreeMap<String, Figures>,
) -> Vec<District> {
    let mut districts: BTreeMap<String, District> = BTreeMap::new();
    let at = |districts: &mut BTreeMap<String, District>, code: &str| -> District {
        districts.remove(code).unwrap_or_else(|| District {
            code: code.to_owned(),
            ..District::default()
        })
    };
    for made in &generated.districts {
        let mut district = at(&mut districts, &made.code);
        district.name.clone_from(&made.name);
        district.sent = made.generated;
        district.expected = Figures {
            events: made.accepted.cast_signed(),
            opened: made.cases_opened.cast_signed(),
            closed: made.cases_closed.cast_signed(),
            ratings: made.ratings.cast_signed(),
            rating_sum: made.rating_sum.cast_signed(),
            service_minutes: made.service_minutes.cast_signed(),
        };
        districts.insert(made.code.clone(), district);
    }
    for Beside { code, name } in beside {
        let mut district = at(&mut districts, code);
        district.name.clone_from(name);
        district.sent += 1;
        district.expected.events += 1;
        districts.insert(code.clone(), district);
    }
    for (code, figures) in found {
        let mut district = at(&mut districts, code);
        district.found = *figures;
        districts.insert(code.clone(), district);
    }
    districts.into_values().collect()
}

/// Where the lake says something else than what was sent.
pub fn differences(districts: &[District]) -> Vec<String> {
    let mut differences = Vec::new();
    for district in districts {
        let (expected, found) = (district.expected.named(), district.found.named());
        for ((what, expected), (_, found)) in expected.into_iter().zip(found) {
            if expected != found {
                differences.push(format!(
                    "{what} in {} {}: expected {expected}, found {found}",
                    district.code, district.name
                ));
            }
        }
    }
    differences
}

/// As `--output json` prints them, from the lake.
pub fn to_json(districts: &[District]) -> Value {
    let row = |district: &District| {
        json!({
            "area_code": district.code,
            "name": district.name,
            "sent": district.sent,
            "accepted": district.found.events,
            "cases_opened": district.found.opened,
            "cases_closed": district.found.closed,
            "ratings": district.found.ratings,
            "rating_sum": district.found.rating_sum,
            "service_minutes": district.found.service_minutes,
        })
    };
    districts.iter().map(row).collect()
}

/// What the lake says, beside what was sent, for people.
pub fn table(districts: &[District]) -> String {
    use unicode_width::UnicodeWidthStr;
    const HEADS: [&str; 8] = [
        "area",
        "name",
        "sent",
        "accepted",
        "opened",
        "closed",
        "rating",
        "service h",
    ];
    let mut rows: Vec<[String; 8]> = vec![HEADS.map(str::to_owned)];
    for District {
        code,
        name,
        sent,
        found,
        ..
    } in districts
    {
        let rating = found.rating_sum as f64 / found.ratings as f64;
        rows.push([
            code.clone(),
            name.clone(),
            sent.to_string(),
            found.events.to_string(),
            found.opened.to_string(),
            found.closed.to_string(),
            if found.ratings > 0 {
                format!("{rating:.2}")
            } else {
                "—".to_owned()
            },
            (found.service_minutes / 60).to_string(),
        ]);
    }
    let widths: [usize; 8] =
        std::array::from_fn(|i| rows.iter().map(|row| row[i].width()).max().unwrap_or(0));
    let mut out = String::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[i] - cell.width());
            // Codes and names to the left, figures to the right.
            out.push_str(&if i < 2 {
                format!("{cell}{pad}  ")
            } else {
                format!("{pad}{cell}  ")
            });
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::super::generate::DistrictSummary;
    use super::*;

    fn figures(events: i64) -> Figures {
        Figures {
            events,
            ..Figures::default()
        }
    }

    #[test]
    fn events_that_the_lake_has_under_a_wrong_district_are_differences() {
        let made = |code: &str, accepted| DistrictSummary {
            code: code.to_owned(),
            generated: accepted + 1,
            accepted,
            ..DistrictSummary::default()
        };
        let generated = Summary {
            districts: vec![made("330502", 10), made("330503", 20)],
            ..Summary::default()
        };
        let beside = [Beside {
            code: "3305".to_owned(),
            name: "湖州市".to_owned(),
        }];
        let told = |found: [(&str, i64); 3]| {
            let found = found.map(|(code, events)| (code.to_owned(), figures(events)));
            let districts = account(&generated, &beside, &found.into());
            let sent: Vec<u64> = districts.iter().map(|district| district.sent).collect();
            assert_eq!(sent, [1, 11, 21]);
            differences(&districts)
        };
        let right = told([("3305", 1), ("330502", 10), ("330503", 20)]);
        assert_eq!(right, Vec::<String>::new());
        // The same sum, two of them elsewhere.
        let wrong = told([("3305", 1), ("330502", 12), ("330503", 18)]);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].contains("330502") && wrong[0].contains("expected 10, found 12"));
    }
}
