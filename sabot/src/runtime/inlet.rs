//! The input side of a task: channels in, signals to the root operator out.
//!
//! Idea: whatever arrives moves from its channel into the [`Gate`] of its port at once (its bytes stay counted, so
//! producers still feel it), and leaves the gate when the operator is ready and the order is right. Barriers are
//! aligned here: a channel that delivered one is not read until all have; then everything that can still pass a gate
//! passes, the operator is cut, and what remains in the gates becomes part of the checkpoint. So neither a closed port
//! nor a missing split can hold a checkpoint up.
//!
//! Watermarks: per channel; a port has the minimum of its channels. Ended channels are at the end of time, idle ones
//! do not count unless all are. In source order the watermark only moves when no row is held back, or still to come from a
//! producer that is at its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::chain::{Chain, Signal};
use super::checkpoint::{InFlight, NodeMarks, SplitKey, split_key, to_ipc};
use super::gate::{Gate, Held, NO_CHANNEL, Passed};
use super::idle::Told;
use super::job::Job;
use super::marks::Marks;
use super::task::Next;
use super::util::{at, at_mut};
use crate::Result;
use crate::kernel::Origin;
use crate::operator::{END_OF_TIME, EventTime};
use crate::shuffle::{Channel, Message};

pub(super) struct InChannel {
    channel: Arc<Channel>,
    port: usize,
    edge: usize,
    producer: usize,
    time: EventTime,
    idle: bool,
    /// The end was taken out of the channel.
    ended: bool,
    barrier: Option<u64>,
}

impl InChannel {
    pub(super) fn new(channel: Arc<Channel>, port: usize, edge: usize, producer: usize) -> Self {
        InChannel { channel, port, edge, producer, time: EventTime::MIN, idle: false, ended: false, barrier: None }
    }
}

/// Of a step with rows in flight, whose instances refuse rows now and then, each by itself.
pub(super) struct Slow {
    pub(super) ends: Option<OwnEnds>,
}

/// Of a step whose splits are at the instances that read them: which ends are its own to tell. The others know of them by themselves.
pub(super) struct OwnEnds {
    pub(super) instance: usize,
    /// Splits that have ended, whose rows are elsewhere.
    pub(super) elsewhere: BTreeSet<SplitKey>,
}

pub(super) struct Port {
    pub(super) gate: Gate,
    /// Channels whose end has not passed.
    open: usize,
    time: EventTime,
    finished: bool,
}

pub(super) struct Inlet {
    channels: Vec<InChannel>,
    pub(super) ports: Vec<Port>,
    pub(super) marks: Marks,
    pub(super) slow: Option<Slow>,
    told: Told,
    turn: usize,
    /// When the first barrier of an epoch came.
    first_barrier: Option<Duration>,
    /// How long the last epoch's first barrier waited for the others.
    pub(super) aligned: Duration,
}

impl Inlet {
    pub(super) fn new(channels: Vec<InChannel>, gates: Vec<Gate>, marks: Marks, slow: Option<Slow>) -> Self {
        let open = |p: usize| channels.iter().filter(|c| c.port == p).count();
        let mut gates = gates;
        for c in &channels {
            if let Some(Gate::Source(order)) = gates.get_mut(c.port) {
                order.producer((c.edge, c.producer));
            }
        }
        let ports =
            gates.into_iter().enumerate().map(|(p, gate)| Port { gate, open: open(p), time: EventTime::MIN, finished: false }).collect();
        Inlet { channels, ports, marks, slow, told: Told::default(), turn: 0, first_barrier: None, aligned: Duration::ZERO }
    }

