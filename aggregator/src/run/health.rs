//! How the aggregator is doing: for readiness, metrics, and whoever waits for it to catch up.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::AggregatorError;
use crate::commit::{Advance, Tally, tallied};
use crate::consume::{PartitionState, Watch};
use crate::judge::Disposition;
use crate::metrics::ByPartition;
use crate::pipeline::Gauges;
use crate::position::{Partition, Position};

/// No commit takes this long unless something hangs.
const HUNG: Duration = Duration::from_secs(120);

/// What is in the lake since this process started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Commits.
    pub commits: u64,
    /// Records by disposition and code.
    pub tally: Tally,
}

impl Progress {
    /// Records of one disposition.
    pub fn records(&self, disposition: Disposition) -> u64 {
        tallied(&self.tally, disposition)
    }

    /// All records; gaps are none.
    pub fn all(&self) -> u64 {
        self.tally.values().sum::<u64>() - self.records(Disposition::Gap)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Failed(String),
    Stopped,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    stage: &'static str,
    watch: Option<Arc<Watch>>,
    gauges: Arc<Gauges>,
    /// Where the partitions that are ours began.
    began: BTreeMap<Partition, Position>,
    next: ByPartition<i64>,
    newest_ms: ByPartition<i64>,
    /// When each partition was assigned or last moved, milliseconds UTC.
    moved_ms: ByPartition<i64>,
}

/// Shared by the aggregator and those who look at it.
#[derive(Debug)]
pub struct Health {
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
}

impl Health {
    pub(super) fn new() -> Self {
        let state = State {
            phase: Phase::Starting,
            stage: "start",
            watch: None,
            gauges: Arc::default(),
            began: BTreeMap::new(),
            next: BTreeMap::new(),
            newest_ms: BTreeMap::new(),
            moved_ms: BTreeMap::new(),
        };
        Self {
            state: Mutex::new(state),
            progress: watch::Sender::new(Progress::default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below is a whole one, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, watch: Arc<Watch>) -> Arc<Gauges> {
        let gauges = Arc::new(Gauges::default());
        let mut state = self.lock();
        state.phase = Phase::Running;
        state.stage = "running";
        state.watch = Some(watch);
        state.gauges = Arc::clone(&gauges);
        state.began.clear();
        state.next.clear();
        state.newest_ms.clear();
        state.moved_ms.clear();
        gauges
    }

    /// Partitions are ours from now on.
    pub(super) fn assigned(&self, positions: &BTreeMap<Partition, Position>) {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let mut state = self.lock();
        for (partition, position) in positions {
            state.began.insert(*partition, *position);
            state.moved_ms.insert(partition.0, now_ms);
            state
                .next
                .extend(position.next.map(|next| (partition.0, next)));
        }
    }

    /// Partitions are not ours any more.
    pub(super) fn released(&self, partitions: &[Partition]) {
        let mut state = self.lock();
        for partition in partitions {
            state.began.remove(partition);
            state.next.remove(&partition.0);
            state.newest_ms.remove(&partition.0);
            state.moved_ms.remove(&partition.0);
        }
    }

    /// Where the partitions that are ours began.
    pub(super) fn began(&self) -> BTreeMap<Partition, Position> {
        self.lock().began.clone()
    }

    pub(super) fn committed(&self, advance: &Advance) {
        let now_ms = chrono::Utc::now().timestamp_millis();
        {
            let mut state = self.lock();
            for (partition, position) in &advance.positions {
                state.moved_ms.insert(partition.0, now_ms);
                state
                    .next
                    .extend(position.next.map(|next| (partition.0, next)));
            }
            for (partition, newest) in &advance.newest_ms {
                state.newest_ms.insert(partition.0, *newest);
            }
            state
                .gauges
                .committed
                .store(advance.turn, Ordering::Release);
            state.gauges.left();
        }
        self.progress.send_modify(|progress| {
            progress.commits += 1;
            for (key, n) in &advance.tally {
                *progress.tally.entry(*key).or_default() += n;
            }
        });
    }

    /// Tells the pipeline that nobody commits any more.
    pub(super) fn commits_ended(&self) {
        self.lock()
            .gauges
            .commits_ended
            .store(true, Ordering::Release);
    }

    pub(super) fn failed(&self, error: &AggregatorError) {
        self.lock().phase = Phase::Failed(error.to_string());
    }

    pub(super) fn stopped_cleanly(&self) {
        self.lock().phase = Phase::Stopped;
    }

    pub(super) fn stage(&self, stage: &'static str) {
        self.lock().stage = stage;
    }

    pub(super) fn busy(&self) -> String {
        format!("aggregator ({})", self.lock().stage)
    }

    /// The next offset in the lake, by partition.
    pub fn committed_offsets(&self) -> ByPartition<i64> {
        self.lock().next.clone()
    }

    /// What is in the lake since this process started; changes with every commit.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Whether the threads move: a batch that waits for its commit for minutes means that one of them hangs.
    pub fn alive(&self) -> Result<(), String> {
        let state = self.lock();
        let waiting = state.gauges.waiting_since();
        match waiting.filter(|since| state.phase == Phase::Running && since.elapsed() > HUNG) {
            Some(since) => Err(format!(
                "a batch waits for its commit since {} s",
                since.elapsed().as_secs()
            )),
            None => Ok(()),
        }
    }

    /// Whether records go from Kafka into the lake right now; if not, why.
    pub fn ready(&self) -> Result<(), String> {
        let state = self.lock();
        match &state.phase {
            Phase::Running => {}
            Phase::Starting => return Err("starting".to_owned()),
            Phase::Failed(reason) => return Err(reason.clone()),
            Phase::Stopped => return Err("stopped".to_owned()),
        }
        let Some(watch) = &state.watch else {
            return Err("starting".to_owned());
        };
        for (partition, partition_state) in watch.states() {
            if let PartitionState::Stopped(reason) = partition_state {
                return Err(format!("partition {partition}: {reason}"));
            }
        }
        match watch.recent_error(Duration::from_secs(10)) {
            Some(error) => Err(format!("kafka: {error}")),
            None => Ok(()),
        }
    }

    /// Reasons of stopped partitions; `None` for those that work.
    pub fn stopped(&self) -> ByPartition<Option<String>> {
        let watch = self.lock().watch.clone();
        let states = watch.map(|watch| watch.states()).unwrap_or_default();
        states
            .into_iter()
            .map(|(partition, state)| match state {
                PartitionState::Stopped(reason) => (partition, Some(reason)),
                PartitionState::Verifying | PartitionState::Running => (partition, None),
            })
            .collect()
    }

    /// Records waiting in Kafka, by partition, as soon as it is known where the partition stands in the lake.
    pub fn lag_events(&self) -> ByPartition<i64> {
        let state = self.lock();
        let highs = state
            .watch
            .as_ref()
            .map(|watch| watch.highs())
            .unwrap_or_default();
        highs
            .into_iter()
            .filter(|(p, _)| state.began.contains_key(&Partition(*p)))
            .map(|(p, high)| (p, (high - state.next.get(&p).copied().unwrap_or(0)).max(0)))
            .collect()
    }

    /// Seconds since each partition was assigned, moved, or had nothing waiting: how long it stands still.
    pub fn standstill_seconds(&self) -> ByPartition<f64> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let lag = self.lag_events();
        let state = self.lock();
        state
            .moved_ms
            .iter()
            .map(|(partition, moved)| match lag.get(partition) {
                Some(0) => (*partition, 0.0),
                _ => (
                    *partition,
                    now_ms.saturating_sub(*moved).max(0) as f64 / 1000.0,
                ),
            })
            .collect()
    }

    /// Age of the newest record in the lake where newer ones wait, in seconds; 0 where none waits.
    pub fn lag_seconds(&self) -> ByPartition<f64> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let lag = self.lag_events();
        let state = self.lock();
        lag.into_iter()
            .map(|(partition, events)| {
                let newest = state.newest_ms.get(&partition).copied().unwrap_or(now_ms);
                (
                    partition,
                    if events == 0 {
                        0.0
                    } else {
                        now_ms.saturating_sub(newest).max(0) as f64 / 1000.0
                    },
                )
            })
            .collect()
    }

