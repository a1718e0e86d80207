//! One instance of a stage: a tree of operators that a single task runs.
//!
//! Idea: a stack of signals. The top signal goes to its operator; what the operator emits is pushed back for the
//! operators below it, followed by the signal itself if it is a mark. So each morsel is carried through the whole stage
//! before the next one enters, a mark never overtakes a row, and the task can suspend between any two calls: when a
//! channel that leaves the stage is full, the stack simply waits.
//!
//! Rows that an operator emits from `process` and `resume` belong where the operator says, which is where their input
//! came from. The runtime stamps the others:
//! - From `split_end` they belong to the split that ended (source, partition and split are set, the row is kept), so a
//!   consumer in source order sees them at the place of that split: partial results per split merge in a fixed order.
//! - From `watermark` and `finish` they stem from no split. `Origin::source` is set to the emitting node;
//!   partition, split and row stay as the operator set them. An input that restores order delivers them when all
//!   producers are done, by (partition, split, row), then producer instance, then order of emission: an operator that
//!   leaves the origin at its default gets the concatenation of its instances, one that sets `split` to the key group
//!   gets the order of key groups at any number of instances. If it [says](Mark::Ascending) that they come in this order,
//!   they are delivered as soon as no producer can send an earlier one.

use std::sync::Arc;
use std::time::Duration;

use super::checker::Checker;
use super::job::Job;
use super::ledger::Holding;
use super::sink::AT_END;
use super::util::{at, at_mut};
use crate::kernel::{Morsel, Origin};
use crate::operator::{Account, Claim, END_OF_TIME, EventTime, Frozen, GroupState, Mark, Operator, Output, Pending, Progress};
use crate::shuffle::{Channel, Message, Outlet};
use crate::{Error, Result};

/// Something that happens to a node of the chain.
pub(super) enum Signal {
    Rows(Morsel),
    /// Rows of a source that are late, for those who read them.
    Late(Morsel),
    /// What a source could not read, for those who read that.
    Bad(Morsel),
    Resume,
    /// Something came from outside.
    Poll,
    /// No one wants more of the root's rows.
    Unwanted,
    /// The end of a split, and whether the node passes it on now.
    SplitEnd(Origin, bool),
    Watermark(EventTime),
    Idle,
    /// No longer idle, though nothing comes.
    Active,
    /// What follows is in order.
    Ascending(Origin),
    Barrier(u64),
    Finish,
    /// Not for the operator: goes to those below.
    Forward(Message),
}

/// Where emitted rows belong: see the module's page.
#[derive(Clone, Copy)]
pub(super) enum Stamp {
    Keep,
    Split(Origin),
    Own,
}

struct Item {
    node: usize,
    port: usize,
    signal: Signal,
}

pub(super) struct ChainNode {
    pub(super) plan: usize,
    pub(super) instance: usize,
    pub(super) name: Arc<str>,
    /// None for a source.
    pub(super) operator: Option<Box<dyn Operator>>,
    /// (index in the chain, port)
    pub(super) below: Vec<(usize, usize)>,
    /// Of those below, the ones that read the rows that failed here, or were late.
    pub(super) side: Vec<usize>,
    /// Of those below a source, the ones that read what it could not.
    pub(super) bad: Vec<usize>,
    pub(super) outlets: Vec<Outlet>,
    /// Watermark of each port.
    pub(super) times: Vec<EventTime>,
    pub(super) time_sent: EventTime,
    pub(super) open_ports: usize,
    pub(super) account: Account,
    pub(super) satisfied: bool,
    pub(super) stamp: Stamp,
    pub(super) held: Holding,
    pub(super) sink: bool,
    /// Whether rows may leave in another order than that in which they come.
    pub(super) stateful: bool,
    /// Whether it keeps its word; in debug builds.
    pub(super) checker: Option<Checker>,
}

