//! One consumer group by Kafka's classic protocol: who is in it, which generation it is in, what each member was given.
//! No I/O and no clock: whoever calls says what time it is.
//!
//! Members join in rounds. A round ends when all known members have joined, or when those who did not had as long as
//! the slowest of them asked for. Then a generation begins: its leader hands out the partitions, the others fetch
//! theirs. Whoever comes, goes or falls silent begins a new round; a generation's number is never used twice, so a
//! member of an earlier one is always told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tansu_sans_io::ErrorCode;

use super::member::{Admission, Application, Member, Place};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Empty,
    /// A round is under way; who has not joined by then is not waited for.
    Joining {
        until: Instant,
    },
    /// The leader is handing out partitions; who has not asked for its own by then is out.
    Sharing {
        until: Instant,
    },
    Stable,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) phase: Phase,
    generation: i32,
    pub(super) kind: String,
    pub(super) protocol: String,
    leader: String,
    pub(super) members: BTreeMap<String, Member>,
    /// Ids given out and not yet come back with, and until when they are good.
    promised: BTreeMap<String, Instant>,
}

/// Numbers of generations begin with the seconds of the clock: assignors compare what members say they had in which
/// generation, and one of before a restart must not look newer.
fn first_generation() -> i32 {
    const YEAR_2025: Duration = Duration::from_secs(1_735_689_600);
    let since = SystemTime::UNIX_EPOCH + YEAR_2025;
    let seconds = since.elapsed().unwrap_or_default().as_secs();
    // Lasts until 2093; beyond, numbers begin anew.
    (seconds % i32::MAX as u64) as i32
}

impl Group {
    pub(super) fn new() -> Group {
        Group {
            phase: Phase::Empty,
            generation: first_generation(),
            kind: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            promised: BTreeMap::new(),
        }
    }

    /// The present generation's number, or the last one's.
    #[cfg(test)]
    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    /// Nobody is in it and nobody is about to be.
    pub(super) fn deserted(&self) -> bool {
        self.members.is_empty() && self.promised.is_empty()
    }

    /// Promises a member an id, which it is to join with: a client that gives up waiting for its first answer and asks
    /// again would otherwise be in the group twice.
    pub(super) fn promise(&mut self, id: String, until: Instant) {
        self.promised.insert(id, until);
    }

    /// Lets a member into the round under way, beginning one if it takes one. `new_id` becomes the id of an instance
    /// that comes without one.
    pub(super) fn join(
        &mut self,
        now: Instant,
        id: &str,
        new_id: String,
        application: Application,
    ) -> Result<Admission, ErrorCode> {
        self.admit(&application)?;
        let instance = application.instance.as_deref();
        if id.is_empty() {
            let known = instance.and_then(|it| self.id_of(it));
            return Ok(match known {
                Some(known) => self.replace(now, &known, new_id, application),
                None => self.enter(now, new_id, application),
            });
        }
        if self.promised.remove(id).is_some() {
            return Ok(self.enter(now, id.to_owned(), application));
        }
        let member = self.member(id, instance)?;
        let same = member.application.protocols == application.protocols;
        member.application = application;
        member.seen = now;
        let leads = self.leader == id;
        Ok(match self.phase {
            // The answer was lost on the way, or a follower asks again for no reason that concerns others.
            Phase::Sharing { .. } if same => Admission::Place(self.place(id)),
            Phase::Stable if same && !leads => Admission::Place(self.place(id)),
            _ => self.wait(now, id.to_owned()),
        })
    }

    /// The place a member got when its round ended; `None` while that lasts.
    pub(super) fn placed(
        &mut self,
        id: &str,
        instance: Option<&str>,
        past: i32,
    ) -> Option<Result<Place, ErrorCode>> {
        if let Err(code) = self.member(id, instance) {
            return Some(Err(code));
        }
        (self.generation > past).then(|| Ok(self.place(id)))
    }

