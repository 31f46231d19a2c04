//! What arrives in one second after another.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use siji_aggregator::commit::{Advance, Rows, Tally};
use siji_aggregator::derive::rollup::Rollup;
use siji_aggregator::position::{Partition, Position};
use siji_lake::schema::ledger_schema;
use siji_schemas::catalogue::Catalogue;

use crate::failure::Failure;

pub(super) const TOPIC: &str = "soak";
const PARTITIONS: i64 = 4;
/// 1 November 2026, 00:00 UTC: a day of the soak is a day of the city.
const FIRST_S: i64 = 1_793_491_200;
/// One event in so many is a month late.
const LATE_EVERY: i64 = 100;

pub(super) struct Seconds {
    catalogue: Arc<Catalogue>,
    /// Events of one partition in a second.
    events: i64,
    next: i64,
}

impl Seconds {
    pub(super) fn new(catalogue: Arc<Catalogue>, events: u64) -> Seconds {
        let events = i64::try_from(events).unwrap_or(i64::MAX) / PARTITIONS;
        Seconds {
            catalogue,
            events: events.max(1),
            next: 0,
        }
    }

    /// Ledger rows of one second, and what they bring forward.
    pub(super) fn next(&mut self, commit: u64) -> Result<(Rows, Advance), Failure> {
        let mut rows: Vec<Value> = Vec::new();
        for partition in 0..PARTITIONS {
            for n in 0..self.events {
                rows.push(row(commit, partition, self.next + n)?);
            }
        }
        self.next += self.events;
        let mut decoder = arrow::json::ReaderBuilder::new(ledger_schema()).build_decoder()?;
        decoder.serialize(&rows)?;
        let batch = decoder.flush()?.ok_or_else(|| Failure::new("no rows"))?;
        let mut rollup = Rollup::new(Arc::clone(&self.catalogue));
        rollup.add(&batch)?;
        let position = Position {
            epoch: 0,
            next: Some(self.next),
            last: None,
            parked: None,
        };
        let positions = (0..PARTITIONS as i32)
            .map(|n| (Partition(n), position))
            .collect();
        let advance = Advance {
            turn: commit,
            positions,
            tally: Tally::new(),
            newest_ms: BTreeMap::new(),
        };
        let rows = Rows {
            ledger: vec![batch],
            rollup,
            registers: Vec::new(),
        };
        Ok((rows, advance))
    }
}

fn row(commit: u64, partition: i64, offset: i64) -> Result<Value, Failure> {
    let late = (offset + partition) % LATE_EVERY == 0;
    let second = commit as i64 - if late { 30 * 86_400 } else { 0 };
    let at = chrono::DateTime::from_timestamp(FIRST_S + second, 0)
        .ok_or_else(|| Failure::new("no such time"))?;
    let day = (at + chrono::Duration::hours(8)).date_naive();
    let area = (offset * 7 + partition) % 60;
    let (community, street) = (format!("330502{area:06}"), format!("330502{:03}", area / 6));
    Ok(json!({
        "topic_epoch": 0, "partition": partition, "offset": offset, "offset_last": offset,
        "disposition": "accepted", "ingested_at": at.to_rfc3339(), "local_date": day.to_string(),
        "area_tier": 1, "area_code": community, "home_area_code": community,
        "street_code": street, "district_code": "330502", "city_code": "3305", "province_code": "33",
        "event_id": id(partition, offset), "body_hash": offset, "schema_version": 1,
        "event_type": if offset % 3 == 0 { "visit.made" } else { "case.opened" }, "op": "assert",
        "occurred_at": at.to_rfc3339(), "recorded_at": at.to_rfc3339(), "source_id": "soak",
        "incarnation": 1, "source_seq": offset, "subject_kind": "visit",
        "subject_id": format!("v{offset}"), "minutes": (offset % 90) as i32, "qualifier": "exact",
    }))
}

/// Looks like a UUID, and compresses as badly.
fn id(partition: i64, offset: i64) -> String {
    let mixed = (offset as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(31)
        ^ (partition as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
    let mixed = mixed.wrapping_mul(0xD1B5_4A32_D192_ED03);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{partition:03x}-{:012x}",
        mixed >> 32,
        mixed >> 16 & 0xFFFF,
        mixed & 0xFFF,
        mixed.wrapping_mul(offset as u64 | 1) & 0xFFFF_FFFF_FFFF
    )
}
