//! Histories of events with corrections and retractions: whatever the order in which they arrive, however they are cut into
//! chunks and commits and wherever the aggregator is started anew, the same is left.

use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;
use siji_lake::schema::LEDGER;
use siji_lake::{Lake, LakeLocation, TableWriter};
use siji_schemas::Event;
use siji_schemas::area::Zone;

use super::*;
use crate::commit::change;
use crate::derive::text_column;
use crate::judge::Judge;

const TOPIC: &str = "siji.events";
const HOUR_MS: i64 = 3_600_000;
/// 2026-03-01 noon at +08:00.
const NOON: i64 = 1_772_337_600_000;
const AREAS: [&str; 2] = ["330502001005", "330502001006"];

/// One event of a history.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    id: usize,
    op: &'static str,
    target: Option<usize>,
    recorded_at: i64,
    /// Hours after noon.
    hour: i64,
    area: usize,
    minutes: i32,
}

fn uuid(id: usize) -> String {
    format!("00000000-0000-4000-8000-{id:012}")
}

impl Told {
    /// As a record; `target` is the event it names.
    fn event(&self, target: Option<&Told>) -> Event {
        Event {
            event_id: Some(uuid(self.id)),
            schema_version: Some(1),
            event_type: Some("visit.made".into()),
            op: Some(self.op.into()),
            target_event_id: target.map(|target| uuid(target.id)),
            target_occurred_at: target.map(|target| NOON + target.hour * HOUR_MS),
            occurred_at: Some(NOON + self.hour * HOUR_MS),
            recorded_at: Some(NOON + 40 * HOUR_MS + self.recorded_at),
            area_code: Some(AREAS[self.area].into()),
            // A correction may move an event, but not to another key.
            home_area_code: Some(AREAS[target.unwrap_or(self).area].into()),
            subject_kind: Some("visit".into()),
            subject_id: Some(format!("v-{}", self.id)),
            minutes: Some(self.minutes),
            qualifier: Some("exact".into()),
            ..Event::default()
        }
    }
}

/// What is left: sums by tier, hour and area; and what became of each event.
#[derive(Debug, Clone, PartialEq, Default)]
struct Left {
    sums: BTreeMap<(String, i64, String), (i64, i64)>,
    accepted: BTreeSet<String>,
    refused: BTreeSet<String>,
    waiting: BTreeSet<String>,
}

/// A pipeline at work and what comes out of it.
type Running = (Pipeline, SyncSender<Work<Sealed>>, Receiver<Work<Sealed>>);

/// A lake with its pipeline.
struct Site {
    _directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    lake: Lake,
    ledger: TableWriter,
    reference: Arc<Reference>,
    config: AggregatorConfig,
    running: Option<Running>,
    next: i64,
    left: Left,
    offsets: Vec<i64>,
}

impl Site {
    fn new(reference: &Arc<Reference>) -> Site {
        Site::with(reference, AggregatorConfig::default())
    }

    fn with(reference: &Arc<Reference>, config: AggregatorConfig) -> Site {
        let memory = std::path::Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let location =
            LakeLocation::parse(directory.path().to_str().unwrap(), BTreeMap::new()).unwrap();
        let lake = runtime
            .block_on(Lake::open_or_create(&location, "+08:00"))
            .unwrap();
        let ledger = runtime.block_on(TableWriter::open(&lake, &LEDGER)).unwrap();
        let mut site = Site {
            _directory: directory,
            runtime,
            lake,
            ledger,
            reference: Arc::clone(reference),
            config,
            running: None,
            next: 0,
            left: Left::default(),
            offsets: Vec::new(),
        };
        site.start();
        site
    }

    /// Starts at what the lake knows.
    fn start(&mut self) {
        self.running = None;
        let mut pipeline = Pipeline::new(
            self.config.clone(),
            Arc::clone(&self.reference),
            1,
            LedgerReader::open(&self.lake).unwrap(),
            Arc::new(Gauges::default()),
            self.runtime.handle().clone(),
        );
        let (sender, receiver) = sync_channel(16);
        let position = Position::read(self.ledger.txns(), TOPIC, Partition(0));
        self.next = position.next.unwrap_or(0);
        let assigned = pipeline.assign([(Partition(0), position)].into(), &sender);
        assert_eq!(assigned.unwrap(), Taken::Yes);
        self.running = Some((pipeline, sender, receiver));
    }

