//! What a lead knows, and what it does about what happens: one event after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::lead::{Event, Lead, silent, told};
use super::lead_settle::Cut;
use super::standstill::{Inquiry, Next};
use super::{FromShare, Listed, NodeMetrics, Placement, ShareReport, ToShare};
use crate::runtime::control::Asked;
use crate::runtime::coordinate::Coordinator;
use crate::runtime::launch::balance;
use crate::runtime::util::lock;
use crate::runtime::{NodeReport, Report};
use crate::{Error, Result};

/// Events that a report has at most: the newest.
const EVENTS: usize = 1000;

type Send = Arc<dyn Fn(usize, ToShare) + std::marker::Send + Sync>;

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Shares come and say what they have to read.
    Gathering,
    /// They open sinks and make tasks.
    Preparing,
    Running,
    /// All tasks have finished: the last checkpoint is on its way.
    Last,
    /// Sinks commit.
    Committing,
    /// Shares end.
    Leaving,
    Aborting,
    Over,
}

/// A share as the lead sees it.
struct Member {
    said_hello: bool,
    ready: bool,
    /// When it was heard last.
    heard: Duration,
    /// When it was last told that the lead is there.
    answered: Option<Duration>,
    /// It has ended.
    gone: bool,
    report: Option<ShareReport>,
    metrics: Vec<NodeMetrics>,
}

/// The shares.
pub(super) struct Team {
    pub(super) placement: Placement,
    send: Send,
    members: Vec<Member>,
}

impl Team {
    pub(super) fn new(placement: Placement, send: Send, now: Duration) -> Team {
        let member =
            |_| Member { said_hello: false, ready: false, heard: now, answered: None, gone: false, report: None, metrics: Vec::new() };
        Team { members: (0..placement.shares).map(member).collect(), placement, send }
    }
}

pub(super) struct State {
    pub(super) coordinator: Coordinator,
    pub(super) phase: Phase,
    team: Option<Team>,
    /// The checkpoint on its way.
    pub(super) cut: Option<Cut>,
    /// The sinks that publish with each checkpoint, and their shares.
    pub(super) publish: Vec<(usize, usize)>,
    /// The other ones.
    commit: Vec<(usize, usize)>,
    /// Whoever asked before the job ran.
    early: Vec<Asked>,
    stopped: bool,
    inquiry: Inquiry,
    /// The error that ended the job, and the share that it comes from.
    error: Option<(Option<usize>, Error)>,
    failed: Option<usize>,
    /// Whether that share was lost, and has not failed itself.
    lost: bool,
    events: VecDeque<String>,
    nodes: Vec<NodeReport>,
    started: Duration,
    /// Whether the next checkpoint has its time.
    pub(super) armed: bool,
}

impl State {
    pub(super) fn new(coordinator: Coordinator, now: Duration) -> State {
        State {
            coordinator,
            phase: Phase::Gathering,
            team: None,
            cut: None,
            publish: Vec::new(),
            commit: Vec::new(),
            early: Vec::new(),
            stopped: false,
            inquiry: Inquiry::default(),
            error: None,
            failed: None,
            lost: false,
            events: VecDeque::new(),
            nodes: Vec::new(),
            started: now,
            armed: false,
        }
    }
    pub(super) fn assemble(&mut self, team: Team) {
        self.team = Some(team);
    }
    pub(super) fn is_ending(&self) -> bool {
        !matches!(self.phase, Phase::Gathering | Phase::Preparing | Phase::Running)
    }
    pub(super) fn failed_share(&self) -> Option<usize> {
        self.failed
    }
    pub(super) fn lost_share(&self) -> Option<usize> {
        self.failed.filter(|_| self.lost)
    }
    pub(super) fn metrics(&self) -> Vec<Vec<NodeMetrics>> {
        self.members().iter().map(|m| m.metrics.clone()).collect()
    }
    fn members(&self) -> &[Member] {
        self.team.as_ref().map_or(&[], |t| &t.members)
    }
    fn member(&mut self, share: usize) -> Option<&mut Member> {
        self.team.as_mut().and_then(|t| t.members.get_mut(share))
    }
    pub(super) fn name(&self, share: usize) -> String {
        self.team.as_ref().map_or_else(String::new, |t| t.placement.name(share))
    }
    pub(super) fn send(&self, share: usize, message: ToShare) {
        if let Some(team) = &self.team {
            (team.send)(share, message);
        }
    }
    pub(super) fn tell_all(&self, message: &ToShare) {
        for (share, _) in self.members().iter().enumerate().filter(|(_, m)| !m.gone) {
            self.send(share, message.clone());
        }
    }

