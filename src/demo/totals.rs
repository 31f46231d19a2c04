//! What the lake says of a city, by tier and by district.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use serde_json::Value;
use siji_lake::Lake;
use siji_query::format::{Format, encode};
use siji_query::{Engine, EngineOptions, Limits, Parameters, Principal, QueryOptions, Session};

use crate::failure::Failure;

/// The four tiers of the summary.
const TIERS: [&str; 4] = ["community", "street", "district", "city"];

const DISTRICTS: &str = "SELECT area_code, sum(events) AS events, \
    sum(events) FILTER (WHERE event_type = 'case.opened') AS opened, \
    sum(events) FILTER (WHERE event_type = 'case.closed') AS closed, \
    sum(rating_1 + rating_2 + rating_3 + rating_4 + rating_5) FILTER (WHERE event_type = 'case.callback') AS ratings, \
    sum(rating_1 + 2 * rating_2 + 3 * rating_3 + 4 * rating_4 + 5 * rating_5) \
      FILTER (WHERE event_type = 'case.callback') AS rating_sum, \
    sum(minutes_sum) FILTER (WHERE event_type = 'service.delivered') AS service_minutes \
    FROM rollup_district GROUP BY area_code";

/// Sums of one district.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Accepted events.
    pub events: i64,
    /// `case.opened`
    pub opened: i64,
    /// `case.closed`
    pub closed: i64,
    /// `case.callback` with a rating.
    pub ratings: i64,
    /// Sum of those ratings, 1 to 5 each.
    pub rating_sum: i64,
    /// Minutes of `service.delivered`.
    pub service_minutes: i64,
}

impl Figures {
    /// The figures with their names.
    pub fn named(&self) -> [(&'static str, i64); 6] {
        [
            ("accepted events", self.events),
            ("opened cases", self.opened),
            ("closed cases", self.closed),
            ("ratings", self.ratings),
            ("sum of ratings", self.rating_sum),
            ("minutes of service", self.service_minutes),
        ]
    }

    fn minus(self, before: Figures) -> Figures {
        Figures {
            events: self.events - before.events,
            opened: self.opened - before.opened,
            closed: self.closed - before.closed,
            ratings: self.ratings - before.ratings,
            rating_sum: self.rating_sum - before.rating_sum,
            service_minutes: self.service_minutes - before.service_minutes,
        }
    }
}

/// Sums over the whole lake.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Accepted events by tier.
    pub tiers: BTreeMap<&'static str, i64>,
    /// By area in `rollup_district`.
    pub districts: BTreeMap<String, Figures>,
}

impl Totals {
    /// As the lake has them now.
    pub async fn read(lake: &Lake, limits: &Limits) -> Result<Totals, Failure> {
        let options = EngineOptions {
            limits: limits.clone(),
            ..EngineOptions::default()
        };
        let session = Engine::open(lake.clone(), options)?.session(Principal::local());
        let mut totals = Totals::default();
        for tier in TIERS {
            let sql = format!("SELECT sum(events) AS events FROM rollup_{tier}");
            let events = rows(&session, &sql)
                .await?
                .first()
                .map(|row| number(row, "events"));
            totals.tiers.insert(tier, events.unwrap_or(0));
        }
        for row in rows(&session, DISTRICTS).await? {
            let area = row.get("area_code").and_then(Value::as_str);
            let figures = Figures {
                events: number(&row, "events"),
                opened: number(&row, "opened"),
                closed: number(&row, "closed"),
                ratings: number(&row, "ratings"),
                rating_sum: number(&row, "rating_sum"),
                service_minutes: number(&row, "service_minutes"),
            };
            totals
                .districts
                .insert(area.unwrap_or_default().to_owned(), figures);
        }
        Ok(totals)
    }

    /// What came since then.
    pub fn since(mut self, before: &Totals) -> Totals {
        for (tier, total) in &mut self.tiers {
            *total -= before.tiers.get(tier).copied().unwrap_or(0);
        }
        for (area, figures) in &mut self.districts {
            *figures = figures.minus(before.districts.get(area).copied().unwrap_or_default());
        }
        self
    }
}

/// A sum; none over nothing.
fn number(row: &Value, name: &str) -> i64 {
    row.get(name).and_then(Value::as_i64).unwrap_or(0)
}

async fn rows(session: &Session, sql: &str) -> Result<Vec<Value>, Failure> {
    let result = session
        .query(sql, Parameters::default(), QueryOptions::default())
        .await?;
    let lines: Vec<_> = encode(result, Format::Ndjson).await?.try_collect().await?;
    let lines = lines.concat();
    let rows = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    Ok(rows.map(serde_json::from_slice).collect::<Result<_, _>>()?)
}
