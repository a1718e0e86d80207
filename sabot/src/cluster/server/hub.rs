//! The agents as the server reaches them: one stream of frames each, behind which are their shares.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::core::Core;
use super::run::Run;
use crate::cluster::door;
use crate::cluster::membership::{Change, Member, Membership, Standing};
use crate::cluster::placement::Offer;
use crate::cluster::store::{ControlStore, Fence, Level};
use crate::cluster::wire::{ShareId, ToAgent, ToServer, from_bytes, reading, to_bytes};
use crate::cluster::{Build, Refusal, Registration};
use crate::runtime::share::FromShare;
use crate::shuffle::flight::{Call, FrameSender};
use crate::sync::lock;
use crate::{Error, Result};

/// How often leases are looked at.
const TICK: Duration = Duration::from_millis(100);
/// A write of the store that takes longer is told of.
const SLOW: Duration = Duration::from_secs(2);

/// Something that happened, for people.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct News {
    pub(super) level: Level,
    pub(super) job: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) message: String,
    /// The agent has joined, or its standing has changed: its epoch.
    pub(super) agent_changed: Option<u64>,
    /// The agent wants to leave.
    pub(super) drains: bool,
}

/// The connections to all agents, and the runs whose shares they have.
pub(in crate::cluster) struct Hub {
    start: Duration,
    members: Mutex<Membership>,
    wires: Mutex<BTreeMap<u64, FrameSender>>,
    runs: Mutex<BTreeMap<(String, u32), Arc<Run>>>,
    /// Agents that are to leave, by name: their processes.
    leavers: Mutex<BTreeMap<String, u32>>,
    news: UnboundedSender<News>,
    store: Arc<ControlStore>,
    fence: Fence,
    closed: AtomicBool,
}

