//! A job in several processes, simulated in one: each has an executor that may die, what they tell each other is late, and every
//! choice follows from a seed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::mortal::Mortal;
use super::wires::Wires;
use crate::runtime::share::{BEAT, Carrier, Fault, FromShare, Lead, Member, Placement, Share, StageShape, ToShare, Up};
use crate::runtime::{Done, Executor, Report, Simulated};
use crate::sync::lock;
use crate::{Error, Result};

/// The processes of one attempt to run a job.
pub(crate) struct Processes {
    executor: Arc<Simulated>,
    pub(crate) lead: Arc<Lead>,
    lead_life: Arc<Mortal>,
    wires: Arc<Wires>,
    #[cfg(test)]
    placement: Placement,
    done: Done,
    members: Mutex<Vec<Process>>,
    mail: Mutex<Vec<Mail>>,
}

/// A process with a share.
struct Process {
    life: Arc<Mortal>,
    member: Option<Arc<Member<'static>>>,
    ended: bool,
    #[cfg(test)]
    error: Option<String>,
}

/// What is on its way between a share and its lead.
#[derive(Default)]
struct Mail {
    up: VecDeque<FromShare>,
    down: VecDeque<ToShare>,
    /// Whether the next one is about to arrive.
    rising: bool,
    falling: bool,
}

impl Processes {
    /// Starts an attempt on so many shares.
    pub(crate) fn start(
        executor: &Arc<Simulated>,
        shares: usize,
        lead: impl FnOnce(Arc<dyn Executor>) -> Result<Arc<Lead>>,
        begin: impl Fn(Arc<dyn Executor>, Share, Arc<dyn Carrier>, Up) -> Result<Member<'static>>,
    ) -> Result<Arc<Processes>> {
        let sim = Arc::clone(executor) as Arc<dyn Executor>;
        let lead_life = Arc::new(Mortal::new(Arc::clone(&sim)));
        let lead = lead(Arc::clone(&lead_life) as Arc<dyn Executor>)?;
        // tasks are anywhere: which share has which instance follows from the seed
        let place = |stage: &StageShape| {
            (0..stage.instances).map(|i| ((sim.random() >> 32) as usize % 3 * i + sim.random() as usize) % shares).collect()
        };
        let stages = lead.stages().iter().map(place).collect();
        let placement = Placement { shares, names: Vec::new(), stages };
        let process = |_| Process {
            life: Arc::new(Mortal::new(Arc::clone(&sim))),
            member: None,
            ended: false,
            #[cfg(test)]
            error: None,
        };
        let processes = Arc::new(Processes {
            executor: Arc::clone(executor),
            lead: Arc::clone(&lead),
            lead_life,
            wires: Wires::new(Arc::clone(&sim)),
            #[cfg(test)]
            placement: placement.clone(),
            done: Done::default(),
            members: Mutex::new((0..shares).map(process).collect()),
            mail: Mutex::new((0..shares).map(|_| Mail::default()).collect()),
        });
        let weak = Arc::downgrade(&processes);
        let look = move || weak.upgrade().iter().for_each(Processes::look_soon);
        processes.lead_life.on_nudge(look);
        let weak = Arc::downgrade(&processes);
        let send = move |share, message| weak.upgrade().map_or((), |c| c.down(share, message));
        for share in lead.begin(placement, Arc::new(send))? {
            let number = share.number;
            let weak = Arc::downgrade(&processes);
            let up = move |message| weak.upgrade().map_or((), |c| c.up(number, message));
            let life = lock(&processes.members).get(number).map(|p| Arc::clone(&p.life)).ok_or_else(|| Error::internal("no such share"))?;
            let weak = Arc::downgrade(&processes);
            life.on_nudge(move || weak.upgrade().iter().for_each(Processes::look_soon));
            let socket = processes.wires.socket(number) as Arc<dyn Carrier>;
            let up: Up = Arc::new(up);
            match begin(life as Arc<dyn Executor>, share, socket, Arc::clone(&up)) {
                Ok(member) => {
                    let member = Arc::new(member);
                    if let Some(process) = lock(&processes.members).get_mut(number) {
                        process.member = Some(Arc::clone(&member));
                    }
                    member.look();
                    processes.beat_later(number);
                    processes.look_soon();
                }
                Err(error) => {
                    up(FromShare::Failed(Fault::from(&error)));
                    if let Some(process) = lock(&processes.members).get_mut(number) {
                        process.ended = true;
                    }
                }
            }
        }
        Ok(processes)
    }
    /// Drives until the lead and all shares that are not dead are over.
    pub(crate) fn drive(&self) -> Result<Report> {
        let driven = self.executor.drive(&self.done);
        let outcome = self.lead.outcome();
        // what a dead process leaves must not run later
        self.lead_life.die();
        self.lead.give_back();
        for process in lock(&self.members).iter_mut().filter(|p| !p.life.is_stopped()) {
            process.life.die();
            process.member = None;
        }
        match outcome {
            Some(outcome) if driven => outcome,
            _ => Err(Error::internal("the executor stopped before the job was over")),
        }
    }
    fn mortal(&self, share: usize) -> Option<Arc<Mortal>> {
        lock(&self.members).get(share).map(|p| Arc::clone(&p.life))
    }
    fn member(&self, share: usize) -> Option<Arc<Member<'static>>> {
        lock(&self.members).get(share).and_then(|p| p.member.clone())
    }
    fn delay(&self) -> Duration {
        Duration::from_micros(self.executor.random() % 300)
    }
    fn up(self: &Arc<Self>, share: usize, message: FromShare) {
        if let Some(mail) = lock(&self.mail).get_mut(share) {
            mail.up.push_back(message);
        }
        self.rise(share);
    }
    fn rise(self: &Arc<Self>, share: usize) {
        let due = lock(&self.mail).get_mut(share).is_some_and(|m| !m.up.is_empty() && !std::mem::replace(&mut m.rising, true));
        if due {
            let weak = Arc::downgrade(self);
            let arrive = move |c: &Arc<Processes>| {
                let message = lock(&c.mail).get_mut(share).and_then(|m| {
                    m.rising = false;
                    m.up.pop_front()
                });
                if let Some(message) = message {
                    c.lead.on(share, message);
                }
                c.rise(share);
            };
            self.lead_life.after(self.delay(), with(weak, arrive));
        }
    }
    fn down(self: &Arc<Self>, share: usize, message: ToShare) {
        if let Some(mail) = lock(&self.mail).get_mut(share) {
            mail.down.push_back(message);
        }
        self.fall(share);
    }
    fn fall(self: &Arc<Self>, share: usize) {
        let due = lock(&self.mail).get_mut(share).is_some_and(|m| !m.down.is_empty() && !std::mem::replace(&mut m.falling, true));
        if let Some(life) = self.mortal(share).filter(|_| due) {
            let arrive = move |c: &Arc<Processes>| {
                let message = lock(&c.mail).get_mut(share).and_then(|m| {
                    m.falling = false;
                    m.down.pop_front()
                });
                match (message, c.member(share)) {
                    (Some(ToShare::Prepare), Some(member)) => {
                        member.prepare();
                        c.look_soon();
                    }
                    (Some(message), Some(member)) => {
                        member.on(message);
                        c.look_soon();
                    }
                    _ => {}
                }
                c.fall(share);
            };
            life.after(self.delay(), with(Arc::downgrade(self), arrive));
        }
    }
    fn beat_later(self: &Arc<Self>, share: usize) {
        let beat = move |c: &Arc<Processes>| {
            if let Some(member) = c.member(share).filter(|m| !m.is_over()) {
                member.beat();
                c.beat_later(share);
            }
        };
        if let Some(life) = self.mortal(share) {
            life.after(BEAT, with(Arc::downgrade(self), beat));
        }
    }
    /// Ends the shares that are over, and the whole if all are.
    fn look_soon(self: &Arc<Self>) {
        self.executor.spawn(with(Arc::downgrade(self), Processes::look));
    }
    fn look(self: &Arc<Self>) {
        let mut over = Vec::new();
        for (number, process) in lock(&self.members).iter_mut().enumerate().filter(|(_, p)| !p.ended && !p.life.is_stopped()) {
            if let Some(member) = process.member.as_ref().filter(|m| m.is_over()) {
                process.ended = true;
                over.push((number, Arc::clone(member)));
            }
        }
        for (_number, member) in over {
            // The lead is told.
            let _error = member.end().err().map(|e| e.to_string());
            #[cfg(test)]
            if let Some(process) = lock(&self.members).get_mut(_number) {
                process.error = _error;
            }
        }
        let all = lock(&self.members).iter().all(|p| p.ended || p.life.is_stopped());
        if all && (self.lead.is_over() || self.lead_life.is_dead()) {
            self.done.set();
            self.executor.nudge();
        }
    }
}