/// Why [`Chain::drain`] returned.
pub(super) enum Drained {
    Empty,
    /// A channel is full; the task is registered to be woken.
    Blocked,
    /// The operator has more for the same morsel: let others run first.
    Yield,
    /// An operator asked to wait.
    Pause(Duration),
}

pub(super) struct Chain {
    pub(super) nodes: Vec<ChainNode>,
    stack: Vec<Item>,
    frozen: Vec<(usize, Frozen)>,
    morsel_rows: usize,
    /// When an operator that asked to wait goes on.
    until: Option<Duration>,
    /// Where an error or a panic would be.
    current: (usize, Origin),
}

struct Collector {
    /// Rows, and marks of the operator's own or that it had held back.
    sent: Vec<Message>,
    /// Rows that failed, and how much had been sent before.
    failed: Vec<(usize, Morsel)>,
    /// What a source could not read.
    bad: Option<Morsel>,
    count: usize,
    want: usize,
    account: Account,
    satisfied: bool,
}

impl Output for Collector {
    fn emit(&mut self, morsel: Morsel) {
        let rows = morsel.rows();
        if rows > 0 {
            self.count += rows;
            self.sent.push(Message::Rows(morsel));
        }
    }
    fn pass(&mut self, mark: Mark) {
        self.sent.push(match mark {
            Mark::SplitEnd(origin) => Message::SplitEnd(origin),
            Mark::Watermark(t) => Message::Watermark(t),
            Mark::Idle => Message::Idle,
            Mark::Active => Message::Active,
            Mark::Ascending(origin) => Message::Ascending(origin),
            Mark::End => Message::End,
        });
    }
    fn emit_failed(&mut self, morsel: Morsel) {
        self.failed.push((self.sent.len(), morsel));
    }
    fn full(&self) -> bool {
        self.count >= self.want
    }
    fn account(&mut self, rows: Account) {
        self.account.add(&rows);
    }
    fn satisfied(&mut self) {
        self.satisfied = true;
    }
}

impl Collector {
    fn rows(&mut self) -> impl Iterator<Item = &mut Morsel> {
        self.sent.iter_mut().filter_map(|m| if let Message::Rows(rows) = m { Some(rows) } else { None })
    }
}

