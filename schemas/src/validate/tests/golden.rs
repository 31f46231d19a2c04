//! Every event that a golden case gives must be accepted, unless the case itself expects it to be refused.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::area::{Area, AreaSource, AreaTree, BUILTIN, Tier, Zone};
use crate::catalogue::{Catalogue, CatalogueSource};
use crate::validate::{Reference, validate};
use crate::{Code, Event};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");

fn text<'v>(item: &'v Value, key: &str) -> Option<&'v str> {
    item.get(key).and_then(Value::as_str)
}

/// Noon in China of a day, in milliseconds.
fn noon(day: &str) -> i64 {
    Zone::CHINA.start_of(crate::area::Day::parse(day).expect("a day")) + 12 * 3_600_000
}

fn micros(item: &Value, key: &str) -> Option<i64> {
    let number = item.get(key)?.as_f64()?;
    Some((number * 1e6).round() as i64)
}

/// The base event of an item, with the defaults the golden cases describe.
fn event(item: &Value, catalogue: &Catalogue) -> Event {
    let name = text(item, "event_type").expect("an event type");
    let kind = catalogue
        .event_type(name)
        .unwrap_or_else(|| panic!("{name} is not in the catalogue"));
    let subject_kind = kind.subject_kinds.first().expect("a subject kind").clone();
    let subject = text(item, "subject_id")
        .or(text(item, "subjects").and_then(|range| range.split('-').next()));
    let day = text(item, "occurred_at")
        .or(text(item, "as_of"))
        .expect("a day");
    let integer = |key: &str| item.get(key).and_then(Value::as_i64);
    let owned = |key: &str| text(item, key).map(str::to_owned);
    let attrs = item.get("attrs").and_then(Value::as_object);
    Event {
        event_id: Some("0190b5a2-7c1e-7def-8000-000000000001".into()),
        schema_version: Some(1),
        event_type: Some(name.into()),
        op: Some("assert".into()),
        occurred_at: Some(noon(day)),
        recorded_at: Some(text(item, "recorded_at").map_or(noon(day) + 60_000, noon)),
        area_code: Some(format!("{:0<12}", text(item, "area").expect("an area"))),
        subject_kind: Some(subject_kind.clone()),
        subject_id: Some(subject.map_or_else(|| format!("{subject_kind}:1"), str::to_owned)),
        case_kind: owned("case_kind"),
        service_code: owned("service_code"),
        channel: owned("channel"),
        handler_code: owned("handler_code"),
        handler_tier: integer("handler_tier").map(|tier| tier as i32),
        due_at: text(item, "due_at").map(noon),
        outcome: owned("outcome"),
        rating: integer("rating").map(|rating| rating as i32),
        count: integer("count"),
        amount_fen: integer("amount_fen"),
        minutes: integer("minutes").map(|minutes| minutes as i32),
        value: micros(item, "value"),
        unit: owned("unit"),
        qualifier: owned("qualifier"),
        fund_source: owned("fund_source"),
        fee_mode: owned("fee_mode"),
        attrs: attrs
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
            .collect(),
        ..Event::default()
    }
}

/// The base events of a case: plain items, the event an `apportion` makes, and the steps of a `lifecycle`.
fn events(case: &Value, catalogue: &Catalogue) -> Vec<Event> {
    let mut events = Vec::new();
    for item in case["given"].as_array().expect("a list") {
        if let Some(apportion) = item.get("apportion") {
            let mut base = apportion["as"].clone();
            let column = text(&base, "key").expect("a key").to_owned();
            let part = apportion["weights"]
                .as_object()
                .and_then(|w| w.keys().next())
                .expect("a weight")
                .clone();
            base["qualifier"] = apportion["qualifier"].clone();
            let mut event = event(&base, catalogue);
            match column.as_str() {
                "fund_source" => event.fund_source = Some(part),
                key => drop(event.attrs.insert(key.to_owned(), part)),
            }
            events.push(event);
        } else if item.get("event_type").is_some() {
            let base = event(item, catalogue);
            if item.get("lifecycle").is_some() {
                events.extend(lifecycle(&base));
            }
            events.push(base);
        }
    }
    events
}

/// The stations before a callback.
fn lifecycle(callback: &Event) -> Vec<Event> {
    let handler = callback
        .handler_code
        .clone()
        .or_else(|| Some("h:3305".into()));
    let step = |name: &str| Event {
        event_type: Some(name.into()),
        rating: None,
        outcome: None,
        handler_code: handler.clone(),
        due_at: callback.occurred_at,
        ..callback.clone()
    };
    [
        "opened",
        "accepted",
        "dispatched",
        "signed",
        "contacted",
        "handled",
        "closed",
    ]
    .map(|verb| step(&format!("case.{verb}")))
    .into()
}

/// All built-in areas and those that cases bring along.
fn areas(cases: &BTreeMap<String, Value>) -> AreaTree {
    let builtin = AreaTree::load(&AreaSource::builtin(BUILTIN.iter().copied())).expect("areas");
    let mut rows = builtin.rows().to_vec();
    for item in cases
        .values()
        .flat_map(|case| case["given"].as_array().into_iter().flatten())
    {
        let Some(area) = item.get("ref_area") else {
            continue;
        };
        let code = text(area, "area_code").expect("a code").to_owned();
        rows.retain(|row| row.code != code);
        rows.push(Area {
            code,
            parent: text(area, "parent_code")
                .filter(|parent| !parent.is_empty())
                .map(str::to_owned),
            tier: text(area, "tier").and_then(Tier::parse).expect("a tier"),
            name: text(area, "name").expect("a name").to_owned(),
            kind: String::new(),
            valid_from: None,
            valid_to: None,
        });
    }
    AreaTree::from_rows(rows, builtin.changes().to_vec()).expect("areas with those of the cases")
}

#[test]
fn the_events_of_the_golden_cases_are_accepted_or_refused_as_the_cases_expect() {
    let mut cases = BTreeMap::new();
    for entry in fs::read_dir(DIR).expect("the golden cases") {
        let path = entry.expect("a file").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let bytes = fs::read(&path).expect("a golden case");
            let case: Value = serde_json::from_slice(&bytes).expect("a golden case");
            cases.insert(case["id"].as_str().expect("an id").to_owned(), case);
        }
    }
    assert!(cases.len() >= 34, "{} cases", cases.len());
    let catalogue = Catalogue::load(&CatalogueSource::Builtin).expect("the catalogue");
    let reference = Reference::new(areas(&cases), catalogue, Zone::CHINA);

    let (mut accepted, mut refused) = (0, 0);
    for (id, case) in &cases {
        let expected = |event: &Event, code: Code| {
            case["expect"]["flags"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|flag| {
                    let about = text(flag, "about");
                    text(flag, "code") == Some(code.as_str())
                        && (about == event.subject_id.as_deref()
                            || about == event.event_type.as_deref())
                })
        };
        for event in events(case, &reference.catalogue) {
            let now = event.recorded_at.expect("a time");
            match validate(&event.as_ref(), &reference, now) {
                Ok(judged) => {
                    assert!(
                        !expected(&event, Code::V07),
                        "{id}: {event:?} should have been refused"
                    );
                    assert!(
                        event
                            .area_code
                            .as_deref()
                            .is_some_and(|code| code.starts_with(judged.area_code))
                    );
                    accepted += 1;
                }
                Err(refusal) => {
                    assert!(expected(&event, refusal.code), "{id}: {refusal} {event:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(accepted > 100, "{accepted}");
    assert_eq!(refused, 1, "only the party share of 497 % is refused");
}
