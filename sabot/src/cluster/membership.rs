//! Who belongs to the cluster: leases, suspicion, loss, return.
//!
//! Idea: a state machine that is told the time. An agent holds a *lease*: it may work for that long after the last heartbeat that the
//! server has answered, counted from when it *sent* it ([`Lease`]). The server counts from when it *received* it ([`Membership`]), which is later;
//! so when the server takes an agent for lost, the agent has stopped itself, as far as both clocks go at the same speed.
//!
//! Invariants: each registration has an *epoch* of its own, larger than all before, which the control store gives. What an epoch that is over sends is refused. An agent
//! that comes back is a new member.
//!
//! Cost: a heartbeat is one look-up; a tick walks all members.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Build;

/// The time between two heartbeats.
pub const BEAT: Duration = Duration::from_secs(1);
/// How long an agent may work without an answer. Five heartbeats: a second lost to a full queue or a slow disk is no death.
pub const LEASE: Duration = Duration::from_secs(5);
/// Without a heartbeat for so long an agent gets no new tasks.
const SUSPICION: Duration = Duration::from_millis(2500);

/// For so long an agent that is gone is shown.
pub(super) const SHOWN: Duration = Duration::from_secs(24 * 3600);

/// What an agent says of itself when it joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its name, unique among the agents that are there.
    pub name: String,
    /// Where other agents reach it: `host:port`.
    pub address: String,
    /// How many instances of each stage of a job it runs at most, over all jobs.
    pub slots: usize,
    /// About the bytes that its jobs may use together, if it is limited.
    pub memory: Option<u64>,
    /// Cores.
    pub cores: usize,
    /// The process.
    pub pid: u32,
    /// What it runs.
    pub build: Build,
}

/// What an agent says each second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// Counts from 1.
    pub number: u64,
    /// Tasks that it runs.
    pub tasks: usize,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Cores busy on average since the last beat.
    pub busy: f64,
}

/// An agent's state as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Heartbeats come.
    Alive,
    /// Heartbeats are missing, or its connection has broken; it may come back.
    Suspect,
    /// It asked to leave: it gets no new tasks, and its tasks move.
    Draining,
    /// Its lease is over: it has stopped itself.
    Lost,
    /// It has left in good order.
    Left,
}

impl Standing {
    /// Whether its lease may still run, so that it may still do something.
    pub fn holds(self) -> bool {
        matches!(self, Standing::Alive | Standing::Suspect | Standing::Draining)
    }
}

/// One registration of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its fencing number.
    pub epoch: u64,
    /// What it said of itself.
    pub registration: Registration,
    /// Its state.
    pub standing: Standing,
    /// Its last heartbeat.
    pub beat: Beat,
    /// When that was received, since the server began.
    pub heard: Duration,
    /// Whether its connection is up.
    pub connected: bool,
}

/// Why an agent is not let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It runs another program.
    Build(String),
    /// The name is taken by an agent that is there.
    Name(String),
    /// It has no slots.
    Slots(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Build(why) | Refusal::Name(why) | Refusal::Slots(why) => f.write_str(why),
        }
    }
}

/// An agent's epoch is over: what it sends is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced;

/// What has changed with the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Heartbeats are missing.
    Suspected(u64),
    /// They came again.
    Returned(u64),
    /// The lease is over.
    Lost(u64),
}

/// The members of a cluster.
///
/// ```
/// use std::time::Duration;
/// use sabot::cluster::{Beat, Build, Change, LEASE, Membership, Registration, Standing};
///
/// let build = Build { id: "b1".into(), ..Build::default() };
/// let mut members = Membership::new(build.clone());
/// let agent = Registration { name: "a".into(), address: "127.0.0.1:1".into(), slots: 2, memory: None, cores: 2, pid: 1, build };
/// members.register(Duration::ZERO, 1, agent.clone()).unwrap();
/// assert!(members.beat(Duration::from_secs(1), 1, Beat { number: 1, ..Beat::default() }).is_ok());
/// let late = Duration::from_secs(1) + LEASE;
/// assert!(members.tick(late).contains(&Change::Lost(1)));
/// assert!(members.beat(late, 1, Beat::default()).is_err()); // a zombie
/// assert!(members.register(late, 2, agent).is_ok());
/// ```
#[derive(Debug)]
pub struct Membership {
    build: Build,
    members: BTreeMap<u64, Member>,
}