impl Chain {
    pub(super) fn new(nodes: Vec<ChainNode>, morsel_rows: usize) -> Self {
        Chain { nodes, stack: Vec::new(), frozen: Vec::new(), morsel_rows, until: None, current: (0, Origin::default()) }
    }
    /// Sends a signal to the root. Call [`drain`](Self::drain) before the next one.
    pub(super) fn signal(&mut self, port: usize, signal: Signal) {
        self.stack.push(Item { node: 0, port, signal });
    }
    /// Whether the root takes rows on `port` now.
    pub(super) fn ready(&self, port: usize) -> bool {
        self.nodes.first().and_then(|n| n.operator.as_ref()).is_none_or(|o| o.ready(port))
    }
    /// Whether the root still owes output for rows that it took.
    pub(super) fn pending(&self) -> Pending {
        self.nodes.first().and_then(|n| n.operator.as_ref()).map_or(Pending::Nothing, |o| o.pending())
    }
    /// The plan node of the root.
    pub(super) fn root(&self) -> usize {
        self.nodes.first().map_or(usize::MAX, |n| n.plan)
    }
    /// Lets the root reach the world outside.
    pub(super) fn attach(&mut self, outside: Arc<dyn crate::operator::Outside>) {
        if let Some(operator) = self.nodes.first_mut().and_then(|n| n.operator.as_mut()) {
            operator.attach(outside);
        }
    }
    /// What the operators froze at the last barrier.
    pub(super) fn take_frozen(&mut self) -> Vec<(usize, Frozen)> {
        std::mem::take(&mut self.frozen)
    }
    /// What the sinks of this chain have received, in all.
    pub(super) fn sink_states(&mut self) -> Result<Vec<(usize, Frozen)>> {
        let mut states = Vec::new();
        for node in self.nodes.iter_mut().filter(|n| n.sink) {
            if let Some(sink) = &mut node.operator {
                states.push((node.plan, sink.snapshot(AT_END)?));
            }
        }
        Ok(states)
    }
    /// Gives an operator state from a checkpoint.
    pub(super) fn restore(&mut self, plan: usize, state: &GroupState) -> Result<()> {
        let operator = self.nodes.iter_mut().find(|n| n.plan == plan).and_then(|n| n.operator.as_mut());
        operator.map_or(Ok(()), |o| o.restore(state))
    }
    /// Gives an operator the rows that were in flight in one of its instances.
    pub(super) fn restore_rows(&mut self, plan: usize, state: &GroupState, claim: &dyn Claim) -> Result<()> {
        let operator = self.nodes.iter_mut().find(|n| n.plan == plan).and_then(|n| n.operator.as_mut());
        operator.map_or(Ok(()), |o| o.restore_rows(state, claim))
    }
    /// Gives an operator the layers that an instance of it wrote. Returns whether any rows of them are its.
    pub(super) fn restore_layers(&mut self, plan: usize, layers: &[&[u8]], mine: &dyn Fn(u16) -> bool) -> Result<bool> {
        let operator = self.nodes.iter_mut().find(|n| n.plan == plan).and_then(|n| n.operator.as_mut());
        operator.map_or(Ok(false), |o| o.restore_layers(layers, mine))
    }
    /// Gives an operator what belongs to some splits. Returns whether it keeps state by split.
    pub(super) fn restore_splits(&mut self, plan: usize, state: &GroupState, mine: &dyn Fn(Origin) -> bool) -> Result<bool> {
        let operator = self.nodes.iter_mut().find(|n| n.plan == plan).and_then(|n| n.operator.as_mut());
        operator.map_or(Ok(false), |o| o.restore_splits(state, mine))
    }
    /// The step and the row that were being worked on.
    pub(super) fn place(&self, names: &[String]) -> (Arc<str>, String) {
        let (node, o) = self.current;
        let name = self.nodes.get(node).map_or_else(|| "?".into(), |n| Arc::clone(&n.name));
        let source = names.get(o.source as usize).map_or("?", String::as_str);
        (name, format!("`{source}`, partition {}, split {}, rows from {}", o.partition, o.split, o.row))
    }
    /// Ends all nodes without calling their operators: they had finished before the checkpoint.
    pub(super) fn end_all(&mut self, job: &Arc<Job>) {
        for node in &self.nodes {
            for outlet in &node.outlets {
                outlet.mark(&Message::End, &mut |task| job.wake(task));
            }
        }
    }
    fn blocked(&self) -> bool {
        let full = |o: &Outlet| o.full().is_some_and(Channel::wait);
        self.nodes.iter().flat_map(|n| &n.outlets).any(full)
    }

    /// Works until nothing is left, or nothing can be done for now.
    pub(super) fn drain(&mut self, job: &Arc<Job>) -> Result<Drained> {
        loop {
            if self.blocked() {
                return Ok(Drained::Blocked);
            }
            if let Some(until) = self.until {
                let now = job.executor.now();
                if now < until {
                    return Ok(Drained::Pause(until - now));
                }
                self.until = None;
            }
            let Some(item) = self.stack.pop() else { return Ok(Drained::Empty) };
            let resumed = matches!(item.signal, Signal::Resume);
            self.run(item, job)?;
            if resumed {
                return Ok(Drained::Yield);
            }
        }
    }