    /// Takes events as one chunk.
    fn take(&mut self, events: &[Event]) {
        let mut chunk = Chunk::new(0);
        for event in events {
            let value = serde_json::to_vec(event).unwrap();
            let key = event.home_area_code.as_ref().map(|key| key.as_bytes());
            chunk.push(self.next, Some(NOON), key, Some(&value), None);
            self.next += 1;
        }
        let reference = Arc::clone(&self.reference);
        let mut judge = Judge::new(&reference, 1);
        let prepared = prepare(&mut judge, chunk).unwrap();
        let (pipeline, sender, _) = self.running.as_mut().unwrap();
        assert_eq!(pipeline.take(prepared, sender).unwrap(), Taken::Yes);
    }

    /// Commits what is open.
    fn commit(&mut self) {
        let (pipeline, sender, receiver) = self.running.as_mut().unwrap();
        assert_eq!(pipeline.seal(sender), Taken::Yes);
        while let Ok(work) = receiver.try_recv() {
            let Work::Batch(Sealed { rows, advance }) = work else {
                continue;
            };
            let file = self.ledger.write_file(None, &rows.ledger);
            let add = self.runtime.block_on(file).unwrap();
            let positions = advance.positions.iter();
            let txns = positions
                .flat_map(|(partition, position)| position.txns(TOPIC, *partition, 0))
                .collect();
            let commit = self.ledger.commit(change(vec![add], txns, ().into()));
            self.runtime.block_on(commit).unwrap();
            pipeline
                .gauges
                .committed
                .store(advance.turn, Ordering::Release);
            pipeline.gauges.left();
            rows.ledger.iter().for_each(|batch| self.left.read(batch));
            for batch in &rows.ledger {
                let resolves = text_column(batch, "resolves").unwrap();
                let offsets = batch
                    .column_by_name("offset")
                    .unwrap()
                    .as_primitive::<Int64Type>();
                let own = (0..batch.num_rows()).filter(|row| resolves.get(*row).is_none());
                self.offsets.extend(own.map(|row| offsets.value(row)));
            }
            for (tier, batch) in rows.rollup.finish().unwrap() {
                self.left.sum(tier.as_str(), &batch);
            }
        }
    }
}

impl Left {
    fn read(&mut self, batch: &RecordBatch) {
        let dispositions = text_column(batch, "disposition").unwrap();
        let ids = text_column(batch, "event_id").unwrap();
        let resolves = text_column(batch, "resolves").unwrap();
        for row in 0..batch.num_rows() {
            let id = ids.get(row).unwrap_or_default().to_owned();
            match dispositions.get(row) {
                Some("accepted") => assert!(self.accepted.insert(id.clone()), "{id} twice"),
                Some("quarantined") => {
                    self.refused.insert(id.clone());
                }
                Some("parked") => {
                    self.waiting.insert(id);
                    continue;
                }
                _ => continue,
            }
            if resolves.get(row).is_some() {
                self.waiting.remove(&id);
            }
        }
    }

    fn sum(&mut self, tier: &str, batch: &RecordBatch) {
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let hours = column("hour").as_primitive::<TimestampMicrosecondType>();
        let areas = text_column(batch, "area_code").unwrap();
        let events = column("events").as_primitive::<Int64Type>();
        let minutes = column("minutes_sum").as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let key = (
                tier.to_owned(),
                hours.value(row),
                areas.get(row).unwrap().to_owned(),
            );
            let sum = self.sums.entry(key.clone()).or_default();
            sum.0 += events.value(row);
            sum.1 += if minutes.is_valid(row) {
                minutes.value(row)
            } else {
                0
            };
            if *sum == (0, 0) {
                self.sums.remove(&key);
            }
        }
    }
}