    /// Takes what the leader hands out; from others nothing is taken.
    pub(super) fn share(
        &mut self,
        now: Instant,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        shares: impl Iterator<Item = (String, Bytes)>,
    ) -> Result<(), ErrorCode> {
        let sharing = matches!(self.phase, Phase::Sharing { .. });
        let leads = self.leader == id;
        // Never the other way: it may wait for the end of a round by now, on another connection.
        self.of_generation(now, id, instance, generation)?.waits |= sharing;
        if sharing && leads {
            for (id, share) in shares {
                if let Some(member) = self.members.get_mut(&id) {
                    member.share = share;
                }
            }
            self.enter_phase(now, Phase::Stable);
        }
        Ok(())
    }

    /// What a member was given; `None` while the leader has not handed out yet.
    pub(super) fn shared(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Option<Result<Bytes, ErrorCode>> {
        let current = self.generation;
        let phase = self.phase;
        match self.member(id, instance) {
            Err(code) => Some(Err(code)),
            Ok(_) if current != generation => Some(Err(ErrorCode::RebalanceInProgress)),
            Ok(member) => match phase {
                Phase::Sharing { .. } => None,
                Phase::Stable => Some(Ok(member.share.clone())),
                Phase::Joining { .. } | Phase::Empty => Some(Err(ErrorCode::RebalanceInProgress)),
            },
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        now: Instant,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.of_generation(now, id, instance, generation)?;
        match self.phase {
            Phase::Joining { .. } => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Whether a member may commit offsets: in a round it still may, to finish what it had.
    pub(super) fn may_commit(
        &mut self,
        now: Instant,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.of_generation(now, id, instance, generation)?;
        match self.phase {
            Phase::Sharing { .. } => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Lets a member go, named by its id or, as an operator does, by its instance alone.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        id: &str,
        instance: Option<&str>,
    ) -> Result<(), ErrorCode> {
        let known = instance.filter(|_| id.is_empty());
        let id = known.and_then(|it| self.id_of(it)).unwrap_or(id.to_owned());
        if self.promised.remove(&id).is_some() {
            return Ok(());
        }
        self.member(&id, instance)?;
        self.members.remove(&id);
        self.somebody_went(now);
        Ok(())
    }

    /// Lets time pass: the silent are out, a round whose time has come ends. True when something came of it.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        self.promised.retain(|_, until| *until > now);
        let before = self.members.len();
        self.members
            .retain(|_, it| it.waits || now < it.seen + it.application.session);
        let gone = self.members.len() < before;
        if gone {
            self.somebody_went(now);
        }
        match self.phase {
            Phase::Joining { until } => self.end_round(now, until) || gone,
            Phase::Sharing { until } if now >= until => {
                self.members.retain(|_, it| it.waits);
                self.somebody_went(now);
                true
            }
            _ => gone,
        }
    }

    /// When time alone may next change something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let sessions = self.members.values().filter(|it| !it.waits);
        let silent = sessions.map(|it| it.seen + it.application.session).min();
        match self.phase {
            Phase::Joining { until } | Phase::Sharing { until } => {
                Some(silent.map_or(until, |it| it.min(until)))
            }
            _ => silent,
        }
    }

    /// Refuses who could not understand the others.
    fn admit(&self, application: &Application) -> Result<(), ErrorCode> {
        let others = || self.members.values();
        let shared = application
            .protocols
            .iter()
            .any(|(name, _)| others().all(|it| it.knows(name)));
        let kin = self.members.is_empty() || application.kind == self.kind;
        (shared && kin)
            .then_some(())
            .ok_or(ErrorCode::InconsistentGroupProtocol)
    }

    fn enter(&mut self, now: Instant, id: String, application: Application) -> Admission {
        let member = Member {
            application,
            seen: now,
            waits: false,
            share: Bytes::new(),
        };
        if self.members.is_empty() {
            self.kind.clone_from(&member.application.kind);
        }
        self.members.insert(id.clone(), member);
        self.wait(now, id)
    }

    /// A static member came back: it has its place again, and nobody else notices.
    fn replace(&mut self, now: Instant, old: &str, new: String, mine: Application) -> Admission {
        let led = self.leader == old;
        let share = self.members.remove(old).map(|it| it.share);
        let member = Member {
            application: mine,
            seen: now,
            waits: false,
            share: share.unwrap_or_default(),
        };
        self.members.insert(new.clone(), member);
        if led {
            self.leader.clone_from(&new);
        }
        if self.phase != Phase::Stable || self.choose_protocol() != self.protocol {
            return self.wait(now, new);
        }
        let mut place = self.place(&new);
        if led {
            // Everything is handed out: as a leader it would do it again, without the others hearing of it.
            old.clone_into(&mut place.leader);
            place.everybody.clear();
        }
        Admission::Place(place)
    }

    fn wait(&mut self, now: Instant, id: String) -> Admission {
        self.begin_round(now);
        if let Some(member) = self.members.get_mut(&id) {
            member.waits = true;
        }
        let past = self.generation;
        Admission::Wait { member: id, past }
    }

    fn somebody_went(&mut self, now: Instant) {
        if self.members.is_empty() {
            self.phase = Phase::Empty;
        } else {
            self.begin_round(now);
        }
    }

    fn begin_round(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Joining { .. }) {
            let until = now + self.patience();
            self.enter_phase(now, Phase::Joining { until });
        }
    }

    /// As long as the slowest member wants to be waited for.
    fn patience(&self) -> Duration {
        let asked = self.members.values().map(|it| it.application.rebalance);
        asked.max().unwrap_or_default()
    }

    /// Who waited has its answer, and from now on is to be heard of again.
    fn enter_phase(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        for member in self.members.values_mut() {
            if std::mem::take(&mut member.waits) {
                member.seen = now;
            }
        }
    }

    fn end_round(&mut self, now: Instant, until: Instant) -> bool {
        let all = self.members.values().all(|it| it.waits);
        if !all && now < until {
            return false;
        }
        // A static member that did not join keeps its place until its session runs out.
        self.members
            .retain(|_, it| it.waits || it.application.instance.is_some());
        let mut joined = self.members.iter().filter(|(_, it)| it.waits);
        let Some(first) = joined.next().map(|(id, _)| id.clone()) else {
            // Those that are left are static and may come back: whoever is first must not go without the others.
            let until = now + self.patience();
            self.phase = match self.members.is_empty() {
                true => Phase::Empty,
                false => Phase::Joining { until },
            };
            return true;
        };
        let stays = self.members.get(&self.leader).is_some_and(|it| it.waits);
        if !stays {
            self.leader = first;
        }
        self.protocol = self.choose_protocol();
        self.generation += 1;
        for member in self.members.values_mut() {
            member.share = Bytes::new();
        }
        let until = now + self.patience();
        self.enter_phase(now, Phase::Sharing { until });
        true
    }

    /// Of the assignors everybody knows, the one most like best.
    fn choose_protocol(&self) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let mut names = member.application.protocols.iter().map(|(name, _)| name);
            if let Some(best) = names.find(|name| self.members.values().all(|it| it.knows(name))) {
                *votes.entry(best).or_default() += 1;
            }
        }
        let best = votes.into_iter().max_by_key(|(_, votes)| *votes);
        best.map_or_else(String::new, |(name, _)| name.to_owned())
    }

