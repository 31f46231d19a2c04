//! What an event costs at each station, on one thread and without Kafka.
//!
//!     cargo run --release -p siji-aggregator --example stages -- events.ndjson [CITY] [avro]
//!
//! The file holds one event a line as JSON, in siji's own form; `avro` has them encoded first. Prints nanoseconds an event by station.

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use siji_aggregator::consume::Chunk;
use siji_aggregator::derive::rollup::Rollup;
use siji_aggregator::judge::Judge;
use siji_aggregator::ledger::{Context, LedgerRows};
use siji_aggregator::position::Partition;
use siji_aggregator::settle::{History, Moment};
use siji_lake::datafile::{self, Effort};
use siji_lake::schema::{LEDGER, ROLLUP};
use siji_schemas::area::Zone;
use siji_schemas::avro;
use siji_schemas::json::usual;
use siji_schemas::validate::Reference;
use siji_schemas::wire::partition_of;

const PARTITIONS: i32 = 4;
const CHUNK: usize = 4096;
const BATCH: usize = 250_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("name a file of events")?;
    let city = args.next().unwrap_or_else(|| "huzhou".to_owned());
    let reference = Reference::load(None, &[&city], Zone::CHINA).map_err(|e| e.to_string())?;
    let catalogue = Arc::new(reference.catalogue.clone());
    let chunks = chunks(&path, args.next().as_deref() == Some("avro"))?;
    let events: usize = chunks.iter().map(Chunk::len).sum();
    println!("{events} events in {} chunks", chunks.len());

    let mut times = Times::default();
    let mut judge = Judge::new(&reference, PARTITIONS);
    let mut ledger = LedgerRows::new(&reference);
    let mut history = History::new(1 << 30, 0, 0);
    let (mut ledger_rows, mut rollup, mut rows) =
        (Vec::new(), Rollup::new(Arc::clone(&catalogue)), 0);
    let (mut ledger_bytes, mut rollup_bytes, mut rollup_rows) = (0, 0, 0);
    for (n, chunk) in chunks.iter().enumerate() {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let (columns, mut verdicts) = times.of("judge", || judge.judge(chunk, now_ms))?;
        let partition = Partition(chunk.partition);
        let days: Vec<_> = history.days(partition, &verdicts).collect();
        for day in days {
            if !history.accepted.holds(partition, day) {
                history.accepted.load(partition, day, [], 1);
            }
        }
        let moment = Moment {
            partition,
            epoch: 0,
            turn: 1,
            now_ms,
        };
        let offsets: Vec<i64> = chunk.records().map(|record| record.offset).collect();
        times.of("settle", || history.settle(moment, &offsets, &mut verdicts))?;
        let context = Context {
            epoch: 0,
            now_ms,
            reference: &reference,
        };
        let batch = times.of("ledger rows", || {
            ledger.rows(chunk, &columns, &verdicts, context)
        })?;
        times.of("roll-up add", || rollup.add(&batch))?;
        rows += batch.num_rows();
        ledger_rows.push(batch);
        if rows >= BATCH || n + 1 == chunks.len() {
            let sums = std::mem::replace(&mut rollup, Rollup::new(Arc::clone(&catalogue)));
            let tiers = times.of("roll-up finish", || sums.finish())?;
            let file = times.of("ledger file", || {
                datafile::encode(&LEDGER, &ledger_rows, Effort::Fast)
            })?;
            ledger_bytes += file.len();
            for (tier, batch) in &tiers {
                rollup_rows += batch.num_rows();
                let file = times.of(tier.as_str(), || {
                    datafile::encode(&ROLLUP, std::slice::from_ref(batch), Effort::Fast)
                })?;
                rollup_bytes += file.len();
            }
            times.of("statistics", || {
                datafile::statistics(&LEDGER, &ledger_rows)?;
                for (_, batch) in &tiers {
                    datafile::statistics(&ROLLUP, std::slice::from_ref(batch))?;
                }
                Ok::<_, siji_lake::LakeError>(())
            })?;
            times.of("drop", || {
                ledger_rows.clear();
                drop(tiers);
            });
            rows = 0;
        }
    }
    times.print(events);
    println!(
        "ledger {:.1} bytes an event",
        ledger_bytes as f64 / events as f64
    );
    println!(
        "rollup {:.1} bytes and {:.2} rows an event",
        rollup_bytes as f64 / events as f64,
        rollup_rows as f64 / events as f64
    );
    Ok(())
}

/// Chunks as a consumer would make them.
fn chunks(path: &str, as_avro: bool) -> Result<Vec<Chunk>, Box<dyn std::error::Error>> {
    let mut open: Vec<Chunk> = (0..PARTITIONS).map(Chunk::new).collect();
    let mut next = [0i64; PARTITIONS as usize];
    let mut done = Vec::new();
    for line in std::io::BufReader::new(std::fs::File::open(path)?).lines() {
        let line = line?;
        let marker = "\"home_area_code\":\"";
        let at = line.find(marker).ok_or("an event without home_area_code")? + marker.len();
        let key = line[at..].split('"').next().unwrap_or_default().to_owned();
        let partition = partition_of(key.as_bytes(), PARTITIONS);
        let number = usize::try_from(partition)?;
        let mut encoded = Vec::new();
        let value = if as_avro {
            let event = usual(line.as_bytes()).ok_or("an event in another form")?;
            avro::encode(&event.as_ref(), &mut encoded)?;
            &encoded
        } else {
            line.as_bytes()
        };
        let chunk = &mut open[number];
        chunk.push(
            next[number],
            Some(1_790_000_000_000),
            Some(key.as_bytes()),
            Some(value),
            None,
        );
        next[number] += 1;
        if chunk.len() >= CHUNK {
            done.push(std::mem::replace(chunk, Chunk::new(partition)));
        }
    }
    done.extend(open.into_iter().filter(|chunk| !chunk.is_empty()));
    Ok(done)
}

/// How long this process has been on a CPU: other work on the machine does not count.
fn on_cpu() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = schedstat
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// Time by station, in order of first use.
#[derive(Default)]
struct Times(Vec<(String, Duration)>);

impl Times {
    fn of<T>(&mut self, station: &str, work: impl FnOnce() -> T) -> T {
        let began = on_cpu();
        let result = work();
        let took = on_cpu().saturating_sub(began);
        match self.0.iter_mut().find(|(name, _)| name == station) {
            Some((_, sum)) => *sum += took,
            None => self.0.push((station.to_owned(), took)),
        }
        result
    }

    fn print(&self, events: usize) {
        let mut all = Duration::ZERO;
        for (station, took) in &self.0 {
            all += *took;
            println!(
                "{station:<16} {:>8.0} ns",
                took.as_nanos() as f64 / events as f64
            );
        }
        println!(
            "{:<16} {:>8.0} ns",
            "together",
            all.as_nanos() as f64 / events as f64
        );
    }
}