    /// Takes the next thing in and signals it to the chain.
    pub(super) fn next(&mut self, chain: &mut Chain, job: &Arc<Job>) -> Result<Next> {
        self.receive(job)?;
        let ports = self.ports.len();
        for i in 0..ports {
            let p = (self.turn + i) % ports;
            if !chain.ready(p) {
                continue;
            }
            let port = at_mut(&mut self.ports, p)?;
            let closed = port.open == 0;
            if let Some(passed) = port.gate.next(closed)? {
                self.turn = p;
                return self.pass(p, passed, chain, job);
            }
            if let Some(next) = self.quiet(p, chain)? {
                return Ok(next);
            }
        }
        if self.ports.iter().all(|p| p.finished) {
            return Ok(Next::End);
        }
        let epoch = self.channels.iter().filter_map(|c| c.barrier).min();
        if let (Some(epoch), true) = (epoch, self.channels.iter().all(|c| c.barrier.is_some() || c.ended)) {
            self.channels.iter_mut().for_each(|c| c.barrier = None);
            self.aligned = self.first_barrier.take().map_or(Duration::ZERO, |first| job.executor.now().saturating_sub(first));
            chain.signal(0, Signal::Barrier(epoch));
            return Ok(Next::Barrier(epoch));
        }
        let idle = self.channels.iter().all(|c| c.idle || c.ended) && self.channels.iter().any(|c| c.idle);
        if let Some(news) = self.told.news(idle) {
            chain.signal(0, news);
            return Ok(Next::Mark);
        }
        Ok(Next::Wait)
    }

    /// From the channels into the gates.
    fn receive(&mut self, job: &Job) -> Result<()> {
        for (index, c) in self.channels.iter_mut().enumerate() {
            let port = at_mut(&mut self.ports, c.port)?;
            while c.barrier.is_none() {
                let Some((message, bytes)) = c.channel.pop() else { break };
                match (message, &mut port.gate) {
                    (Message::Barrier(epoch), _) => {
                        c.barrier = Some(epoch);
                        self.first_barrier.get_or_insert_with(|| job.executor.now());
                    }
                    (Message::Rows(morsel), gate) => {
                        c.idle = false;
                        self.told.stir();
                        gate.rows(Held { morsel, channel: index, bytes, from: (c.edge, c.producer), also: Vec::new() });
                    }
                    (Message::End, Gate::Source(order)) => {
                        c.ended = true;
                        port.open -= 1;
                        order.ended((c.edge, c.producer));
                    }
                    (Message::Ascending(origin), Gate::Source(order)) => order.ascends((c.edge, c.producer), origin),
                    (Message::Ascending(_), Gate::Arrival(_)) => {}
                    (Message::SplitEnd(origin), Gate::Source(order)) => {
                        if self.marks.arrive(c.edge, split_key(&origin)) {
                            order.split_ended(split_key(&origin));
                        }
                    }
                    (Message::Watermark(t), Gate::Source(_)) => c.time = t.max(c.time),
                    (Message::Idle | Message::Active, Gate::Source(_)) => {}
                    (mark, Gate::Arrival(queue)) => {
                        c.ended |= matches!(mark, Message::End);
                        queue.push_back(Passed::Mark(index, mark));
                    }
                }
            }
        }
        Ok(())
    }

    fn pass(&mut self, p: usize, passed: Passed, chain: &mut Chain, job: &Arc<Job>) -> Result<Next> {
        match passed {
            Passed::Rows(held) => {
                let own = [(held.channel, held.bytes)];
                for (channel, bytes) in own.into_iter().chain(held.also).filter(|(channel, _)| *channel != NO_CHANNEL) {
                    let channel = &at(&self.channels, channel)?.channel;
                    if channel.release(bytes) {
                        job.wake(channel.producer);
                    }
                }
                let rows = held.morsel.rows();
                chain.signal(p, Signal::Rows(held.morsel));
                return Ok(Next::Rows(rows));
            }
            Passed::SplitEnd(split) => self.split_end(p, split, chain),
            Passed::Marked(edge, split) => {
                if self.marks.arrive_all(edge, split) {
                    self.split_end(p, split, chain);
                }
            }
            Passed::Mark(index, mark) => {
                let c = at_mut(&mut self.channels, index)?;
                match mark {
                    Message::SplitEnd(origin) => {
                        if let Some(ends) = ends_of(&mut self.slow).filter(|ends| ends.instance != c.producer) {
                            ends.elsewhere.insert(split_key(&origin));
                        }
                        if self.marks.arrive(c.edge, split_key(&origin)) {
                            self.split_end(p, split_key(&origin), chain);
                        }
                    }
                    Message::Watermark(t) => {
                        c.time = t.max(c.time);
                        c.idle = false;
                        self.told.stir();
                        self.advance(p, chain)?;
                    }
                    Message::Idle => {
                        c.idle = true;
                        self.advance(p, chain)?;
                    }
                    Message::Active => c.idle = false,
                    Message::End => {
                        c.time = END_OF_TIME;
                        c.idle = false;
                        at_mut(&mut self.ports, p)?.open -= 1;
                        self.advance(p, chain)?;
                    }
                    Message::Rows(_) | Message::Ascending(_) | Message::Barrier(_) => {}
                }
            }
        }
        Ok(Next::Mark)
    }