/// What must be left of a history, whatever its order: by the rules alone.
fn expected(history: &[Told]) -> Left {
    let mut left = Left::default();
    let asserted = history.iter().filter(|told| told.op == "assert");
    for original in asserted {
        let about = |told: &&Told| told.target == Some(original.id);
        let amendments: Vec<&Told> = history.iter().filter(about).collect();
        left.accepted.insert(uuid(original.id));
        left.accepted
            .extend(amendments.iter().map(|told| uuid(told.id)));
        if amendments.iter().any(|told| told.op == "retract") {
            continue;
        }
        let best = amendments
            .iter()
            .max_by_key(|told| (told.recorded_at, told.id));
        let counts = best.copied().unwrap_or(original);
        let hour = (NOON + counts.hour * HOUR_MS) * 1000;
        for (tier, area) in [
            ("community", AREAS[counts.area]),
            ("street", "330502001"),
            ("district", "330502"),
            ("city", "3305"),
            // The registry ends at the city: what has no ancestor counts as itself.
            ("province", "3305"),
        ] {
            let sum = left.sums.entry((tier.to_owned(), hour, area.to_owned()));
            let sum = sum.or_default();
            sum.0 += 1;
            sum.1 += i64::from(counts.minutes);
        }
    }
    let known: BTreeSet<usize> = history
        .iter()
        .filter(|told| told.op == "assert")
        .map(|told| told.id)
        .collect();
    let waits = |told: &&Told| told.target.is_some_and(|target| !known.contains(&target));
    left.waiting = history
        .iter()
        .filter(waits)
        .map(|told| uuid(told.id))
        .collect();
    left
}

#[derive(Debug, Clone)]
enum Step {
    Take(usize),
    Commit,
    Restart,
}

/// Events and what amends them; the last original may be missing.
fn histories() -> impl Strategy<Value = Vec<Told>> {
    let figures = || (0i64..4, 0i64..30, 0usize..2, 1i32..50);
    let originals = prop::collection::vec(figures(), 1..4);
    let amendments = prop::collection::vec((0usize..4, prop::bool::weighted(0.2), figures()), 0..8);
    (originals, amendments, prop::bool::weighted(0.2)).prop_map(|(originals, amendments, lost)| {
        let n = originals.len();
        let told = |id, op, target, (recorded_at, hour, area, minutes)| Told {
            id,
            op,
            target,
            recorded_at,
            hour,
            area,
            minutes,
        };
        let mut history: Vec<Told> = (0..)
            .zip(originals)
            .map(|(id, figures)| told(id, "assert", None, figures))
            .collect();
        history.extend(
            (n..)
                .zip(amendments)
                .map(|(id, (target, retracts, figures))| {
                    let op = if retracts { "retract" } else { "correct" };
                    told(id, op, Some(target % n), figures)
                }),
        );
        if lost {
            history.remove(n - 1);
        }
        history
    })
}

/// A history in some order, some events sent twice, and when what happens to it.
fn deliveries() -> impl Strategy<Value = (Vec<Told>, Vec<usize>, Vec<Step>)> {
    histories().prop_flat_map(|history| {
        let n = history.len();
        let again = prop::collection::vec(0..n.max(1), 0..4);
        let order = again.prop_flat_map(move |again| {
            let again = again.into_iter().filter(move |event| *event < n);
            Just((0..n).chain(again).collect::<Vec<_>>()).prop_shuffle()
        });
        let step = prop_oneof![
            4 => (1usize..5).prop_map(Step::Take),
            2 => Just(Step::Commit),
            1 => Just(Step::Restart),
        ];
        (Just(history), order, prop::collection::vec(step, 0..12))
    })
}

fn reference() -> Arc<Reference> {
    static REFERENCE: std::sync::LazyLock<Arc<Reference>> = std::sync::LazyLock::new(|| {
        Arc::new(Reference::load(None, &["huzhou"], Zone::CHINA).unwrap())
    });
    Arc::clone(&REFERENCE)
}

