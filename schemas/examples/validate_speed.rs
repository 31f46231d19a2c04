//! Prints how long validation and the search for personal data take, in nanoseconds per event, on this machine.
//!
//!     cargo run --release -p siji-schemas --example validate_speed -- [CITY] [ROUNDS]
//!
//! The events are those of a busy day (case stations, deliveries, stocks over all communities of a province), read from
//! an Arrow batch as the aggregator reads them.

use std::hint::black_box;
use std::time::Instant;

use siji_schemas::area::{Tier, Zone};
use siji_schemas::arrow::{EventBatchBuilder, EventColumns};
use siji_schemas::validate::{Reference, validate};
use siji_schemas::{Event, EventRef, personal};

/// 2024-05-20T04:00:00Z.
const NOW: i64 = 1_716_177_600_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let city = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "huzhou".to_owned());
    let start = Instant::now();
    let reference = Reference::load(None, &[city.as_str()], Zone::CHINA)?;
    println!(
        "load {} areas: {:?}",
        reference.areas.len(),
        start.elapsed()
    );
    let mut builder = EventBatchBuilder::default();
    for event in events(&reference) {
        builder.append(&event.as_ref())?;
    }
    let batch = builder.finish()?;
    let columns = EventColumns::of(&batch)?;
    let rounds: u32 = std::env::args()
        .nth(2)
        .map_or(Ok(50), |rounds| rounds.parse())?;
    let mut best = [f64::MAX; 4];
    let day = reference.zone.day_of(NOW);
    for _ in 0..rounds {
        best[0] = best[0].min(nanoseconds(&columns, |event| {
            black_box(event);
        }));
        best[1] = best[1].min(nanoseconds(&columns, |event| {
            assert!(black_box(validate(&event, &reference, NOW)).is_ok());
        }));
        best[2] = best[2].min(nanoseconds(&columns, |event| {
            black_box(
                reference
                    .areas
                    .lineage(event.area_code.unwrap_or_default(), day),
            );
        }));
        best[3] = best[3].min(nanoseconds(&columns, |event| {
            assert!(!black_box(personal::event_holds_personal(&event)));
        }));
    }
    for (what, best) in [
        "row of the batch",
        "row and validate",
        "row and lineage",
        "row and search for personal data",
    ]
    .iter()
    .zip(best)
    {
        println!("{what}: {best:.0} ns per event");
    }
    Ok(())
}

fn nanoseconds(columns: &EventColumns<'_>, mut each: impl FnMut(EventRef<'_>)) -> f64 {
    let start = Instant::now();
    (0..columns.len()).for_each(|row| each(columns.row(row)));
    start.elapsed().as_nanos() as f64 / columns.len() as f64
}

fn events(reference: &Reference) -> Vec<Event> {
    let day = reference.zone.day_of(NOW);
    let communities: Vec<&str> = reference
        .areas
        .of_tier(Tier::Community, day)
        .map(|area| area.code.as_str())
        .collect();
    let text = |text: &str| Some(text.to_owned());
    // Co-prime steps spread neighbouring events over the whole province.
    (0..20_000usize)
        .map(|i| {
            let base = Event {
                event_id: Some(format!("0190b5a2-7c1e-7def-8000-{i:012x}")),
                schema_version: Some(1),
                op: text("assert"),
                occurred_at: Some(NOW - 60_000),
                recorded_at: Some(NOW),
                source_id: text("site-0017"),
                incarnation: Some(7),
                source_seq: Some(i as i64),
                area_code: text(communities[i * 7919 % communities.len()]),
                qualifier: text("exact"),
                actor_role: text("worker"),
                actor_ref: text("w_abcdefghijklmnopqrstuvwx27"),
                ..Event::default()
            };
            let case = Event {
                subject_kind: text("case"),
                subject_id: Some(format!("case:2024-{i:08}")),
                case_kind: text("request"),
                service_code: text("environment.waste"),
                channel: text("hotline"),
                resident_ref: text("r_abcdefghijklmnopqrstuvwx27"),
                handler_code: text("h:330502"),
                handler_tier: Some(3),
                due_at: Some(NOW),
                attrs: [
                    ("line".to_owned(), "12345".to_owned()),
                    ("urgency".to_owned(), "normal".to_owned()),
                ]
                .into(),
                ..base.clone()
            };
            match i % 5 {
                0 => Event {
                    event_type: text("case.opened"),
                    ..case
                },
                1 => Event {
                    event_type: text("case.dispatched"),
                    ..case
                },
                2 => Event {
                    event_type: text("case.callback"),
                    outcome: text("resolved"),
                    rating: Some(5),
                    ..case
                },
                3 => Event {
                    event_type: text("service.delivered"),
                    subject_kind: text("service"),
                    subject_id: Some(format!("service:{i}")),
                    service_code: text("elder.meals"),
                    count: Some(12),
                    minutes: Some(45),
                    fee_mode: text("low"),
                    ..base
                },
                _ => Event {
                    event_type: text("stock.reported"),
                    subject_kind: text("register"),
                    subject_id: text("fac.library"),
                    value: Some(3_000_000),
                    unit: text("n"),
                    ..base
                },
            }
        })
        .collect()
}
