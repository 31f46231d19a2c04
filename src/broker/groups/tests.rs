//! The rules of a group, against members that come, go, fall silent and come back in any order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use tansu_sans_io::ErrorCode;

use super::group::{Group, Phase};
use super::member::{Admission, Application, Place};

const SESSION: Duration = Duration::from_secs(6);
/// Static members would be waited for longer than a session lasts, the others for less.
const PATIENT: Duration = Duration::from_secs(60);
const IMPATIENT: Duration = Duration::from_secs(4);
const BEAT: Duration = Duration::from_secs(3);
/// What there is to share out.
const PARTITIONS: u8 = 12;

fn application(instance: Option<&str>) -> Application {
    Application {
        client: "test".into(),
        instance: instance.map(str::to_owned),
        session: SESSION,
        rebalance: if instance.is_some() {
            PATIENT
        } else {
            IMPATIENT
        },
        kind: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"t"))],
    }
}

/// Where a client is in the protocol.
#[derive(Clone, Debug)]
enum State {
    Out,
    Waiting { past: i32 },
    Placed(Place),
    Holding { generation: i32, share: Vec<u8> },
}

/// A client as librdkafka is one: it does the next thing when it is its turn.
#[derive(Clone, Debug)]
struct Client {
    id: String,
    instance: Option<String>,
    state: State,
    beat: Instant,
}

struct Site {
    group: Group,
    now: Instant,
    clients: BTreeMap<usize, Client>,
    ids: usize,
}

impl Site {
    fn new() -> Site {
        Site {
            group: Group::new(),
            now: Instant::now(),
            clients: BTreeMap::new(),
            ids: 0,
        }
    }

    fn start(&mut self, number: usize, fixed: bool) {
        let now = self.now;
        self.clients.entry(number).or_insert_with(|| Client {
            id: String::new(),
            instance: fixed.then(|| format!("instance-{number}")),
            state: State::Out,
            beat: now,
        });
    }

    fn stop(&mut self, number: usize) {
        if let Some(client) = self.clients.remove(&number) {
            let known = self.group.leave(self.now, &client.id, None);
            assert!(matches!(known, Ok(()) | Err(ErrorCode::UnknownMemberId)));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.advance(self.now);
    }

    /// What went wrong for a client sends it back to where it can begin again.
    fn told(client: &mut Client, code: ErrorCode) {
        match code {
            ErrorCode::UnknownMemberId => client.id.clear(),
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {}
            other => panic!("{client:?}: {other:?}"),
        }
        client.state = State::Out;
    }

    /// One client's next step.
    fn step(&mut self, number: usize) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        let group = &mut self.group;
        group.advance(now);
        let instance = client.instance.clone();
        let instance = instance.as_deref();
        match client.state.clone() {
            State::Out => {
                self.ids += 1;
                let new = format!("m{}", self.ids);
                if client.id.is_empty() && instance.is_none() {
                    group.promise(new.clone(), now + SESSION);
                    client.id = new;
                    return;
                }
                match group.join(now, &client.id, new, application(instance)) {
                    Ok(Admission::Wait { member, past }) => {
                        client.id = member;
                        client.state = State::Waiting { past };
                    }
                    Ok(Admission::Place(place)) => {
                        client.id.clone_from(&place.member);
                        client.state = State::Placed(place);
                    }
                    Err(code) => Self::told(client, code),
                }
            }
            State::Waiting { past } => match group.placed(&client.id, instance, past) {
                None => {}
                Some(Ok(place)) => client.state = State::Placed(place),
                Some(Err(code)) => Self::told(client, code),
            },
            State::Placed(place) => {
                let mut shares: BTreeMap<String, Vec<u8>> = BTreeMap::new();
                if !place.everybody.is_empty() {
                    for partition in 0..PARTITIONS {
                        let turn = usize::from(partition) % place.everybody.len();
                        let (id, ..) = &place.everybody[turn];
                        shares.entry(id.clone()).or_default().push(partition);
                    }
                }
                let shares = shares.into_iter().map(|(id, it)| (id, Bytes::from(it)));
                let generation = place.generation;
                let handed = group.share(now, &client.id, instance, generation, shares);
                let shared = match handed {
                    Err(code) => Some(Err(code)),
                    Ok(()) => group.shared(&client.id, instance, generation),
                };
                match shared {
                    None => {}
                    Some(Ok(share)) => {
                        let share = share.to_vec();
                        client.beat = now;
                        client.state = State::Holding { generation, share };
                    }
                    Some(Err(code)) => Self::told(client, code),
                }
            }
            State::Holding { generation, .. } => {
                if now < client.beat + BEAT {
                    return;
                }
                client.beat = now;
                if let Err(code) = group.heartbeat(now, &client.id, instance, generation) {
                    Self::told(client, code);
                }
            }
        }
        group.advance(now);
    }