    /// Something happens.
    pub(super) fn on(&mut self, lead: &Arc<Lead>, event: Event) {
        match event {
            Event::From(share, message) => self.from(lead, share, message),
            Event::Lost(share, error) => self.lose(lead, share, error),
            Event::Ended(share, error) => self.gone(lead, share, Some(error)),
            Event::Want(asked) => self.want(lead, asked),
            Event::Due => {
                self.armed = false;
                self.due(lead);
            }
            Event::Now => self.due(lead),
            Event::Wrote(result) => self.wrote(lead, result),
            Event::Pruned(result) => self.pruned(lead, result),
            Event::Answered(end) => self.answered(lead, end),
            Event::Again(piece) => self.again(lead, piece),
            Event::Stop => {
                self.stopped = true;
                if self.phase == Phase::Running {
                    self.tell_all(&ToShare::Stop);
                }
            }
            Event::Cancel(error) => self.abort(lead, None, error),
            Event::Inquire => {
                let next = self.inquiry.time();
                self.inquire(lead, next);
            }
            Event::Look => self.look(lead),
        }
        if self.phase == Phase::Running && self.cut.is_none() && self.coordinator.is_over() {
            self.all_finished(lead);
        }
    }

    fn from(&mut self, lead: &Arc<Lead>, share: usize, message: FromShare) {
        let now = lead.executor.now();
        let phase = self.phase;
        let Some(member) = self.member(share).filter(|m| !m.gone) else { return };
        member.heard = now;
        match message {
            FromShare::Beat { number } if phase != Phase::Aborting => {
                member.answered = Some(now);
                self.send(share, ToShare::Beat { number });
            }
            FromShare::Hello { sources } => self.hello(lead, share, &sources),
            FromShare::Ready { publish, commit } => self.ready(lead, share, (publish, commit)),
            FromShare::Failed(fault) => self.gone(lead, share, Some(fault.into())),
            FromShare::Over(report) => {
                member.report = Some(report);
                self.gone(lead, share, None);
            }
            FromShare::Metrics(metrics) => member.metrics = metrics,
            FromShare::Event(event) => {
                let name = self.name(share);
                self.event(lead, Some(share), format!("{name}: {event}"));
            }
            FromShare::Committed { .. } if phase == Phase::Committing => self.commit_next(lead),
            _ if phase != Phase::Running && phase != Phase::Last => {}
            FromShare::Cutting { task } => self.coordinator.cutting(task),
            FromShare::Cut { task, part } => {
                let epoch = self.coordinator.cut(task, *part);
                self.begin(lead, epoch);
            }
            FromShare::Finished { task, part } => {
                let epoch = self.coordinator.finish(task, *part);
                self.begin(lead, epoch);
            }
            FromShare::Satisfied { node } => {
                for other in (0..self.members().len()).filter(|other| *other != share) {
                    self.send(other, ToShare::Satisfied { node });
                }
            }
            FromShare::Published { node, epoch } => self.published(lead, node, epoch),
            FromShare::Still => {
                let next = self.inquiry.still(share);
                self.inquire(lead, next);
            }
            FromShare::Counted { round, counts } => {
                let next = self.inquiry.counted(share, round, counts, self.members().len());
                self.inquire(lead, next);
            }
            FromShare::Beat { .. } | FromShare::Committed { .. } => {}
        }
    }