impl Membership {
    /// An empty cluster of this build.
    pub fn new(build: Build) -> Self {
        Membership { build, members: BTreeMap::new() }
    }
    /// The build of all members.
    pub fn build(&self) -> &Build {
        &self.build
    }
    /// Whether an agent may come in.
    ///
    /// # Errors
    /// If it runs another build, has no slots, or its name is taken by an agent that is connected.
    pub fn check(&self, registration: &Registration) -> Result<(), Refusal> {
        let name = &registration.name;
        if let Some(why) = self.build.refusal(&registration.build) {
            return Err(Refusal::Build(format!("agent `{name}` is refused: {why}")));
        }
        if registration.slots == 0 {
            return Err(Refusal::Slots(format!("agent `{name}` has no slots: start it with `--slots 1` or more")));
        }
        let there = self.members.values().find(|m| m.registration.name == *name && m.standing.holds() && m.connected);
        if let Some(there) = there {
            return Err(Refusal::Name(format!(
                "an agent `{name}` is there already (process {} at {}): start this one with another `--name`",
                there.registration.pid, there.registration.address
            )));
        }
        Ok(())
    }
    /// Lets an agent in, under an epoch that is larger than all before.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn register(&mut self, now: Duration, epoch: u64, registration: Registration) -> Result<(), Refusal> {
        self.check(&registration)?;
        let member = Member { epoch, registration, standing: Standing::Alive, beat: Beat::default(), heard: now, connected: true };
        self.members.insert(epoch, member);
        Ok(())
    }
    /// A heartbeat; what has changed by it.
    ///
    /// # Errors
    /// If the epoch is over.
    pub fn beat(&mut self, now: Duration, epoch: u64, beat: Beat) -> Result<Option<Change>, Fenced> {
        let member = self.members.get_mut(&epoch).filter(|m| m.standing.holds()).ok_or(Fenced)?;
        // the lease is over, although no tick has said so yet
        if now.saturating_sub(member.heard) >= LEASE {
            return Err(Fenced);
        }
        (member.heard, member.beat, member.connected) = (now, beat, true);
        let back = member.standing == Standing::Suspect;
        if back {
            member.standing = Standing::Alive;
        }
        Ok(back.then_some(Change::Returned(epoch)))
    }
    /// The connection of an agent has broken: it is suspect at once, and lost when its lease is over.
    pub fn disconnected(&mut self, epoch: u64) -> Option<Change> {
        let member = self.members.get_mut(&epoch)?;
        member.connected = false;
        (member.standing == Standing::Alive).then(|| {
            member.standing = Standing::Suspect;
            Change::Suspected(epoch)
        })
    }
    /// The agent wants to leave: no new tasks. Whether it was there.
    pub fn drain(&mut self, epoch: u64) -> bool {
        let member = self.members.get_mut(&epoch).filter(|m| m.standing.holds());
        member.map(|m| m.standing = Standing::Draining).is_some()
    }
    /// An agent that was to leave stays after all.
    pub fn stay(&mut self, epoch: u64) {
        if let Some(member) = self.members.get_mut(&epoch).filter(|m| m.standing == Standing::Draining) {
            member.standing = Standing::Alive;
        }
    }
    /// The agent runs nothing any more and says that it goes.
    pub fn left(&mut self, epoch: u64) {
        if let Some(member) = self.members.get_mut(&epoch).filter(|m| m.standing.holds()) {
            (member.standing, member.connected) = (Standing::Left, false);
        }
    }
    /// What the time has changed.
    pub fn tick(&mut self, now: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        for member in self.members.values_mut().filter(|m| m.standing.holds()) {
            let silent = now.saturating_sub(member.heard);
            if silent >= LEASE {
                member.standing = Standing::Lost;
                changes.push(Change::Lost(member.epoch));
            } else if silent >= SUSPICION && member.standing == Standing::Alive {
                member.standing = Standing::Suspect;
                changes.push(Change::Suspected(member.epoch));
            }
        }
        changes
    }
    /// Forgets members that are gone, but for the newest registration of each name, which stays to be shown for a day.
    pub fn forget(&mut self, now: Duration) {
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for member in self.members.values() {
            newest.insert(&member.registration.name, member.epoch);
        }
        let keep: Vec<u64> = newest.into_values().collect();
        self.members.retain(|epoch, m| m.standing.holds() || (keep.contains(epoch) && now.saturating_sub(m.heard) < SHOWN));
    }
    /// The member of this epoch.
    pub fn get(&self, epoch: u64) -> Option<&Member> {
        self.members.get(&epoch)
    }
    /// All members, by epoch.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }
    /// The newest registration of each name.
    pub fn newest(&self) -> impl Iterator<Item = &Member> {
        let mut newest: BTreeMap<&str, &Member> = BTreeMap::new();
        for member in self.members.values() {
            newest.insert(&member.registration.name, member);
        }
        newest.into_values()
    }
    /// The newest registration of this name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.members.values().rev().find(|m| m.registration.name == name)
    }
}

/// An agent's own view of its lease.
///
/// ```
/// use std::time::Duration;
/// use sabot::cluster::{LEASE, Lease};
///
/// let mut lease = Lease::new(Duration::ZERO);
/// let number = lease.sent(Duration::from_secs(1));
/// assert!(lease.runs(LEASE - Duration::from_millis(1)) && !lease.runs(LEASE));
/// lease.answered(number); // when it comes does not matter: it counts from when the heartbeat was sent
/// assert!(lease.runs(LEASE) && !lease.runs(LEASE + Duration::from_secs(1)));
/// ```
#[derive(Debug)]
pub struct Lease {
    from: Duration,
    waiting: BTreeMap<u64, Duration>,
    last: u64,
}

impl Lease {
    /// From when the registration was sent.
    pub fn new(sent: Duration) -> Self {
        Lease { from: sent, waiting: BTreeMap::new(), last: 0 }
    }
    /// A heartbeat is sent; its number.
    pub fn sent(&mut self, now: Duration) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, now);
        self.last
    }
    /// The server has answered it.
    pub fn answered(&mut self, number: u64) {
        if let Some(sent) = self.waiting.remove(&number) {
            self.from = self.from.max(sent);
            self.waiting.retain(|n, _| *n > number);
        }
    }
    /// Whether the agent may work.
    pub fn runs(&self, now: Duration) -> bool {
        now.saturating_sub(self.from) < LEASE
    }
}
