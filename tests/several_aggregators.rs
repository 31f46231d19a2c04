//! Several aggregators share the partitions of a topic: members start, stop, die and come back under load, and every
//! record is in the lake once.
//!
//! `SIJI_CHAOS_SECONDS` and `SIJI_CHAOS_RATE` make it longer and harder; the longest stop of any partition is printed.

mod harness;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use harness::{PATIENCE, Role, Site, free_port, new_id, visit, wait_for_count};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use siji_lake::{Lake, LakeLocation};
use siji_schemas::area::{Tier, Zone};
use siji_schemas::validate::Reference;
use siji_schemas::wire::partition_of;

const PARTITIONS: i32 = 12;
const MEMBERS: usize = 3;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// One aggregator of the group.
fn start_member(site: &Site, strategy: &str) -> Role {
    start_member_with(site, strategy, &[])
}

fn start_member_with(site: &Site, strategy: &str, args: &[&str]) -> Role {
    let mut command = site.command("aggregator");
    command
        .args(["--partitions", &PARTITIONS.to_string(), "--admin"])
        .arg(format!("127.0.0.1:{}", free_port()))
        .args(args)
        .env(
            "SIJI_KAFKA_PROPERTIES_PARTITION_ASSIGNMENT_STRATEGY",
            strategy,
        );
    let mut role = Role::start("aggregator", site.directory.path(), command);
    role.wait_for_log("health and metrics");
    role
}

/// Writes events of all communities at a steady rate until told to stop; counts by partition what the broker has.
fn load(
    site: &Site,
    rate: u64,
    stop: Arc<AtomicBool>,
    written: Arc<Vec<AtomicI64>>,
) -> std::thread::JoinHandle<()> {
    let (brokers, topic) = (site.kafka.brokers.clone(), site.kafka.topic.clone());
    std::thread::spawn(move || {
        let reference = Reference::load(None, &["huzhou"], Zone::CHINA).unwrap();
        let day = reference.zone.day_of(1_772_323_200_000);
        let areas: Vec<String> = reference
            .areas
            .of_tier(Tier::Community, day)
            .map(|area| area.code.clone())
            .collect();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .create()
            .unwrap();
        let (began, mut sent) = (Instant::now(), 0u64);
        while !stop.load(Ordering::Relaxed) {
            let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
            while sent < due {
                let area = &areas[sent as usize % areas.len()];
                let mut event = visit(&new_id(), (sent % 300) as i64);
                event["schema_version"] = 1.into();
                event["op"] = "assert".into();
                event["recorded_at"] = "2026-03-02T09:31:00+08:00".into();
                event["area_code"] = area.as_str().into();
                event["home_area_code"] = area.as_str().into();
                let event = event.to_string();
                let partition = partition_of(area.as_bytes(), PARTITIONS);
                let record = BaseRecord::to(&topic)
                    .partition(partition)
                    .key(area)
                    .payload(&event);
                if let Err((error, _)) = producer.send(record) {
                    assert!(error.to_string().contains("full"), "{error}");
                    producer.poll(Duration::from_millis(10));
                    continue;
                }
                written[partition as usize].fetch_add(1, Ordering::Relaxed);
                sent += 1;
            }
            producer.poll(Duration::from_millis(5));
        }
        producer.flush(PATIENCE).unwrap();
    })
}

/// How far each partition is in the ledger, watched until told to stop: the longest time each stood still while records
/// waited.
fn watch(
    lake: PathBuf,
    topic: String,
    stop: Arc<AtomicBool>,
    written: Arc<Vec<AtomicI64>>,
) -> std::thread::JoinHandle<BTreeMap<i32, Duration>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut last: Vec<(i64, Instant)> = vec![(0, Instant::now()); PARTITIONS as usize];
        let mut longest = BTreeMap::new();
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
            let positions = runtime.block_on(positions(&lake, &topic));
            for (number, (position, since)) in last.iter_mut().enumerate() {
                let now = positions.get(&(number as i32)).copied().unwrap_or(0);
                let waiting = now < written[number].load(Ordering::Relaxed);
                if now > *position || !waiting {
                    (*position, *since) = (now, Instant::now());
                }
                let stood = longest.entry(number as i32).or_insert(Duration::ZERO);
                *stood = (*stood).max(since.elapsed());
            }
        }
        longest
    })
}