    fn hello(&mut self, lead: &Arc<Lead>, share: usize, sources: &[Listed]) {
        if let Some(other) = lead.sources.iter().zip(sources).find(|(here, there)| here != there) {
            let (here, there) = other;
            let error = Error::Usage(format!(
                "{} finds other input than the lead of the job: of source `{}` it has {} parts, and the lead {}{}. All agents must reach the same input at the same place, and it must not change while a job starts",
                self.name(share),
                here.node,
                there.splits,
                here.splits,
                if here.splits == there.splits { ", which differ" } else { "" }
            ));
            return self.abort(lead, Some(share), error);
        }
        if let Some(member) = self.member(share) {
            member.said_hello = true;
        }
        if self.phase == Phase::Gathering && self.members().iter().all(|m| m.said_hello) {
            self.phase = Phase::Preparing;
            self.tell_all(&ToShare::Prepare);
        }
    }
    fn ready(&mut self, lead: &Arc<Lead>, share: usize, (publish, commit): (Vec<usize>, Vec<usize>)) {
        if let Some(member) = self.member(share) {
            member.ready = true;
        }
        self.publish.extend(publish.into_iter().map(|node| (node, share)));
        self.commit.extend(commit.into_iter().map(|node| (node, share)));
        if self.phase == Phase::Preparing && self.members().iter().all(|m| m.ready) {
            self.phase = Phase::Running;
            // the first is the last of the list
            self.publish.sort_unstable_by(|a, b| b.cmp(a));
            self.commit.sort_unstable_by(|a, b| b.cmp(a));
            self.tell_all(&ToShare::Start);
            if self.stopped {
                self.tell_all(&ToShare::Stop);
            }
            lead.forget_probe();
            lead.listen();
            self.arm(lead);
            for asked in std::mem::take(&mut self.early) {
                self.want(lead, asked);
            }
        }
    }
    fn want(&mut self, lead: &Arc<Lead>, asked: Asked) {
        let over = || Error::Checkpoint("the job is over".into());
        if lead.settling.is_none() && (!matches!(&asked, Asked::Cut(_)) || !lead.options.cuts()) {
            return asked.refuse(Error::Checkpoint(
                "savepoints are kept beside checkpoints: start the job with a directory for them (`--checkpoint-dir`)".into(),
            ));
        }
        match self.phase {
            Phase::Gathering | Phase::Preparing => self.early.push(asked),
            Phase::Running => {
                let epoch = self.coordinator.request(Some(asked));
                self.begin(lead, epoch);
            }
            _ => asked.refuse(over()),
        }
    }

    fn inquire(&mut self, lead: &Arc<Lead>, next: Next) {
        if self.phase != Phase::Running {
            return;
        }
        match next {
            Next::Nothing => {}
            Next::WakeThen(wait) => {
                self.tell_all(&ToShare::Wake);
                lead.after(wait, Event::Inquire);
            }
            Next::Pause(wait) => lead.after(wait, Event::Inquire),
            Next::Ask(round) => self.tell_all(&ToShare::Count { round }),
            Next::Relax => self.tell_all(&ToShare::Relax),
            Next::DeadEnd if self.cut.is_some() => {
                // a checkpoint that is being written keeps nobody waiting, but who knows
                let next = self.inquiry.still(0);
                self.inquire(lead, next);
            }
            Next::DeadEnd => self.abort(lead, None, Error::internal("no step of the job can go on")),
        }
    }

    /// Every task of every share has finished.
    fn all_finished(&mut self, lead: &Arc<Lead>) {
        self.refuse("the job is over");
        if let Err(error) = self.balance(lead, &[]) {
            return self.abort(lead, None, error);
        }
        self.phase = Phase::Last;
        if lead.settling.is_some() && !lead.ended_before {
            match self.coordinator.last() {
                Some(last) => return self.settle_last(lead, last),
                None => return self.abort(lead, None, Error::internal("a step has not ended")),
            }
        }
        self.commit_all(lead);
    }
    fn balance(&mut self, lead: &Lead, reports: &[ShareReport]) -> Result<()> {
        let mut spilled = vec![0; lead.counts.len()];
        for (sum, n) in reports.iter().flat_map(|r| spilled_of(&r.spilled)) {
            if let Some(total) = spilled.get_mut(sum) {
                *total += n;
            }
        }
        self.nodes = balance(&lead.plan, &lead.counts, self.coordinator.accounts(), &spilled)?;
        Ok(())
    }
    pub(super) fn commit_all(&mut self, lead: &Arc<Lead>) {
        self.phase = Phase::Committing;
        self.commit_next(lead);
    }
    fn commit_next(&mut self, lead: &Arc<Lead>) {
        match self.commit.pop() {
            Some((node, share)) => self.send(share, ToShare::Commit { node }),
            None => {
                self.phase = Phase::Leaving;
                self.tell_all(&ToShare::End);
                self.leave(lead);
            }
        }
    }

