//! `siji bench freshness`: from the collector's 2xx to visible in SQL, through all roles as processes of their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde_json::{Value, json};
use siji_schemas::Event;
use siji_schemas::validate::Reference;
use tokio::time::MissedTickBehavior;

use super::client::{Client, Request};
use super::load::Load;
use super::process::{Process, machine, round};
use super::site::{Shape, Site};
use crate::failure::Failure;

/// Requests a second; each carries its share of the rate.
const REQUESTS_PER_S: u64 = 100;
/// Connections that take turns.
const CLIENTS: usize = 8;
/// Between an answer of the query server and the next question.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Not measured: connections, first commits, first queries.
const WARM_UP: Duration = Duration::from_secs(3);
/// What is not visible by then is missing.
const PATIENCE: Duration = Duration::from_secs(20);
/// Records are looked for from so long before the oldest request that is not visible yet.
const SLACK_MS: i64 = 2000;
const PARTITIONS: u16 = 4;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Kafka to use; the embedded broker, as one more process, if absent.
    pub brokers: Option<String>,
    /// Events a second.
    pub rate: u64,
    pub seconds: u64,
    /// Registry, and the area in it that all events lie below.
    pub city: &'static str,
    pub area: &'static str,
}

/// An acknowledged request.
#[derive(Debug, Clone, Copy)]
struct Sent {
    events: u64,
    acknowledged: Instant,
    /// By the clock, for the query.
    at_ms: i64,
    measured: bool,
}

/// Acknowledged requests that are not visible yet, by their tag.
type Pending = Arc<Mutex<HashMap<String, Sent>>>;

/// Runs the pipeline, measures, and returns the figures as one object.
pub async fn run(plan: &Plan, reference: &Reference) -> Result<Value, Failure> {
    let directory = tempfile::Builder::new().prefix("siji-bench-").tempdir()?;
    let topic = match plan.brokers {
        Some(_) => format!("siji.bench.{}", uuid::Uuid::new_v4()),
        None => siji_schemas::wire::TOPIC.to_owned(),
    };
    let site = Site::new(
        directory.path(),
        &Shape {
            city: plan.city,
            area: plan.area,
            brokers: plan.brokers.as_deref(),
            topic: &topic,
            partitions: PARTITIONS,
        },
    )?;
    let config = directory.path().join("siji.toml");
    std::fs::write(&config, site.config())?;
    let ready = |address: &str| format!("http://{address}/readyz");
    // Kept to the end, and ended last.
    let _broker = match plan.brokers {
        Some(_) => None,
        None => Some(Process::role("broker", &config, &ready(&site.broker)).await?),
    };
    // The lake is made by the aggregator; the server opens it.
    let mut aggregator = Process::role("aggregator", &config, &ready(&site.aggregator)).await?;
    let mut server = Process::role("server", &config, &ready(&site.server)).await?;
    let mut collector = Process::role("collector", &config, &ready(&site.collector)).await?;

    let pending: Pending = Arc::default();
    let probe = tokio::spawn(probe(site.server.clone(), Arc::clone(&pending)));
    let used = || -> Result<[f64; 3], Failure> {
        Ok([
            collector.usage()?.cpu_s,
            aggregator.usage()?.cpu_s,
            server.usage()?.cpu_s,
        ])
    };
    let mut sender = Sender::new(plan, &site, reference, Arc::clone(&pending)).await?;
    sender.send_for(WARM_UP, false).await?;
    let (before, began) = (used()?, Instant::now());
    let sent = sender
        .send_for(Duration::from_secs(plan.seconds), true)
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = used()?;

    let until = Instant::now() + PATIENCE;
    while !lock(&pending).is_empty() && Instant::now() < until && !probe.is_finished() {
        tokio::time::sleep(ASK_EVERY).await;
    }
    for (process, name) in [
        (&mut collector, "collector"),
        (&mut aggregator, "aggregator"),
        (&mut server, "query server"),
    ] {
        process.still_runs(name)?;
    }
    let missing: u64 = lock(&pending)
        .drain()
        .filter(|(_, sent)| sent.measured)
        .map(|(_, sent)| sent.events)
        .sum();
    // The probe ends when what it looks at is gone.
    lock(&pending).insert(String::new(), Sent::end());
    let Seen {
        after: mut seen,
        mut asked,
    } = probe
        .await
        .map_err(|_| Failure::new("the probe was stopped by a defect"))??;
    seen.sort_unstable();
    asked.sort_unstable();
    let cores = |at: usize| round((after[at] - before[at]) / seconds, 1000.0);
    Ok(json!({
        "rate_per_s": (sent as f64 / seconds).round(),
        "p50_ms": percentile(&seen, 0.50),
        "p99_ms": percentile(&seen, 0.99),
        "max_ms": percentile(&seen, 1.0),
        "cpu_cores": round(cores(0) + cores(1) + cores(2), 1000.0),
        "cpu": {"collector": cores(0), "aggregator": cores(1), "server": cores(2)},
        "query": {"asked": asked.len(), "p50_ms": percentile(&asked, 0.50), "p99_ms": percentile(&asked, 0.99)},
        "events": sent,
        "missing": missing,
        "broker": plan.brokers.as_deref().unwrap_or("embedded"),
        "machine": machine(),
    }))
}

/// In milliseconds; every request counts alike, since all have as many events.
fn percentile(sorted: &[u32], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * part).round() as usize;
    sorted
        .get(at)
        .map_or(0.0, |micros| round(f64::from(*micros) / 1000.0, 10.0))
}

impl Sent {
    fn end() -> Sent {
        Sent {
            events: 0,
            acknowledged: Instant::now(),
            at_ms: 0,
            measured: false,
        }
    }
}