impl Hub {
    /// No agents yet.
    pub(in crate::cluster) fn new(build: Build, store: Arc<ControlStore>, fence: Fence, news: UnboundedSender<News>) -> Arc<Self> {
        let members = Mutex::new(Membership::new(build));
        let (start, wires, runs, leavers, closed) =
            (door::now(), Mutex::default(), Mutex::default(), Mutex::default(), AtomicBool::new(false));
        let hub = Arc::new(Hub { start, members, wires, runs, leavers, news, store, fence, closed });
        let ticking = Arc::downgrade(&hub);
        door::spawn(async move {
            let mut ticks = door::Ticks::every(TICK);
            loop {
                ticks.tick().await;
                let Some(hub) = ticking.upgrade() else { return };
                hub.tick();
            }
        });
        hub
    }
    /// Since the server began.
    pub(super) fn now(&self) -> Duration {
        door::now().saturating_sub(self.start)
    }
    pub(in crate::cluster) fn members(&self) -> MutexGuard<'_, Membership> {
        lock(&self.members)
    }
    pub(in crate::cluster) fn runs(&self) -> MutexGuard<'_, BTreeMap<(String, u32), Arc<Run>>> {
        lock(&self.runs)
    }
    /// The newest run of a job that is not forgotten.
    pub(super) fn run_of(&self, job: &str) -> Option<Arc<Run>> {
        lock(&self.runs).iter().rev().find(|((j, _), _)| j == job).map(|(_, run)| Arc::clone(run))
    }
    pub(super) fn run(&self, job: &str, attempt: u32) -> Option<Arc<Run>> {
        lock(&self.runs).get(&(job.to_owned(), attempt)).cloned()
    }
    /// An agent is to leave: it gets no tasks, also if it joins anew.
    pub(super) fn lets_go(&self, agent: &str, pid: u32) {
        lock(&self.leavers).insert(agent.to_owned(), pid);
        if let Some(epoch) = self.leaver(agent, pid) {
            self.members().drain(epoch);
        }
    }
    /// An agent that was to leave stays after all.
    pub(super) fn keeps(&self, agent: &str, pid: u32) {
        lock(&self.leavers).remove(agent);
        if let Some(epoch) = self.leaver(agent, pid) {
            self.members().stay(epoch);
        }
    }
    /// The epoch of an agent that is to leave, while it is there.
    pub(super) fn leaver(&self, agent: &str, pid: u32) -> Option<u64> {
        let members = self.members();
        members.named(agent).filter(|m| m.registration.pid == pid && m.standing.holds()).map(|m| m.epoch)
    }
    /// Something happened.
    pub(in crate::cluster) fn say(&self, level: Level, job: Option<&str>, agent: Option<&str>, message: impl Into<String>) {
        let news = News {
            level,
            job: job.map(Into::into),
            agent: agent.map(Into::into),
            message: message.into(),
            agent_changed: None,
            drains: false,
        };
        let _ = self.news.send(news);
    }

    /// Slots of the agent of this epoch that runs have, given the lock on the runs.
    fn taken(runs: &BTreeMap<(String, u32), Arc<Run>>, epoch: u64) -> usize {
        runs.values().filter(|r| r.holds_slots()).map(|r| r.assignments.slots_on(epoch)).sum()
    }
    /// What agents can take now. The lock on the runs makes it true until a run is entered.
    pub(super) fn offers(&self, runs: &BTreeMap<(String, u32), Arc<Run>>) -> Vec<Offer> {
        let members = self.members();
        let able = members.all().filter(|m| m.standing == Standing::Alive && m.connected);
        let offer = |m: &Member| {
            let slots = m.registration.slots;
            Offer { agent: m.registration.name.clone(), epoch: m.epoch, slots, free: slots.saturating_sub(Self::taken(runs, m.epoch)) }
        };
        able.map(offer).collect()
    }
    /// The slots that are free on agents that get tasks; not on the agent of this epoch.
    pub(super) fn free(&self, runs: &BTreeMap<(String, u32), Arc<Run>>, but: Option<u64>) -> usize {
        self.offers(runs).iter().filter(|o| Some(o.epoch) != but).map(|o| o.free).sum()
    }
    /// Why what runs on the agent of this epoch, of one job or of all, finds no place on others, if so.
    pub(in crate::cluster) fn no_room(&self, epoch: u64, job: Option<&str>) -> Option<String> {
        let runs = self.runs();
        let there = runs.values().filter(|r| r.holds_slots() && job.is_none_or(|j| r.job == j));
        let needed: usize = there.map(|r| r.assignments.slots_on(epoch)).sum();
        let free = self.free(&runs, Some(epoch));
        let missing = needed.saturating_sub(free);
        (missing > 0).then(|| {
            let plural = if missing == 1 { "" } else { "s" };
            format!(
                "{missing} slot{plural} missing: {needed} would have to move, and {free} are free on other agents; start another agent (`agent --join <server>`), or stop a job"
            )
        })
    }
    /// All members with the slots that runs have.
    pub(in crate::cluster) fn members_with_load(&self) -> Vec<(Member, usize)> {
        let runs = self.runs();
        let members = self.members();
        members.all().map(|m| (m.clone(), Self::taken(&runs, m.epoch))).collect()
    }

    /// This server leads no more: from now on no agent is heard, or told anything, not even that it is heard.
    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
    }
    fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Tells an agent something.
    ///
    /// # Errors
    /// If it is not connected, or this server leads no more.
    pub(super) fn tell(&self, epoch: u64, message: &ToAgent) -> Result<()> {
        let wire = lock(&self.wires).get(&epoch).cloned().filter(|_| !self.is_closed());
        let gone = || {
            let name = self.members().get(epoch).map(|m| m.registration.name.clone()).unwrap_or_default();
            Error::io(format!("agent `{name}`"), "cannot be told", std::io::ErrorKind::NotConnected.into())
        };
        wire.ok_or_else(gone)?.send(to_bytes(message)?)
    }

    /// An agent has called.
    pub(in crate::cluster) fn call(self: &Arc<Self>, call: Call) {
        let hub = Arc::clone(self);
        door::spawn(async move {
            let from = call.remote.map_or_else(|| "an agent".to_owned(), |a| a.to_string());
            if let Err(error) = hub.serve(call, &from).await {
                hub.say(Level::Warning, None, None, error.to_string());
            }
        });
    }
    async fn serve(self: &Arc<Self>, call: Call, from: &str) -> Result<()> {
        let sender = call.frames.sender;
        let mut frames = reading(call.frames.receiver);
        let Some(first) = frames.recv().await else { return Ok(()) };
        let ToServer::Join(registration) = from_bytes(&first?, from)? else {
            return Err(Error::Data { place: from.to_owned(), what: "an agent that has not joined speaks".into() });
        };
        let (name, pid) = (registration.name.clone(), registration.pid);
        let mut joined = self.members().check(&registration);
        let mut epoch = 0;
        if joined.is_ok() {
            epoch = self.register(&registration).await?;
            let leaves = lock(&self.leavers).get(&name) == Some(&pid);
            let mut members = self.members();
            joined = members.register(self.now(), epoch, registration);
            if joined.is_ok() && leaves {
                members.drain(epoch);
            }
        }
        match joined {
            Ok(()) => {}
            Err(refusal) => {
                self.say(Level::Warning, None, Some(&name), refusal.to_string());
                sender.send(to_bytes(&ToAgent::Refused { why: refusal.to_string(), again: matches!(refusal, Refusal::Name(_)) })?)?;
                // until it has read that
                while frames.recv().await.is_some() {}
                return Ok(());
            }
        }
        lock(&self.wires).insert(epoch, sender.clone());
        sender.send(to_bytes(&ToAgent::Joined { epoch })?)?;
        self.changed(epoch, Level::Info, format!("agent `{name}` has joined (epoch {epoch})"), false);
        while let Some(frame) = frames.recv().await {
            let Ok(frame) = frame else { break };
            if self.is_closed() {
                return Ok(()); // its stream ends with this
            }
            // a lease that is over is over: what comes late is refused, and the stream with it
            match self.on(epoch, &name, from_bytes(&frame, from)?) {
                Ok(true) => {}
                Ok(false) => break,
                Err(()) => {
                    self.say(
                        Level::Warning,
                        None,
                        Some(&name),
                        format!("agent `{name}` (epoch {epoch}) speaks after its lease: refused, it has to join again"),
                    );
                    break;
                }
            }
        }
        lock(&self.wires).remove(&epoch);
        let change = self.members().disconnected(epoch);
        if let Some(Change::Suspected(_)) = change {
            self.changed(epoch, Level::Warning, format!("the connection to agent `{name}` (epoch {epoch}) has broken"), false);
        }
        // its shares are led by nobody now: they end by themselves
        self.lose(epoch, "its connection has broken");
        Ok(())
    }
    /// Writes an agent down; its epoch. A store that is slow is named: nothing else says why nobody comes in.
    async fn register(&self, registration: &Registration) -> Result<u64> {
        let since = door::now();
        let mut writing = pin!(Core::register(&self.store, self.fence, registration));
        loop {
            if let Some(epoch) = door::timeout(SLOW, &mut writing).await {
                return epoch;
            }
            let (name, waited) = (&registration.name, door::now().saturating_sub(since).as_secs());
            let what =
                format!("agent `{name}` waits to be written down for {waited} s: the control store in {} is slow", self.store.place());
            self.say(Level::Warning, None, Some(name), what);
        }
    }
    /// A message; whether more may come. An error: the agent's lease is over.
    fn on(self: &Arc<Self>, epoch: u64, name: &str, message: ToServer) -> Result<bool, ()> {
        if !self.members().get(epoch).is_some_and(|m| m.standing.holds()) {
            return Err(());
        }
        match message {
            ToServer::Join(_) => return Ok(false),
            ToServer::Beat(beat) => {
                let change = self.members().beat(self.now(), epoch, beat).map_err(|_| ())?;
                let _ = self.tell(epoch, &ToAgent::Beat { number: beat.number });
                if change.is_some() {
                    self.changed(epoch, Level::Info, format!("agent `{name}` (epoch {epoch}) is heard again"), false);
                }
            }
            ToServer::Share(id, message) => self.on_share(epoch, &id, message),
            ToServer::Ended(id) => {
                if let Some(run) = self.run(&id.job, id.attempt) {
                    run.share_ended(id.share);
                }
            }
            ToServer::Drain => {
                self.members().drain(epoch);
                self.changed(epoch, Level::Info, format!("agent `{name}` wants to leave: its tasks move"), true);
            }
            ToServer::Left => {
                self.members().left(epoch);
                self.changed(epoch, Level::Info, format!("agent `{name}` has left"), false);
                return Ok(false);
            }
        }
        Ok(true)
    }
    fn on_share(self: &Arc<Self>, epoch: u64, id: &ShareId, message: FromShare) {
        let Some(run) = self.run(&id.job, id.attempt) else { return };
        // only the agent that was given the share speaks for it
        if run.epoch_of(id.share) == Some(epoch) {
            run.on(id.share, message);
        }
    }
    /// The shares of an agent are not heard any more.
    fn lose(&self, epoch: u64, why: &str) {
        let runs: Vec<Arc<Run>> = self.runs().values().cloned().collect();
        for run in runs {
            run.lose(epoch, why);
        }
    }
    fn changed(&self, epoch: u64, level: Level, message: String, drains: bool) {
        let agent = self.members().get(epoch).map(|m| m.registration.name.clone());
        let _ = self.news.send(News { level, job: None, agent, message, agent_changed: Some(epoch), drains });
    }
    fn tick(self: &Arc<Self>) {
        let changes = self.members().tick(self.now());
        for change in changes {
            let name = |epoch: u64| self.members().get(epoch).map(|m| m.registration.name.clone()).unwrap_or_default();
            match change {
                Change::Suspected(epoch) => {
                    self.changed(epoch, Level::Warning, format!("agent `{}` (epoch {epoch}) is silent", name(epoch)), false);
                }
                Change::Returned(_) => {}
                Change::Lost(epoch) => {
                    lock(&self.wires).remove(&epoch);
                    self.changed(
                        epoch,
                        Level::Error,
                        format!("agent `{}` (epoch {epoch}) was lost: it was silent for its lease", name(epoch)),
                        false,
                    );
                    self.lose(epoch, "it was silent for its lease");
                }
            }
        }
        self.members().forget(self.now());
    }
    /// How a lead's words to its shares go out: in order, by the agents' streams.
    pub(super) fn outward(
        self: &Arc<Self>,
        job: &str,
        attempt: u32,
        epochs: Vec<u64>,
    ) -> Arc<dyn Fn(usize, crate::runtime::share::ToShare) + Send + Sync> {
        let (hub, job) = (Arc::downgrade(self), job.to_owned());
        Arc::new(move |share, message| {
            let (Some(hub), Some(epoch)) = (hub.upgrade(), epochs.get(share)) else { return };
            let id = ShareId { job: job.clone(), attempt, share };
            // who is not connected is lost, which the lead is told elsewhere
            let _ = hub.tell(*epoch, &ToAgent::Share(id, message));
        })
    }
}

/// A channel for news.
pub(in crate::cluster) fn news() -> (UnboundedSender<News>, tokio::sync::mpsc::UnboundedReceiver<News>) {
    unbounded_channel()
}