    fn place(&self, id: &str) -> Place {
        let everybody = self.members.iter().filter(|_| self.leader == id);
        Place {
            member: id.to_owned(),
            generation: self.generation,
            kind: self.kind.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            everybody: everybody
                .map(|(id, it)| {
                    let instance = it.application.instance.clone();
                    (id.clone(), instance, it.metadata(&self.protocol))
                })
                .collect(),
        }
    }

    fn of_generation(
        &mut self,
        now: Instant,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<&mut Member, ErrorCode> {
        let current = self.generation;
        let member = self.member(id, instance)?;
        if generation != current {
            return Err(ErrorCode::IllegalGeneration);
        }
        member.seen = now;
        Ok(member)
    }

    fn member(&mut self, id: &str, instance: Option<&str>) -> Result<&mut Member, ErrorCode> {
        let owner = instance.and_then(|it| self.id_of(it));
        if owner.is_some_and(|it| it != id) {
            return Err(ErrorCode::FencedInstanceId);
        }
        self.members.get_mut(id).ok_or(ErrorCode::UnknownMemberId)
    }

    fn id_of(&self, instance: &str) -> Option<String> {
        let mut members = self.members.iter();
        members
            .find(|(_, it)| it.application.instance.as_deref() == Some(instance))
            .map(|(id, _)| id.clone())
    }
}