    fn run(&mut self, item: Item, job: &Arc<Job>) -> Result<()> {
        let Item { node: index, port, signal } = item;
        self.current.0 = index;
        if let Signal::Rows(m) = &signal {
            self.current.1 = m.origin;
        }
        let node = at_mut(&mut self.nodes, index)?;
        let mut out = Collector {
            sent: Vec::new(),
            failed: Vec::new(),
            bad: None,
            count: 0,
            want: self.morsel_rows,
            account: Account::default(),
            satisfied: false,
        };
        let mut progress = Progress::Done;
        let mut mark = None;
        let Some(operator) = &mut node.operator else {
            // A source: rows and marks go straight on.
            match signal {
                Signal::Rows(m) => {
                    let rows = m.rows() as u64;
                    node.account.add(&Account { rows_in: rows, used: rows, ..Account::default() });
                    out.emit(m);
                }
                Signal::Late(m) => out.emit_failed(m),
                Signal::Bad(m) => out.bad = Some(m),
                Signal::SplitEnd(origin, _) => mark = Some(Message::SplitEnd(origin)),
                Signal::Watermark(t) => mark = Some(Message::Watermark(t)),
                Signal::Idle => mark = Some(Message::Idle),
                Signal::Active => mark = Some(Message::Active),
                Signal::Barrier(epoch) => mark = Some(Message::Barrier(epoch)),
                Signal::Finish => mark = Some(Message::End),
                Signal::Forward(m) => mark = Some(m),
                Signal::Resume | Signal::Poll | Signal::Unwanted | Signal::Ascending(_) => {}
            }
            return self.emitted(index, out, false, mark, job);
        };
        match signal {
            Signal::Rows(m) => {
                node.account.rows_in += m.rows() as u64;
                node.stamp = Stamp::Keep;
                progress = operator.process(port, m, &mut out)?;
            }
            Signal::Resume => progress = operator.resume(&mut out)?,
            Signal::Poll => {
                node.stamp = Stamp::Keep;
                operator.poll(&mut out)?;
            }
            Signal::Unwanted => operator.unwanted(&mut out),
            Signal::Late(_) | Signal::Bad(_) => return Err(Error::internal("late or bad rows of a step that is no source")),
            Signal::SplitEnd(origin, forward) => {
                node.stamp = Stamp::Split(origin);
                operator.split_end(port, origin, &mut out)?;
                mark = forward.then_some(Message::SplitEnd(origin));
            }
            Signal::Watermark(time) => {
                node.stamp = Stamp::Own;
                if let Some(t) = node.times.get_mut(port) {
                    *t = time.max(*t);
                }
                operator.watermark(port, time, &mut out)?;
                let given = node.times.iter().copied().min().unwrap_or(END_OF_TIME);
                let time = given.min(operator.hold());
                // the end of time goes with the end of the input: rows that the operator emits at its end come before it, and so may
                // rows of a batch whose time is computed behind it, which no hold of its own speaks for
                if time > node.time_sent && given < END_OF_TIME {
                    node.time_sent = time;
                    mark = Some(Message::Watermark(time));
                }
            }
            Signal::Idle => {
                node.stamp = Stamp::Own;
                operator.idle(&mut out)?;
                mark = Some(Message::Idle);
            }
            Signal::Active => mark = Some(Message::Active),
            Signal::Ascending(origin) => mark = (!node.stateful).then_some(Message::Ascending(origin)),
            Signal::Barrier(epoch) => {
                let known = job.knows(node.plan, node.instance);
                let frozen = if known { operator.snapshot_changes(epoch) } else { operator.snapshot(epoch) };
                self.frozen.push((node.plan, frozen?));
                mark = Some(Message::Barrier(epoch));
            }
            Signal::Finish => {
                node.stamp = Stamp::Own;
                progress = operator.finish(port, &mut out)?;
                node.open_ports = node.open_ports.saturating_sub(1);
                mark = (node.open_ports == 0).then_some(Message::End);
            }
            Signal::Forward(m) => return self.emitted(index, out, false, Some(m), job),
        }
        if progress == Progress::More
            && let Some(pause) = operator.pause()
        {
            self.until = Some(job.executor.now() + pause.wait);
            job.event(pause.why);
        }
        let mark = mark.filter(|m| !held_back(operator.as_mut(), m));
        self.emitted(index, out, progress == Progress::More, mark, job)
    }

