use siji_schemas::Event;
use siji_schemas::area::Zone;
use siji_schemas::validate::Reference;
use siji_schemas::wire::partition_of;

use super::*;
use crate::consume::Chunk;
use crate::derive::text_column;
use crate::judge::{Disposition, Judge};
use crate::ledger::{Context, LedgerRows};

const NOW: i64 = 1_772_350_000_000;

/// A visit of 10 minutes.
fn visit(area: &str) -> Event {
    Event {
        schema_version: Some(1),
        event_type: Some("visit.made".into()),
        op: Some("assert".into()),
        occurred_at: Some(1_772_323_200_000),
        recorded_at: Some(1_772_323_260_000),
        area_code: Some(area.into()),
        home_area_code: Some(area.into()),
        subject_kind: Some("visit".into()),
        subject_id: Some("v-1".into()),
        minutes: Some(10),
        qualifier: Some("exact".into()),
        ..Event::default()
    }
}

/// Ledger rows of one visit in each area.
fn ledger_rows(reference: &Reference, areas: &[&str]) -> RecordBatch {
    let visits: Vec<Event> = areas.iter().map(|area| visit(area)).collect();
    ledger_rows_of(reference, visits)
}

fn ledger_rows_of(reference: &Reference, events: Vec<Event>) -> RecordBatch {
    let mut chunk = Chunk::new(0);
    for (n, mut event) in events.into_iter().enumerate() {
        event.event_id = Some(format!("00000000-0000-4000-8000-{n:012}"));
        let area = event.area_code.clone().unwrap();
        assert_eq!(partition_of(area.as_bytes(), 1), 0);
        let value = serde_json::to_vec(&event).unwrap();
        let key = Some(area.as_bytes());
        chunk.push(n as i64, Some(NOW), key, Some(&value), None);
    }
    let (columns, verdicts) = Judge::new(reference, 1).judge(&chunk, NOW).unwrap();
    for verdict in &verdicts {
        assert_eq!(
            verdict.disposition,
            Disposition::Accepted,
            "{:?}",
            verdict.refusal
        );
    }
    let context = Context {
        epoch: 0,
        now_ms: NOW,
        reference,
    };
    LedgerRows::new(reference)
        .rows(&chunk, &columns, &verdicts, context)
        .unwrap()
}

/// (area, placement, events) of every row of a tier.
fn shown(rows: &RecordBatch) -> Vec<(String, String, i64)> {
    let text = |name: &str| text_column(rows, name).unwrap();
    let (areas, placements) = (text("area_code"), text("placement"));
    let events = rows
        .column_by_name("events")
        .unwrap()
        .as_primitive::<Int64Type>();
    let mut shown: Vec<_> = (0..rows.num_rows())
        .map(|row| {
            (
                areas.get(row).unwrap().into(),
                placements.get(row).unwrap().into(),
                events.value(row),
            )
        })
        .collect();
    shown.sort();
    shown
}

#[test]
fn every_tier_counts_every_event_once_whatever_the_tree_lacks() {
    let reference = Reference::load(None, &["huzhou", "guangdong"], Zone::CHINA).unwrap();
    // Two communities of one street, a district itself, a city itself, and a street of Dongguan, which has no districts.
    let dongguan = reference
        .areas
        .children("4419", siji_schemas::area::Day(20_500))
        .next()
        .unwrap()
        .code
        .clone();
    let areas = [
        "330502001005",
        "330502001006",
        "330502",
        "3305",
        dongguan.as_str(),
    ];
    let mut rollup = Rollup::new(Arc::new(reference.catalogue.clone()));
    rollup.add(&ledger_rows(&reference, &areas)).unwrap();
    let tiers = rollup.finish().unwrap();
    for (tier, rows) in &tiers {
        let events: i64 = shown(rows).iter().map(|(_, _, events)| events).sum();
        assert_eq!(events, areas.len() as i64, "{tier:?}");
    }
    let row = |area: &str, placement: &str, events| (area.to_owned(), placement.to_owned(), events);
    let (_, districts) = &tiers[2];
    assert_eq!(
        shown(districts),
        [
            row("3305", "unallocated", 1),
            row("330502", "placed", 3),
            row("4419", "pass_through", 1)
        ]
    );
    let (_, provinces) = &tiers[4];
    assert_eq!(
        shown(provinces),
        [row("3305", "pass_through", 4), row("44", "placed", 1)]
    );
}