async fn positions(lake: &std::path::Path, topic: &str) -> BTreeMap<i32, i64> {
    let location = LakeLocation::parse(lake.to_str().unwrap(), Default::default()).unwrap();
    let Ok(lake) = Lake::open(&location).await else {
        return BTreeMap::new();
    };
    let state = siji_lake::table::state(&lake, "ledger").await;
    let txns = state.ok().flatten().map(|state| state.txns);
    txns.unwrap_or_default()
        .into_iter()
        .filter_map(|(id, next)| {
            let number = id.strip_prefix(topic)?.strip_prefix("/0/")?;
            Some((number.parse().ok()?, next))
        })
        .collect()
}

/// What becomes of members, at random.
fn chaos(site: &Site, strategy: &str, seconds: u64, mut dice: ChaCha8Rng) -> Vec<Role> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut members: Vec<Role> = (0..MEMBERS).map(|_| start_member(site, strategy)).collect();
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(dice.random_range(1000..4000)));
        if members.len() < MEMBERS && (members.len() < 2 || dice.random_range(0..2) == 0) {
            println!("an aggregator joins {}", members.len());
            members.push(start_member(site, strategy));
            continue;
        }
        let victim = members.swap_remove(dice.random_range(0..members.len()));
        if dice.random_range(0..2) == 0 {
            println!("kill -9 of an aggregator, {} are left", members.len());
            victim.kill();
        } else {
            println!("an aggregator is stopped, {} are left", members.len());
            let (code, took) = victim.terminate();
            assert_eq!(code, Some(0));
            assert!(took < Duration::from_secs(10), "it stopped in {took:?}");
        }
    }
    if members.is_empty() {
        members.push(start_member(site, strategy));
    }
    members
}

fn every_record_is_in_the_lake_once(strategy: &str) {
    let (seconds, rate) = (
        setting("SIJI_CHAOS_SECONDS", 20),
        setting("SIJI_CHAOS_RATE", 2000),
    );
    let seed = setting("SIJI_TEST_SEED", rand::random());
    println!("SIJI_TEST_SEED={seed}");
    let site = Site::new();
    // The first member makes lake and topic.
    let first = start_member(&site, strategy);
    let stop = Arc::new(AtomicBool::new(false));
    let counters = (0..PARTITIONS).map(|_| AtomicI64::new(0)).collect();
    let written: Arc<Vec<AtomicI64>> = Arc::new(counters);
    let loading = load(&site, rate, Arc::clone(&stop), Arc::clone(&written));
    let watched = Arc::new(AtomicBool::new(false));
    let watching = watch(
        site.path("lake"),
        site.kafka.topic.clone(),
        Arc::clone(&watched),
        Arc::clone(&written),
    );
    let mut members = chaos(&site, strategy, seconds, ChaCha8Rng::seed_from_u64(seed));
    members.push(first);
    stop.store(true, Ordering::Relaxed);
    loading.join().unwrap();
    let all: i64 = written.iter().map(|n| n.load(Ordering::Relaxed)).sum();
    wait_for_count("records in the lake", all, || {
        site.number("SELECT count(*) FROM ledger WHERE disposition <> 'gap'")
    });
    watched.store(true, Ordering::Relaxed);
    let longest = watching.join().unwrap();
    for member in members {
        assert_eq!(member.terminate().0, Some(0));
    }
    let (partition, stood) = longest.iter().max_by_key(|(_, stood)| **stood).unwrap();
    println!(
        "{strategy}: {all} records at {rate}/s in {seconds} s; the longest stop of any partition is {:.1} s (partition {partition})",
        stood.as_secs_f64()
    );
    assert_eq!(site.number("SELECT count(*) FROM events"), all);
    assert_eq!(site.number("SELECT count(*) FROM ledger"), all);
    let (code, report) = site.verify();
    assert_eq!(code, Some(0), "{report}");
}

#[test]
fn aggregators_that_share_cooperatively_come_and_go_without_loss_or_doubling() {
    every_record_is_in_the_lake_once("cooperative-sticky");
}

#[test]
fn aggregators_that_share_eagerly_come_and_go_without_loss_or_doubling() {
    every_record_is_in_the_lake_once("range");
}

#[test]
fn of_two_aggregators_under_one_instance_id_the_first_ends_and_says_why() {
    let site = Site::new();
    let start = || start_member_with(&site, "cooperative-sticky", &["--instance-id", "centre-1"]);
    let mut first = start();
    first.wait_for_log("partitions assigned");
    let mut second = start();
    let (code, log) = first.ended();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("under this one's instance id"), "{log}");
    // The other one has its place, and works on.
    second.wait_for_log("partitions assigned");
    site.write_to_topic(40);
    site.wait_for_records(40);
    assert_eq!(second.terminate().0, Some(0));
}