    /// Passes on what a node emitted, then lets it resume, then passes on the mark.
    fn emitted(&mut self, index: usize, mut out: Collector, more: bool, mark: Option<Message>, job: &Arc<Job>) -> Result<()> {
        let node = at_mut(&mut self.nodes, index)?;
        let a = out.account;
        node.account.add(&Account { rows_in: 0, rows_out: out.count as u64, ..a });
        if out.satisfied && !node.satisfied {
            node.satisfied = true;
            job.satisfied(node.plan);
        }
        match node.stamp {
            Stamp::Keep => {}
            Stamp::Split(split) => out.rows().for_each(|m| m.origin = Origin { row: m.origin.row, ..split }),
            Stamp::Own => out.rows().for_each(|m| m.origin.source = node.plan as u32),
        }
        for message in &mut out.sent {
            if let Message::Ascending(origin) = message {
                origin.source = node.plan as u32;
            }
        }
        if let Some(checker) = &mut node.checker {
            out.sent.iter().chain(mark.as_ref().filter(|_| !more)).try_for_each(|message| checker.sends(&node.name, message))?;
        }
        let mut wake = |task| job.wake(task);
        // Channels take all now: `full` was asked before, and a call emits a bounded amount.
        for message in &out.sent {
            for outlet in &mut node.outlets {
                match message {
                    Message::Rows(morsel) => outlet.rows(morsel.clone(), &mut wake)?,
                    mark => outlet.mark(mark, &mut wake),
                }
            }
        }
        if let (Some(mark), true) = (&mark, more) {
            self.stack.push(Item { node: index, port: 0, signal: Signal::Forward(mark.clone()) });
        }
        if more {
            self.stack.push(Item { node: index, port: 0, signal: Signal::Resume });
        }
        let mark = mark.filter(|_| !more);
        if let Some(mark) = &mark {
            node.outlets.iter().for_each(|o| o.mark(mark, &mut wake));
        }
        for &(below, port) in node.below.iter().rev() {
            if let Some(mark) = &mark {
                self.stack.extend(to_signals(mark).into_iter().rev().map(|signal| Item { node: below, port, signal }));
            }
            // marks that were held back go both ways, each behind its rows; rows do not
            let bad = node.bad.contains(&below);
            let side = node.side.contains(&below) || bad;
            let mut failed = out.failed.iter().rev().filter(|_| side && !bad).peekable();
            for (at, message) in out.sent.iter().enumerate().rev() {
                while let Some((_, m)) = failed.next_if(|(before, _)| *before > at) {
                    self.stack.push(Item { node: below, port, signal: Signal::Rows(m.clone()) });
                }
                if !(side && matches!(message, Message::Rows(_))) {
                    self.stack.extend(to_signals(message).into_iter().rev().map(|signal| Item { node: below, port, signal }));
                }
            }
            self.stack.extend(failed.map(|(_, m)| Item { node: below, port, signal: Signal::Rows(m.clone()) }));
            let bad = out.bad.iter().filter(|_| bad);
            self.stack.extend(bad.map(|m| Item { node: below, port, signal: Signal::Rows(m.clone()) }));
        }
        Ok(())
    }