fn lock(pending: &Pending) -> std::sync::MutexGuard<'_, HashMap<String, Sent>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends events that happen now, at a steady rate.
struct Sender {
    rate: u64,
    token: String,
    address: String,
    load: Load,
    number: u64,
    clients: Vec<Option<Client>>,
    pending: Pending,
}

impl Sender {
    async fn new(
        plan: &Plan,
        site: &Site,
        reference: &Reference,
        pending: Pending,
    ) -> Result<Sender, Failure> {
        let clients = (0..CLIENTS).map(|_| Client::connect(&site.collector));
        let clients = try_join_all(clients).await?;
        // More than is sent: the warm-up, and duplicates, which are made to be none.
        let events = plan.rate * (plan.seconds + WARM_UP.as_secs() + 2);
        let load = Load::new(events, reference)
            .ok_or_else(|| Failure::new("the catalogue has no types for this load"))?;
        Ok(Sender {
            rate: plan.rate,
            token: site.token.clone(),
            address: site.collector.clone(),
            load,
            number: 0,
            clients: clients.into_iter().map(Some).collect(),
            pending,
        })
    }

    /// Returns how many events were acknowledged.
    async fn send_for(&mut self, time: Duration, measured: bool) -> Result<u64, Failure> {
        let events = (self.rate / REQUESTS_PER_S).max(1);
        let mut ticks = tokio::time::interval(Duration::from_nanos(
            1_000_000_000 * events / self.rate.max(1),
        ));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (began, mut acknowledged) = (Instant::now(), 0);
        let mut under_way = tokio::task::JoinSet::new();
        while began.elapsed() < time {
            ticks.tick().await;
            self.number += 1;
            let tag = tag(self.number);
            let request = self.request(&tag, events)?;
            let at = self.number as usize % CLIENTS;
            let mut client = match self.clients[at].take() {
                Some(client) => client,
                // Its turn came again before its answer: the collector is slow, the rate is kept all the same.
                None => Client::connect(&self.address).await?,
            };
            let pending = Arc::clone(&self.pending);
            under_way.spawn(async move {
                let status = client.send(&request).await?;
                if status != 202 {
                    return Err(std::io::Error::other(format!(
                        "the collector answers {status}"
                    )));
                }
                let sent = Sent {
                    events,
                    acknowledged: Instant::now(),
                    at_ms: chrono::Utc::now().timestamp_millis(),
                    measured,
                };
                lock(&pending).insert(tag, sent);
                Ok((at, client))
            });
            while let Some(ended) = under_way.try_join_next() {
                let (at, client) = ended.map_err(|_| Failure::new("a client failed"))??;
                self.clients[at] = Some(client);
                acknowledged += events;
            }
        }
        while let Some(ended) = under_way.join_next().await {
            let (at, client) = ended.map_err(|_| Failure::new("a client failed"))??;
            self.clients[at] = Some(client);
            acknowledged += events;
        }
        Ok(acknowledged)
    }

    /// A request whose events are about the same subject, by which they are found again.
    fn request(&mut self, tag: &str, events: u64) -> Result<Request, Failure> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let batch: Vec<Event> = (&mut self.load)
            .take(usize::try_from(events).unwrap_or(usize::MAX))
            .map(|event| Event {
                event_id: Some(uuid::Uuid::new_v4().to_string()),
                occurred_at: Some(now_ms - 500),
                subject_id: Some(tag.to_owned()),
                ..event
            })
            .collect();
        if batch.is_empty() {
            return Err(Failure::new("the load is used up"));
        }
        Ok(Request::post(&self.token, &serde_json::to_vec(&batch)?))
    }
}

/// A number in letters: digits might be taken for somebody's telephone number.
fn tag(mut number: u64) -> String {
    let mut letters = String::from("fresh-");
    while number > 0 {
        letters.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    letters
}

/// What the probe saw, in microseconds.
#[derive(Default)]
struct Seen {
    /// From acknowledged to seen, of every measured request.
    after: Vec<u32>,
    /// What each question took.
    asked: Vec<u32>,
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Asks again and again which events can be seen.
async fn probe(server: String, pending: Pending) -> Result<Seen, Failure> {
    let client = reqwest::Client::new();
    let url = format!("http://{server}/v1/sql");
    let mut seen = Seen::default();
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let oldest = {
            let pending = lock(&pending);
            if pending.contains_key("") {
                return Ok(seen);
            }
            pending.values().map(|sent| sent.at_ms).min()
        };
        let Some(oldest) = oldest else { continue };
        let sql = format!(
            "SELECT subject_id, count(*) AS n FROM events \
             WHERE recorded_at >= to_timestamp_millis({}) GROUP BY subject_id",
            oldest - SLACK_MS
        );
        let began = Instant::now();
        let answer = client
            .post(&url)
            .json(&json!({ "sql": sql }))
            .send()
            .await?;
        let status = answer.status();
        let answer: Value = answer.json().await?;
        let now = Instant::now();
        seen.asked.push(micros(now - began));
        let Some(rows) = answer["rows"].as_array() else {
            return Err(Failure::new(format!(
                "the query server answers {status}: {answer}"
            )));
        };
        let mut pending = lock(&pending);
        for row in rows {
            let Some(tag) = row["subject_id"].as_str() else {
                continue;
            };
            let visible = row["n"].as_u64().unwrap_or(0);
            if pending.get(tag).is_some_and(|sent| visible >= sent.events)
                && let Some(sent) = pending.remove(tag)
                && sent.measured
            {
                let after = now.saturating_duration_since(sent.acknowledged);
                seen.after.push(micros(after));
            }
        }
    }
}