    pub(crate) fn queued_chunks(&self) -> i64 {
        self.lock().watch.as_ref().map_or(0, |watch| watch.queued())
    }

    pub(crate) fn dedup_bytes(&self) -> i64 {
        self.lock().gauges.dedup_bytes.load(Ordering::Relaxed)
    }

    /// Corrections and retractions whose target has not arrived.
    pub(crate) fn parked(&self) -> i64 {
        self.lock().gauges.parked.load(Ordering::Relaxed)
    }

    pub(crate) fn open_rows(&self) -> i64 {
        self.lock().gauges.open_rows.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_shown_from_when_a_partitions_place_is_known_until_it_is_given_away() {
        let (health, watch) = (Health::new(), Arc::new(Watch::default()));
        health.begin(Arc::clone(&watch));
        watch.ends(0, 19_503);
        assert_eq!(health.lag_events(), BTreeMap::new(), "not the whole topic");
        let position = Position {
            epoch: 1,
            next: Some(19_500),
            last: None,
            parked: None,
        };
        health.assigned(&BTreeMap::from([(Partition(0), position)]));
        assert_eq!(health.lag_events(), BTreeMap::from([(0, 3)]));
        assert_eq!(health.standstill_seconds().len(), 1);
        health.released(&[Partition(0)]);
        assert_eq!(health.lag_events(), BTreeMap::new());
        assert_eq!(health.lag_seconds(), BTreeMap::new());
    }
}