    /// Tells the job how many bytes the operators hold.
    pub(super) fn report_held(&mut self, task: usize, job: &Job) -> Result<()> {
        for node in &mut self.nodes {
            let now = node.operator.as_ref().map_or_else(Holding::default, |o| {
                let spillable = o.spillable_bytes();
                Holding { fixed: o.held_bytes().saturating_sub(spillable), spillable }
            });
            if now != node.held {
                job.ledger.holds(node.plan, task, std::mem::replace(&mut node.held, now), now, &job.names)?;
            }
        }
        Ok(())
    }
    /// The operators go, and hold nothing any more.
    pub(super) fn forget(&mut self, task: usize, job: &Job) -> Result<()> {
        for node in &mut self.nodes {
            job.ledger.holds(node.plan, task, std::mem::take(&mut node.held), Holding::default(), &job.names)?;
        }
        Ok(())
    }
    pub(super) fn spillable(&self) -> usize {
        self.nodes.iter().map(|n| n.held.spillable).sum()
    }
    /// Makes the operator that can spill the most do so.
    pub(super) fn spill(&mut self) -> Result<()> {
        let most = self.nodes.iter_mut().enumerate().max_by_key(|(_, n)| n.held.spillable);
        if let Some((index, node)) = most
            && let Some(operator) = &mut node.operator
        {
            self.current.0 = index;
            operator.spill()?;
        }
        Ok(())
    }
    pub(super) fn accounts(&self) -> Vec<(usize, Account)> {
        self.nodes.iter().map(|n| (n.plan, n.account)).collect()
    }
    /// Rows that a reader dropped.
    pub(super) fn source_failed(&mut self, rows: u64) {
        if let Some(node) = self.nodes.first_mut() {
            node.account.rows_in += rows;
            node.account.failed += rows;
        }
    }
    /// Rows that a source left out, because every reader would drop them.
    pub(super) fn source_left_out(&mut self, rows: u64) {
        if let Some(node) = self.nodes.first_mut() {
            node.account.rows_in += rows;
            node.account.filtered += rows;
        }
    }
    /// Rows of a source that are behind their partition's watermark.
    pub(super) fn source_late(&mut self, rows: u64) {
        if let Some(node) = self.nodes.first_mut() {
            node.account.rows_in += rows;
            node.account.late += rows;
        }
    }
    /// Whether someone reads the late rows of a source.
    pub(super) fn reads_late(&self) -> bool {
        self.nodes.first().is_some_and(|n| !n.side.is_empty())
    }
    pub(super) fn name(&self) -> Result<Arc<str>> {
        Ok(Arc::clone(&at(&self.nodes, 0)?.name))
    }
}

/// Whether the operator holds a mark back, to pass it on behind rows that it has not answered yet.
fn held_back(operator: &mut dyn Operator, mark: &Message) -> bool {
    match mark {
        Message::SplitEnd(origin) => operator.hold_back(Mark::SplitEnd(*origin)),
        Message::Watermark(t) => operator.hold_back(Mark::Watermark(*t)),
        Message::Idle => operator.hold_back(Mark::Idle),
        Message::Active => operator.hold_back(Mark::Active),
        Message::End => operator.hold_back(Mark::End),
        Message::Rows(_) | Message::Ascending(_) | Message::Barrier(_) => false,
    }
}

/// A mark as the operator below sees it. The end of an input is also the end of its time.
fn to_signals(mark: &Message) -> Vec<Signal> {
    match mark {
        Message::Rows(m) => vec![Signal::Rows(m.clone())],
        Message::SplitEnd(origin) => vec![Signal::SplitEnd(*origin, true)],
        Message::Watermark(t) => vec![Signal::Watermark(*t)],
        Message::Idle => vec![Signal::Idle],
        Message::Active => vec![Signal::Active],
        Message::Ascending(origin) => vec![Signal::Ascending(*origin)],
        Message::Barrier(epoch) => vec![Signal::Barrier(*epoch)],
        Message::End => vec![Signal::Watermark(END_OF_TIME), Signal::Finish],
    }
}

/// An error as the user sees it: with the step and the row, unless it names its own place.
pub(super) fn placed(error: Error, (operator, row): (Arc<str>, String)) -> Error {
    match error {
        Error::Arrow(_) | Error::Internal(_) | Error::Plan(_) => {
            Error::Operator { operator: operator.to_string(), what: format!("failed: {error}"), row }
        }
        Error::Operator { operator: named, what, row: at } if named.is_empty() || at.is_empty() => {
            let operator = if named.is_empty() { operator.to_string() } else { named };
            Error::Operator { operator, what, row: if at.is_empty() { row } else { at } }
        }
        other => other,
    }
}
