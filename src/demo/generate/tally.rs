//! What the generator knows to be true of what it has sent.

use std::collections::BTreeMap;

use siji_schemas::{Code, Event};

use super::Fate;
use super::city::District;

/// Counts of a run so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Events sent, each sending counted.
    pub generated: u64,
    /// Events the pipeline must accept.
    pub accepted: u64,
    /// Accepted ones that happened hours or days before they were recorded.
    pub late: u64,
    /// Repeated sendings of accepted ones.
    pub duplicate: u64,
    /// Events the pipeline must refuse, by rule.
    pub quarantined: BTreeMap<Code, u64>,
    /// The same by the area they stand under in `rollup_district`, in the order of area codes.
    pub districts: Vec<DistrictSummary>,
}

/// Counts of one district, or of what stands in its place: a city without districts, and areas above districts by
/// themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DistrictSummary {
    /// Area code.
    pub code: String,
    /// Name in the registry.
    pub name: String,
    /// Events sent, each sending counted. Refused ones count where they were made.
    pub generated: u64,
    /// Events accepted.
    pub accepted: u64,
    /// Repeated sendings.
    pub duplicate: u64,
    /// Events refused.
    pub quarantined: u64,
    /// Accepted `case.opened`.
    pub cases_opened: u64,
    /// Accepted `case.closed`; a case taken up again closes more than once.
    pub cases_closed: u64,
    /// Accepted `case.callback` with a rating.
    pub ratings: u64,
    /// Sum of those ratings, 1 to 5 each.
    pub rating_sum: u64,
    /// Minutes of accepted `service.delivered`.
    pub service_minutes: u64,
}

impl Summary {
    /// Events refused, whatever the rule.
    pub fn quarantined_total(&self) -> u64 {
        self.quarantined.values().sum()
    }

    /// Nothing sent yet.
    pub(super) fn of(districts: &[District]) -> Summary {
        let row = |district: &District| DistrictSummary {
            code: district.code.clone(),
            name: district.name.clone(),
            ..DistrictSummary::default()
        };
        Summary {
            districts: districts.iter().map(row).collect(),
            ..Summary::default()
        }
    }

    /// One more sending, made in the district at a position.
    pub(super) fn add(&mut self, fate: Fate, event: &Event, district: usize) {
        self.generated += 1;
        let row = &mut self.districts[district];
        row.generated += 1;
        match fate {
            Fate::Duplicate => {
                self.duplicate += 1;
                row.duplicate += 1;
            }
            Fate::Quarantined(code) => {
                *self.quarantined.entry(code).or_default() += 1;
                row.quarantined += 1;
            }
            Fate::Accepted => {
                self.accepted += 1;
                row.accepted += 1;
                match event.event_type.as_deref() {
                    Some("case.opened") => row.cases_opened += 1,
                    Some("case.closed") => row.cases_closed += 1,
                    Some("case.callback") => {
                        row.ratings += u64::from(event.rating.is_some());
                        row.rating_sum +=
                            u64::from(event.rating.unwrap_or_default().unsigned_abs());
                    }
                    Some("service.delivered") => {
                        row.service_minutes +=
                            u64::from(event.minutes.unwrap_or_default().unsigned_abs());
                    }
                    _ => {}
                }
            }
        }
    }
}
