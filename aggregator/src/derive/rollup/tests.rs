use siji_schemas::Event;
use siji_schemas::area::Zone;
use siji_schemas::arrow::EventColumns;
use siji_schemas::validate::Reference;
use siji_schemas::wire::partition_of;

use super::*;
use crate::consume::Chunk;
use crate::decode::Decode;
use crate::judge::{Disposition, validate_chunk};
use crate::ledger::{self, Context};

const NOW: i64 = 1_772_350_000_000;

/// Ledger rows of one visit of 10 minutes in each area.
fn ledger_rows(reference: &Reference, areas: &[&str]) -> RecordBatch {
    let mut chunk = Chunk::new(0);
    for (n, area) in areas.iter().enumerate() {
        let event = Event {
            event_id: Some(format!("00000000-0000-4000-8000-{n:012}")),
            schema_version: Some(1),
            event_type: Some("visit.made".into()),
            op: Some("assert".into()),
            occurred_at: Some(1_772_323_200_000 + n as i64),
            recorded_at: Some(1_772_323_260_000),
            area_code: Some((*area).into()),
            home_area_code: Some((*area).into()),
            subject_kind: Some("visit".into()),
            subject_id: Some("v-1".into()),
            minutes: Some(10),
            qualifier: Some("exact".into()),
            ..Event::default()
        };
        assert_eq!(partition_of(area.as_bytes(), 1), 0);
        let value = serde_json::to_vec(&event).unwrap();
        chunk.push(
            n as i64,
            Some(NOW),
            Some(area.as_bytes()),
            Some(&value),
            None,
        );
    }
    let decoded = Decode::new().unwrap().decode(&chunk).unwrap();
    let columns = EventColumns::of(&decoded.events).unwrap();
    let verdicts = validate_chunk(&chunk, &decoded, &columns, reference, 1, NOW);
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
    ledger::rows(&chunk, &decoded.events, &verdicts, context).unwrap()
}

/// (area, placement, events) of every row of a tier.
fn shown(rows: &RecordBatch) -> Vec<(String, String, i64)> {
    let text = |name: &str| {
        rows.column_by_name(name)
            .unwrap()
            .as_string::<i32>()
            .clone()
    };
    let (areas, placements) = (text("area_code"), text("placement"));
    let events = rows
        .column_by_name("events")
        .unwrap()
        .as_primitive::<Int64Type>();
    let mut shown: Vec<_> = (0..rows.num_rows())
        .map(|row| {
            (
                areas.value(row).into(),
                placements.value(row).into(),
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
    let mut rollup = Rollup::new(Arc::new(reference.catalogue.clone())).unwrap();
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
        let mut rollup = Rollup::new(Arc::new(reference.catalogue.clone())).unwrap();
        parts.iter().for_each(|part| rollup.add(part).unwrap());
        rollup.finish().unwrap()
    };
    let whole = fold(std::slice::from_ref(&rows));
    let parts: Vec<RecordBatch> = (0..rows.num_rows()).map(|row| rows.slice(row, 1)).collect();
    assert_eq!(fold(&parts), whole);
}