    fn split_end(&mut self, p: usize, split: SplitKey, chain: &mut Chain) {
        let elsewhere = ends_of(&mut self.slow).is_some_and(|ends| ends.elsewhere.remove(&split));
        let everywhere = self.marks.deliver(p, split) && !elsewhere;
        let (source, partition, number) = split;
        chain.signal(p, Signal::SplitEnd(Origin { source, partition, split: number, row: 0 }, everywhere));
    }

    /// What a port has to say when its gate lets nothing through: time has moved, or it is over.
    fn quiet(&mut self, p: usize, chain: &mut Chain) -> Result<Option<Next>> {
        let port = at_mut(&mut self.ports, p)?;
        if port.finished || !port.gate.is_empty() {
            return Ok(None);
        }
        if port.open == 0 {
            port.finished = true;
            chain.signal(p, Signal::Finish);
            if port.time < END_OF_TIME {
                port.time = END_OF_TIME;
                chain.signal(p, Signal::Watermark(END_OF_TIME));
            }
            return Ok(Some(Next::Mark));
        }
        // rows that are sent at a producer's end follow the end of its time
        let moved = matches!(&port.gate, Gate::Source(order) if !order.ending()) && self.advance(p, chain)?;
        Ok(moved.then_some(Next::Mark))
    }

    /// Moves the watermark of a port to the minimum of its channels. Returns whether it moved.
    fn advance(&mut self, p: usize, chain: &mut Chain) -> Result<bool> {
        let port = at_mut(&mut self.ports, p)?;
        // In order of arrival the end of a channel counts when it passes, behind its rows; in source order nothing is
        // held back at this point.
        let sorted = matches!(port.gate, Gate::Source(_));
        let mut time = END_OF_TIME;
        let mut idle = None;
        for c in self.channels.iter().filter(|c| c.port == p) {
            match c {
                c if c.idle => idle = idle.max(Some(c.time)),
                c if c.ended && sorted => {}
                c => time = time.min(c.time),
            }
        }
        // Idle channels may come back, so they alone cannot end time; but what the furthest of them told holds, as it would
        // had it fallen idle last.
        if let (Some(told), END_OF_TIME) = (idle, time) {
            time = told;
        }
        if time <= port.time {
            return Ok(false);
        }
        port.time = time;
        chain.signal(p, Signal::Watermark(time));
        Ok(true)
    }

    /// The part of a checkpoint that is neither in an operator nor in a source.
    pub(super) fn save(&self, node: &str, instance: usize) -> Result<(Vec<InFlight>, NodeMarks)> {
        let ends = self.slow.as_ref().and_then(|slow| slow.ends.as_ref());
        let mut rows = Vec::new();
        let mut queued = BTreeSet::new();
        let mut delivered = Vec::new();
        for port in &self.ports {
            for held in port.gate.held() {
                let o = held.morsel.origin;
                rows.push(InFlight {
                    node: node.into(),
                    instance,
                    edge: held.from.0,
                    producer: held.from.1,
                    origin: (o.source, o.partition, o.split, o.row),
                    rows: to_ipc([&held.morsel.compact()?])?,
                });
            }
            match &port.gate {
                Gate::Source(order) => delivered.push(order.delivered),
                Gate::Arrival(queue) => {
                    delivered.push(0);
                    for passed in queue {
                        match passed {
                            Passed::Mark(index, Message::SplitEnd(origin)) => {
                                let c = at(&self.channels, *index)?;
                                if ends.is_none_or(|ends| ends.instance == c.producer) {
                                    queued.insert((c.edge, split_key(origin)));
                                }
                            }
                            Passed::Marked(edge, split) if ends.is_none_or(|ends| !ends.elsewhere.contains(split)) => {
                                queued.insert((*edge, *split));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        let marks = NodeMarks { node: node.into(), open: self.marks.save(), queued: queued.into_iter().collect(), delivered };
        Ok((rows, marks))
    }
}

fn ends_of(slow: &mut Option<Slow>) -> Option<&mut OwnEnds> {
    slow.as_mut().and_then(|slow| slow.ends.as_mut())
}
