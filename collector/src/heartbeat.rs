//! Signs of life: a collector that has nothing to say says so, with its counters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use siji_schemas::Event;
use siji_schemas::event::SCHEMA_VERSION;
use siji_schemas::personal::contains_raw_personal;
use siji_schemas::validate::Reference;
use tokio::time::MissedTickBehavior;

use crate::clock::now_ms;
use crate::intake::Counters;
use crate::ship::ShipStatus;
use crate::spool::{Opening, Record, Spool, Value};

/// Who beats.
#[derive(Debug, Clone)]
pub(crate) struct Heart {
    pub source_id: String,
    pub area: String,
    pub reference: Arc<Reference>,
    pub counters: Arc<Counters>,
    pub started: Instant,
}

impl Heart {
    /// The first record of an opening of the spool: counts from nought and names the opening before.
    pub fn first_beat(&self, opening: &Opening) -> Record {
        self.counters.reset();
        self.record(opening, Vec::new())
    }

    fn beat(&self, spool: &Spool, ship: &ShipStatus) -> Record {
        let gauges = spool.gauges();
        let figures = vec![
            ("sent", ship.delivered().to_string()),
            ("spooled", gauges.depth.to_string()),
            ("spool_bytes", gauges.waiting_bytes.to_string()),
            ("oldest_ms", format!("{:.0}", gauges.oldest_age_s * 1000.0)),
        ];
        self.record(&gauges.opening, figures)
    }

    fn record(&self, opening: &Opening, figures: Vec<(&'static str, String)>) -> Record {
        let (accepted, refused) = self.counters.read();
        let now = now_ms();
        let mut attrs = figures;
        attrs.extend([
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("accepted", accepted.to_string()),
            ("refused", refused.to_string()),
            ("uptime_s", self.started.elapsed().as_secs().to_string()),
            ("catalogue", self.reference.catalogue.version().to_owned()),
            ("areas", self.reference.areas.version().to_owned()),
        ]);
        if let Some((incarnation, last_seq)) = opening.previous {
            attrs.push(("previous_incarnation", incarnation.to_string()));
            attrs.push(("previous_seq", last_seq.to_string()));
        }
        // A count may by chance look like a telephone number; the ledger would refuse the whole heartbeat.
        let attrs: BTreeMap<_, _> = attrs
            .into_iter()
            .filter(|(_, value)| !contains_raw_personal(value.as_bytes()))
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        let event = Event {
            event_id: Some(uuid::Uuid::now_v7().to_string()),
            schema_version: Some(SCHEMA_VERSION),
            event_type: Some("source.heartbeat".to_owned()),
            op: Some("assert".to_owned()),
            occurred_at: Some(now),
            recorded_at: Some(now),
            source_id: Some(self.source_id.clone()),
            area_code: Some(self.area.clone()),
            home_area_code: Some(self.area.clone()),
            subject_kind: Some("source".to_owned()),
            subject_id: Some(self.source_id.clone()),
            qualifier: Some("exact".to_owned()),
            attrs,
            ..Event::default()
        };
        Record {
            key: self.area.clone(),
            headers: Vec::new(),
            value: Value::Event(Box::new(event)),
        }
    }

    /// Beats until it is dropped.
    pub async fn run(self, every: Duration, spool: Arc<Spool>, ship: Arc<ShipStatus>) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The opening has beaten already.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if let Err(error) = spool.append(vec![self.beat(&spool, &ship)]).await {
                tracing::warn!(error = %error, "a heartbeat could not be spooled");
            }
        }
    }
}