/// What may happen to processes.
#[cfg(test)]
impl Processes {
    /// Stops the process of a share, until it [goes on](Self::go_on).
    pub(crate) fn stop(self: &Arc<Self>, share: usize) {
        self.mortal(share).iter().for_each(|life| life.stop());
        self.look_soon();
    }
    pub(crate) fn go_on(self: &Arc<Self>, share: usize) {
        self.mortal(share).iter().for_each(|life| life.go_on());
        self.look_soon();
    }
    /// The error with which a share ended.
    pub(crate) fn error(&self, share: usize) -> Option<String> {
        lock(&self.members).get(share).and_then(|p| p.error.clone())
    }
    /// Whether a share has tasks.
    pub(crate) fn has_tasks(&self, share: usize) -> bool {
        self.placement.stages.iter().flatten().any(|s| *s == share)
    }
    /// What is on its way to a share.
    pub(crate) fn falling(&self, share: usize) -> Vec<ToShare> {
        lock(&self.mail).get(share).map(|m| m.down.iter().cloned().collect()).unwrap_or_default()
    }
    /// The connection between a share and the lead breaks, and both notice.
    pub(crate) fn hang_up(self: &Arc<Self>, share: usize) {
        let error = || Error::io(format!("share {share}"), "has hung up", std::io::ErrorKind::ConnectionReset.into());
        self.lead.lost(share, error());
        if let Some(member) = self.member(share) {
            member.fail(error());
        }
    }
    /// Kills the process of a share.
    pub(crate) fn kill(self: &Arc<Self>, share: usize) {
        let member = lock(&self.members).get_mut(share).and_then(|p| {
            p.life.die();
            p.ended = true;
            p.member.take()
        });
        drop(member);
        self.wires.cut(share);
        self.look_soon();
    }
    /// Kills the process of the lead.
    pub(crate) fn kill_lead(self: &Arc<Self>) {
        self.lead_life.die();
        self.look_soon();
    }
}

fn with(processes: Weak<Processes>, then: impl Fn(&Arc<Processes>) + Send + 'static) -> crate::runtime::Run {
    Box::new(move || processes.upgrade().iter().for_each(&then))
}