    /// Who holds what, of one generation, never twice.
    fn check(&self) {
        let mut held: BTreeMap<(i32, u8), &str> = BTreeMap::new();
        for client in self.clients.values() {
            let State::Holding { generation, share } = &client.state else {
                continue;
            };
            for partition in share {
                let before = held.insert((*generation, *partition), &client.id);
                assert_eq!(before, None, "{:#?}", self.clients);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Start(usize, bool),
    Stop(usize),
    /// `kill -9`: nobody hears of it.
    Kill(usize),
    Step(usize),
    /// Tenths of a second.
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let client = 0..5_usize;
    let event = prop_oneof![
        2 => (client.clone(), any::<bool>()).prop_map(|(it, fixed)| Event::Start(it, fixed)),
        1 => client.clone().prop_map(Event::Stop),
        1 => client.clone().prop_map(Event::Kill),
        12 => client.prop_map(Event::Step),
        4 => (1..40_u64).prop_map(Event::Pass),
    ];
    proptest::collection::vec(event, 1..200)
}

proptest! {
    #[test]
    fn whoever_is_left_ends_up_with_each_partition_once(events in events()) {
        let mut site = Site::new();
        for event in events {
            match event {
                Event::Start(number, fixed) => site.start(number, fixed),
                Event::Stop(number) => site.stop(number),
                Event::Kill(number) => drop(site.clients.remove(&number)),
                Event::Step(number) => site.step(number),
                Event::Pass(tenths) => site.pass(Duration::from_millis(100 * tenths)),
            }
            site.check();
        }
        // Peace: everybody who is there does what it has to, twice a second, longer than a session and a round take.
        site.start(0, false);
        for _ in 0..200 {
            for number in 0..5 {
                site.step(number);
            }
            site.check();
            site.pass(Duration::from_millis(500));
        }
        let mut held: Vec<u8> = Vec::new();
        for client in site.clients.values() {
            let State::Holding { share, .. } = &client.state else {
                panic!("{client:?} holds nothing: {:#?}", site.group);
            };
            held.extend(share);
        }
        held.sort_unstable();
        prop_assert_eq!(held, (0..PARTITIONS).collect::<Vec<u8>>());
        prop_assert_eq!(site.group.phase, Phase::Stable);
    }
}

/// Brings clients to where they hold their partitions.
fn settled(clients: &[(usize, bool)]) -> Site {
    let mut site = Site::new();
    for (number, fixed) in clients {
        site.start(*number, *fixed);
    }
    for _ in 0..40 {
        for (number, _) in clients {
            site.step(*number);
        }
        site.pass(Duration::from_millis(500));
    }
    site
}

fn generation_of(site: &Site, number: usize) -> i32 {
    match site.clients[&number].state {
        State::Holding { generation, .. } => generation,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_round_waits_for_every_member_so_that_none_is_left_with_what_it_had() {
    let mut site = settled(&[(0, false), (1, false)]);
    let before = generation_of(&site, 1);
    site.start(2, false);
    site.step(2);
    site.step(2);
    site.pass(BEAT);
    // One of the two old ones has joined again, the other has not been heard of yet.
    site.step(0);
    site.step(0);
    for number in [0, 2] {
        site.step(number);
        assert!(matches!(site.clients[&number].state, State::Waiting { .. }));
    }
    assert_eq!(generation_of(&site, 1), before);
    site.step(1);
    site.step(1);
    site.step(1);
    assert!(matches!(site.clients[&1].state, State::Placed(_)));
}

#[test]
fn a_static_member_that_comes_back_in_time_finds_its_partitions_and_nobody_else_notices() {
    for back in [0, 1] {
        let mut site = settled(&[(0, true), (1, true)]);
        let before = site.clients[&back].clone();
        site.clients.remove(&back);
        site.pass(Duration::from_secs(1));
        site.start(back, true);
        site.step(back);
        site.step(back);
        let State::Holding { generation, share } = &site.clients[&back].state else {
            panic!("{:?}", site.clients[&back]);
        };
        let State::Holding {
            generation: then,
            share: had,
        } = &before.state
        else {
            panic!("{before:?}");
        };
        assert_eq!((generation, share), (then, had));
        assert_eq!(site.group.phase, Phase::Stable);
        // The one it replaces is told so, whatever it does.
        let instance = before.instance.as_deref();
        let late = site.group.heartbeat(site.now, &before.id, instance, *then);
        assert_eq!(late, Err(ErrorCode::FencedInstanceId));
    }
}

#[test]
fn members_without_a_common_assignor_are_not_let_in() {
    let mut site = settled(&[(0, false)]);
    let mut other = application(None);
    other.protocols[0].0 = "roundrobin".into();
    site.group.promise("x".into(), site.now + SESSION);
    let refused = site.group.join(site.now, "x", String::new(), other);
    assert_eq!(refused, Err(ErrorCode::InconsistentGroupProtocol));
}

#[test]
fn offsets_are_taken_from_members_of_the_present_generation_alone() {
    let mut site = settled(&[(0, false)]);
    let (id, generation) = (site.clients[&0].id.clone(), generation_of(&site, 0));
    let mut commit = |id: &str, generation| site.group.may_commit(site.now, id, None, generation);
    assert_eq!(commit(&id, generation), Ok(()));
    assert_eq!(
        commit(&id, generation - 1),
        Err(ErrorCode::IllegalGeneration)
    );
    assert_eq!(commit("other", generation), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_sync_that_comes_late_does_not_take_its_member_out_of_the_next_round() {
    let mut site = settled(&[(0, false), (1, false)]);
    let (id, generation) = (site.clients[&1].id.clone(), generation_of(&site, 1));
    site.start(2, false);
    site.step(2);
    site.step(2);
    site.pass(BEAT);
    for number in [1, 1] {
        site.step(number);
    }
    assert!(matches!(site.clients[&1].state, State::Waiting { .. }));
    // Of the generation before, from a connection that the client has given up.
    let late = site
        .group
        .share(site.now, &id, None, generation, std::iter::empty());
    assert_eq!(late, Ok(()));
    for number in [0, 0] {
        site.step(number);
    }
    site.step(1);
    assert!(matches!(site.clients[&1].state, State::Placed(_)));
}

#[test]
fn a_member_that_never_asks_for_its_share_is_out_in_time() {
    let mut site = Site::new();
    for number in [0, 1] {
        site.start(number, false);
    }
    for number in [0, 1].repeat(10) {
        let shared_out = matches!(site.group.phase, Phase::Sharing { .. });
        let placed = matches!(&site.clients[&number].state,
            State::Placed(it) if it.generation == site.group.generation());
        if !(shared_out && placed && site.group.members.len() == 2) {
            site.step(number);
        }
    }
    // Both have their places. The leader shows signs of life and does nothing.
    let State::Placed(place) = site.clients[&1].state.clone() else {
        panic!("{:?}", site.clients[&1]);
    };
    let lazy = place.leader;
    let number = usize::from(site.clients[&1].id == lazy);
    for _ in 0..20 {
        site.step(1 - number);
        site.pass(Duration::from_millis(500));
        let beat = site
            .group
            .heartbeat(site.now, &lazy, None, place.generation);
        if beat == Err(ErrorCode::UnknownMemberId) {
            return;
        }
    }
    panic!("{lazy} is still waited for: {:#?}", site.group);
}

#[test]
fn generations_of_a_broker_that_starts_anew_are_later_ones() {
    assert!(settled(&[(0, false)]).group.generation() > 59_000_000);
}