/// The originals by id, whether they are delivered or not.
fn originals(history: &[Told]) -> BTreeMap<usize, Told> {
    let asserted = history.iter().filter(|told| told.op == "assert");
    asserted.map(|told| (told.id, told.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn whatever_the_order_of_arrival_the_same_is_left((history, order, steps) in deliveries()) {
        let mut site = Site::new(&reference());
        let originals = originals(&history);
        let missing = Told {
            id: history.iter().filter(|told| told.op == "assert").count(),
            op: "assert",
            target: None,
            recorded_at: 0,
            hour: 0,
            area: 0,
            minutes: 1,
        };
        let event = |number: usize| {
            let told = &history[number];
            let target = told.target.map(|target| originals.get(&target).unwrap_or(&missing));
            told.event(target)
        };
        let mut rest: Vec<Event> = order.into_iter().map(event).collect();
        // What was taken but not committed comes again after a restart, as from Kafka.
        let mut open: Vec<Event> = Vec::new();
        for step in steps {
            match step {
                Step::Take(n) => {
                    let taken: Vec<Event> = rest.drain(..n.min(rest.len())).collect();
                    if !taken.is_empty() {
                        site.take(&taken);
                        open.extend(taken);
                    }
                }
                Step::Commit => {
                    site.commit();
                    open.clear();
                }
                Step::Restart => {
                    site.start();
                    rest.splice(0..0, open.drain(..));
                }
            }
        }
        if !rest.is_empty() {
            site.take(&rest);
        }
        site.commit();
        prop_assert_eq!(&site.left, &expected(&history));
        prop_assert_eq!(site.offsets, (0..site.next).collect::<Vec<_>>());
    }
}

/// Histories tried; `.ci/long` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("SIJI_HISTORIES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(200)
}

/// A correction of the event `target`, which lies at `hour`.
fn correction(id: usize, target: usize, hour: i64) -> Event {
    let told = |id, op, target| Told {
        id,
        op,
        target,
        recorded_at: 0,
        hour,
        area: 0,
        minutes: 1,
    };
    told(id, "correct", Some(target)).event(Some(&told(target, "assert", None)))
}

fn assertion(id: usize) -> Event {
    Event {
        op: Some("assert".into()),
        target_event_id: None,
        target_occurred_at: None,
        ..correction(id, id, 0)
    }
}

fn ids(ids: &[usize]) -> BTreeSet<String> {
    ids.iter().map(|id| uuid(*id)).collect()
}

#[test]
fn who_waits_too_long_is_refused_when_later_records_come() {
    let config = AggregatorConfig {
        parked_hours: 0,
        ..AggregatorConfig::default()
    };
    let mut site = Site::with(&reference(), config);
    site.take(&[correction(1, 0, 0)]);
    site.commit();
    assert_eq!(site.left.waiting, ids(&[1]));
    std::thread::sleep(Duration::from_millis(5));
    // Whoever takes over knows since when it has waited.
    site.start();
    site.take(&[assertion(0)]);
    site.commit();
    assert_eq!(
        (&site.left.accepted, &site.left.refused, &site.left.waiting),
        (&ids(&[0]), &ids(&[1]), &ids(&[]))
    );
}

#[test]
fn what_is_no_event_of_that_area_and_day_cannot_be_corrected() {
    let mut site = Site::new(&reference());
    let elsewhere = Event {
        home_area_code: Some(AREAS[1].into()),
        ..correction(2, 0, 0)
    };
    let of_a_correction = correction(3, 1, 0);
    let of_another_day = correction(4, 0, 24);
    site.take(&[
        assertion(0),
        correction(1, 0, 0),
        elsewhere.clone(),
        of_a_correction.clone(),
        of_another_day,
    ]);
    site.commit();
    assert_eq!(
        (&site.left.accepted, &site.left.refused, &site.left.waiting),
        (&ids(&[0, 1]), &ids(&[2, 3]), &ids(&[4]))
    );
    // The same is said of what stands in the ledger.
    site.start();
    let again = |event: Event, id: usize| Event {
        event_id: Some(uuid(id)),
        ..event
    };
    site.take(&[again(elsewhere, 5), again(of_a_correction, 6)]);
    site.commit();
    assert_eq!(site.left.refused, ids(&[2, 3, 5, 6]));
}

#[test]
fn only_so_many_wait() {
    let config = AggregatorConfig {
        parked_events: 1,
        ..AggregatorConfig::default()
    };
    let mut site = Site::with(&reference(), config);
    site.take(&[correction(1, 0, 0), correction(2, 0, 0)]);
    site.commit();
    assert_eq!(
        (&site.left.waiting, &site.left.refused),
        (&ids(&[1]), &ids(&[2]))
    );
}