    /// A share has ended: with an error, or because it was told to.
    fn gone(&mut self, lead: &Arc<Lead>, share: usize, error: Option<Error>) {
        if let Some(member) = self.member(share) {
            member.gone = true;
        }
        match error {
            Some(error) => self.abort(lead, Some(share), error),
            None if self.phase != Phase::Leaving && self.phase != Phase::Aborting => {
                self.abort(lead, Some(share), Error::internal("a share of the job has ended before the job"));
            }
            None => self.leave(lead),
        }
    }
    /// A share cannot be heard any more.
    fn lose(&mut self, lead: &Arc<Lead>, share: usize, error: Error) {
        self.lost |= !matches!(self.phase, Phase::Leaving | Phase::Aborting | Phase::Over);
        self.abort(lead, Some(share), error);
    }
    /// The job ends with an error; the first one counts.
    pub(super) fn abort(&mut self, lead: &Arc<Lead>, share: Option<usize>, error: Error) {
        match self.phase {
            Phase::Over => return,
            // all is committed: what a share says now changes nothing
            Phase::Leaving => {
                let name = share.map(|s| self.name(s)).unwrap_or_default();
                self.event(lead, share, format!("{name} did not end in good order: {error}"));
            }
            Phase::Aborting => {}
            _ => {
                self.phase = Phase::Aborting;
                self.refuse(&format!("the job ended before it was complete: {error}"));
                self.tell_all(&told(&error));
                (self.failed, self.error) = (share, Some((share, error)));
                self.cut = None;
            }
        }
        self.leave(lead);
    }
    fn refuse(&mut self, why: &str) {
        let early = std::mem::take(&mut self.early);
        for asked in self.coordinator.give_up().into_iter().chain(early) {
            asked.refuse(Error::Checkpoint(why.to_owned()));
        }
    }
    /// Whether a share cannot write any more.
    fn is_fenced(&self, lead: &Lead, member: &Member) -> bool {
        member.gone || member.answered.is_none_or(|at| lead.executor.now().saturating_sub(at) >= lead.lease)
    }
    /// The end, if no share can write any more.
    fn leave(&mut self, lead: &Arc<Lead>) {
        let over = match self.phase {
            Phase::Aborting => self.members().iter().all(|m| self.is_fenced(lead, m)),
            Phase::Leaving => self.members().iter().all(|m| m.gone),
            _ => false,
        };
        if !over {
            return;
        }
        self.retried(lead);
        let outcome = match self.error.take() {
            Some((_, error)) => Err(error),
            None => self.report(lead),
        };
        self.phase = Phase::Over;
        lead.answer();
        lead.give_back();
        *lock(&lead.outcome) = Some(outcome);
        lead.done.set();
        lead.executor.nudge();
    }
    /// Something is worth a log line.
    pub(super) fn event(&mut self, lead: &Lead, share: Option<usize>, event: String) {
        if let Some(hears) = lead.hears.get() {
            hears(share, &event);
        }
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
    /// What the lead itself has tried again at the place of the checkpoints.
    pub(super) fn retried(&mut self, lead: &Lead) {
        let told: Vec<String> = lead.settling.iter().flat_map(|s| s.store.storage.told()).collect();
        told.into_iter().for_each(|event| self.event(lead, None, event));
    }
    fn report(&mut self, lead: &Lead) -> Result<Report> {
        let reports: Vec<ShareReport> = self.team.iter_mut().flat_map(|t| &mut t.members).filter_map(|m| m.report.take()).collect();
        self.balance(lead, &reports)?;
        let mut report =
            Report { nodes: std::mem::take(&mut self.nodes), events: std::mem::take(&mut self.events).into(), ..Report::default() };
        for share in reports {
            report.workers.extend(share.workers);
            report.peak_channel_bytes = report.peak_channel_bytes.max(usize::try_from(share.peak_channel_bytes).unwrap_or(usize::MAX));
        }
        report.checkpoints = lead.checkpoints();
        report.wall = lead.executor.now().saturating_sub(self.started);
        Ok(report)
    }
    /// Looks who was not heard for too long.
    fn look(&mut self, lead: &Arc<Lead>) {
        if self.phase == Phase::Over {
            return;
        }
        let now = lead.executor.now();
        let silence = |m: &Member| !m.gone && now.saturating_sub(m.heard) >= lead.lease;
        if let Some(share) = self.members().iter().position(silence) {
            match self.phase {
                Phase::Leaving => self.gone(lead, share, Some(silent(&self.name(share), lead.lease))),
                Phase::Aborting => self.leave(lead),
                _ => self.lose(lead, share, silent(&self.name(share), lead.lease)),
            }
        }
        if self.phase == Phase::Aborting {
            self.leave(lead);
        }
        lead.after(lead.lease / 20, Event::Look);
    }
}

fn spilled_of(spilled: &[u64]) -> impl Iterator<Item = (usize, u64)> + '_ {
    spilled.iter().copied().enumerate()
}