#[test]
fn splitting_the_rows_over_batches_changes_nothing() {
    let reference = Reference::load(None, &["huzhou"], Zone::CHINA).unwrap();
    let rows = ledger_rows(
        &reference,
        &["330502001005", "330502001006", "330502", "330502001005"],
    );
    let fold = |parts: &[RecordBatch]| {
        let mut rollup = Rollup::new(Arc::new(reference.catalogue.clone()));
        parts.iter().for_each(|part| rollup.add(part).unwrap());
        rollup.finish().unwrap()
    };
    let whole = fold(std::slice::from_ref(&rows));
    let parts: Vec<RecordBatch> = (0..rows.num_rows()).map(|row| rows.slice(row, 1)).collect();
    assert_eq!(fold(&parts), whole);
}

#[test]
fn a_damaged_figure_counts_as_an_event_but_stays_out_of_sums_and_a_level_is_not_added_up() {
    let reference = Reference::load(None, &["huzhou"], Zone::CHINA).unwrap();
    let area = "330502001005";
    let damaged = Event {
        qualifier: Some("damaged".into()),
        ..visit(area)
    };
    let stock = Event {
        event_type: Some("stock.reported".into()),
        subject_kind: Some("register".into()),
        subject_id: Some("fac.all".into()),
        minutes: None,
        value: Some(5_000_000),
        unit: Some("n".into()),
        ..visit(area)
    };
    let rows = ledger_rows_of(&reference, vec![visit(area), damaged, stock]);
    let mut rollup = Rollup::new(Arc::new(reference.catalogue.clone()));
    rollup.add(&rows).unwrap();
    for (tier, rows) in rollup.finish().unwrap() {
        let sum = |name: &str| {
            let column = rows.column_by_name(name).unwrap();
            arrow::compute::sum(column.as_primitive::<Int64Type>())
        };
        assert_eq!(sum("events"), Some(3), "{tier:?}");
        assert_eq!((sum("minutes_n"), sum("minutes_sum")), (Some(1), Some(10)));
        assert_eq!(sum("value_n"), Some(0));
        let values = rows.column_by_name("value_sum").unwrap();
        assert_eq!(values.null_count(), rows.num_rows());
    }
}

#[test]
fn rows_of_a_tier_are_sorted_by_district_area_hour_and_type() {
    let reference = Reference::load(None, &["huzhou"], Zone::CHINA).unwrap();
    let mut events = Vec::new();
    for area in ["330521102206", "330502001006", "330502001005"] {
        for hours in [5, 0, 3] {
            let mut event = visit(area);
            event.occurred_at = event.occurred_at.map(|ms| ms - hours * 3_600_000);
            events.push(event);
        }
    }
    let known: Vec<Event> = events
        .into_iter()
        .filter(|event| {
            reference
                .areas
                .id(event.area_code.as_deref().unwrap())
                .is_some()
        })
        .collect();
    assert!(known.len() >= 6);
    let mut rollup = Rollup::new(Arc::new(reference.catalogue.clone()));
    rollup.add(&ledger_rows_of(&reference, known)).unwrap();
    let (_, rows) = rollup.finish().unwrap().remove(0);
    let text = |name: &str| text_column(&rows, name).unwrap();
    let (districts, areas) = (text("district_code"), text("area_code"));
    let hours = rows
        .column_by_name("hour")
        .unwrap()
        .as_primitive::<TimestampMicrosecondType>();
    let keys: Vec<_> = (0..rows.num_rows())
        .map(|row| (districts.get(row), areas.get(row), hours.value(row)))
        .collect();
    assert!(keys.is_sorted(), "{keys:?}");
}
