//! Wiring: from a graph to tasks, channels and gates, fresh or from a checkpoint.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::RunOptions;
use super::chain::{Chain, ChainNode, Stamp};
use super::checker::Checker;
use super::checkpoint::{Checkpoint, InFlight, NodeState, SourcePosition, SplitKey, from_ipc, layers_of, split_key};
use super::discover::{Discovery, reader_of};
use super::feed::{Feed, SplitQueue, Splits, Waiting};
use super::gate::{Gate, Held, NO_CHANNEL, Passed, SourceOrder};
use super::graph::{Graph, Stage};
use super::home::Home;
use super::inlet::{InChannel, Inlet, OwnEnds, Slow};
use super::ledger::{Holding, Ledger};
use super::marks::{MarkedEdge, Marks};
use super::retry::Retry;
use super::share::Placement;
use super::sink::{SharedSink, SinkOperator};
use super::task::{Root, Task};
use super::util::{at, lock};
use crate::kernel::hash::{KEY_GROUPS, instance_of};
use crate::kernel::{Morsel, Origin};
use crate::operator::{
    Account, Claim, EventTime, Exchange, Instance, LAYERED, Operator, PhysicalPlan, Places, SHARED, Source, Split, StateDisk, Work,
};
use crate::shuffle::{ByNumber, Channel, LinkId, Outlet, Partitioner, Remote};
use crate::{Error, Result};

/// What a job, or this process's share of it, is made of.
pub(super) struct Build<'a> {
    pub(super) plan: &'a PhysicalPlan,
    pub(super) graph: Graph,
    pub(super) options: &'a RunOptions,
    pub(super) sinks: &'a HashMap<usize, SharedSink>,
    /// Splits of each source node.
    pub(super) splits: BTreeMap<usize, Vec<Split>>,
    pub(super) checkpoint: Option<&'a Checkpoint>,
    /// The number of the last checkpoint, or claim, before the job begins.
    pub(super) epoch: u64,
    /// Where keyed state is kept, if not in memory.
    pub(super) state_disk: Option<StateDisk>,
    pub(super) ledger: &'a Mutex<Ledger>,
    /// Who runs what, and the number of this process, if there are several.
    pub(super) mine: Option<(&'a Placement, usize)>,
}

/// Tasks and the channels between them.
#[derive(Default)]
pub(super) struct Wired {
    pub(super) tasks: Vec<Task>,
    pub(super) channels: Vec<Arc<Channel>>,
    /// Plan nodes of each task.
    pub(super) nodes: Vec<Vec<usize>>,
    /// The number of each task among those of all processes.
    pub(super) global: Vec<usize>,
    /// Channels that end in other processes: what is pushed into them is sent.
    pub(super) outgoing: Vec<Remote>,
    /// Channels that begin in other processes.
    pub(super) incoming: Vec<Remote>,
    /// The states that were restored by key group, and the instance that has each now.
    pub(super) restored: Vec<(usize, NodeState)>,
}

/// (consumer, edge) to its channels, by producer and consumer instance; none if both are elsewhere.
type Matrix = HashMap<(usize, usize), Vec<Vec<Option<Arc<Channel>>>>>;

/// The tasks of this process from this number on are the outgoing links.
pub(super) const OUTGOING: usize = 1 << (usize::BITS - 2);
/// The same for incoming links.
pub(super) const INCOMING: usize = 1 << (usize::BITS - 1);

impl Build<'_> {
    fn index(&self, name: &str) -> Result<usize> {
        let found = self.plan.nodes.iter().position(|n| n.name == name);
        found.ok_or_else(|| Error::Checkpoint(format!("the plan has no step `{name}`")))
    }
    fn finished(&self, node: usize) -> bool {
        let name = self.plan.nodes.get(node).map(|n| &n.name);
        self.checkpoint.is_some_and(|c| c.finished.iter().any(|f| Some(f) == name))
    }
    /// The splits that were read before the checkpoint.
    fn read(&self) -> Result<BTreeSet<SplitKey>> {
        let mut read = BTreeSet::new();
        for position in self.checkpoint.iter().flat_map(|c| &c.positions) {
            let source = self.index(&position.node)? as u32;
            read.extend(position.done.iter().map(|(p, s)| (source, *p, *s)));
        }
        Ok(read)
    }
    /// Whether the input goes through a gate that restores source order.
    fn ordered(&self, node: usize, port: usize) -> Result<bool> {
        let inputs: Vec<_> = at(&self.plan.nodes, node)?.inputs.iter().filter(|i| i.port == port).collect();
        let bounded = inputs.iter().all(|i| self.plan.nodes.get(i.from).is_some_and(|n| n.bounded));
        Ok(bounded && inputs.iter().any(|i| i.ordered))
    }

    /// Who runs an instance of a stage, if it is another process.
    fn peer(&self, stage: usize, instance: usize) -> Option<usize> {
        let (placement, own) = self.mine?;
        placement.share_of(stage, instance).filter(|share| *share != own)
    }
    /// How many instances of a stage are in this process.
    fn here(&self, stage: usize) -> usize {
        let instances = self.graph.stages.get(stage).map_or(0, |s| s.instances);
        (0..instances).filter(|i| self.peer(stage, *i).is_none()).count()
    }
    /// For each stage, the number of each instance's task in this process, if it is here.
    fn numbers(&self) -> Vec<Vec<Option<usize>>> {
        let mut next = 0..;
        let mut number = |stage, instance| if self.peer(stage, instance).is_none() { next.next() } else { None };
        let stages = self.graph.stages.iter().enumerate();
        stages.map(|(n, stage)| (0..stage.instances).map(|i| number(n, i)).collect()).collect()
    }
    /// The channels of all inputs, of which one end at least is here.
    fn channels(&self, wired: &mut Wired) -> Result<Matrix> {
        let numbers = self.numbers();
        let mut matrix: Matrix = HashMap::new();
        let inputs = |(number, s): (usize, &Stage)| {
            s.nodes.first().and_then(|n| self.plan.nodes.get(*n)).map_or(0, |n| n.inputs.len() * self.here(number))
        };
        let queues: usize = self.graph.stages.iter().enumerate().map(inputs).sum();
        for (number, stage) in self.graph.stages.iter().enumerate() {
            let Some(&root) = stage.nodes.first() else { continue };
            for (edge, input) in at(&self.plan.nodes, root)?.inputs.iter().enumerate() {
                let producers = *at(&self.graph.instances, input.from)?;
                let bytes = if self.ordered(root, input.port)? { self.options.reorder_bytes } else { self.options.channel_bytes };
                let bytes = Ledger::queue(self.options.memory_budget, bytes, queues);
                let producer = *at(&self.graph.stage_of, input.from)?;
                let (from, to) = (at(&numbers, producer)?, at(&numbers, number)?);
                let mut channel = |p: usize, c: usize| -> Option<Arc<Channel>> {
                    let link = LinkId { consumer: root as u32, edge: edge as u32, from: p as u32, to: c as u32 };
                    let (from, to) = (from.get(p).copied().flatten(), to.get(c).copied().flatten());
                    let new = |from, to| Arc::new(Channel::new(from, to, bytes / producers));
                    let channel = match (from, to) {
                        (Some(from), Some(to)) => new(from, to),
                        (Some(from), None) => {
                            let channel = new(from, OUTGOING + wired.outgoing.len());
                            wired.outgoing.push(Remote { link, peer: self.peer(number, c)?, channel: Arc::clone(&channel) });
                            channel
                        }
                        (None, Some(to)) => {
                            let channel = new(INCOMING + wired.incoming.len(), to);
                            wired.incoming.push(Remote { link, peer: self.peer(producer, p)?, channel: Arc::clone(&channel) });
                            channel
                        }
                        (None, None) => return None,
                    };
                    wired.channels.push(Arc::clone(&channel));
                    Some(channel)
                };
                let rows: Vec<Vec<_>> = (0..producers).map(|p| (0..stage.instances).map(|c| channel(p, c)).collect()).collect();
                matrix.insert((root, edge), rows);
            }
        }
        Ok(matrix)
    }

    pub(super) fn wire(&self) -> Result<Wired> {
        let mut wired = Wired::default();
        let matrix = self.channels(&mut wired)?;
        let read = self.read()?;
        let mut global = 0..;
        for (number, stage) in self.graph.stages.iter().enumerate() {
            let Some(&root) = stage.nodes.first() else { continue };
            let mut queues = self.queues(root, number, stage.instances)?;
            queues.reverse();
            for instance in 0..stage.instances {
                let global = global.next().unwrap_or_default();
                if self.peer(number, instance).is_some() {
                    continue;
                }
                let mut nodes = Vec::new();
                for &node in &stage.nodes {
                    nodes.push(self.node(node, &stage.nodes, instance, &matrix)?);
                }
                let mut chain = Chain::new(nodes, self.options.morsel_rows);
                let resumed: BTreeSet<SplitKey> = queues
                    .last()
                    .map(|(r, _, _)| r.iter().map(|w| (root as u32, w.split.partition, w.split.sequence)).collect())
                    .unwrap_or_default();
                wired.restored.extend(self.restore(&stage.nodes, instance, &resumed, &mut chain)?);
                let root = match &at(&self.plan.nodes, root)?.work {
                    _ if self.finished(root) => Root::Over,
                    Work::Source(source) => {
                        let queue = queues.pop().ok_or_else(|| Error::internal("a source instance without splits"))?;
                        Root::Feed(Feed::new(root, Arc::clone(source), at(&self.plan.nodes, root)?.time.clone(), queue, self.epoch))
                    }
                    _ => Root::Inlet(self.inlet(root, instance, &matrix, &read)?),
                };
                wired.tasks.push(Task::new(wired.tasks.len(), instance, root, chain));
                wired.nodes.push(stage.nodes.clone());
                wired.global.push(global);
            }
        }
        Ok(wired)
    }

    /// The splits still to read, by instance that is here: one queue for all instances of a bounded source, but for the splits that were
    /// open at the checkpoint; one for each of an endless one. Where there are several processes, which of them reads a split
    /// follows from the split.
    fn queues(&self, node: usize, stage: usize, instances: usize) -> Result<Vec<Splits>> {
        let Work::Source(source) = &at(&self.plan.nodes, node)?.work else { return Ok(Vec::new()) };
        let waiting = self.waiting(node, source.as_ref());
        let readers = self.readers(source.bounded(), &waiting, instances);
        let here = |i: usize| self.peer(stage, i).is_none();
        if source.bounded() {
            let (open, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().zip(readers).partition(|(_, reader)| reader.is_some());
            let waiting = waiting.into_iter().enumerate().filter(|(i, _)| here(i % instances)).map(|(_, (w, _))| w);
            let queue: SplitQueue = Arc::new(Mutex::new(waiting.collect()));
            let mut queues: Vec<Splits> = (0..instances).map(|_| (VecDeque::new(), Arc::clone(&queue), None)).collect();
            for (split, reader) in open {
                if let Some((resumed, ..)) = reader.and_then(|reader| queues.get_mut(reader)) {
                    resumed.push_back(split);
                }
            }
            return Ok(queues.into_iter().enumerate().filter(|(i, _)| here(*i)).map(|(_, q)| q).collect());
        }
        // Those that were read go on as such: until each is begun with, a checkpoint has to name where it stood.
        let mut queues: Vec<(VecDeque<Waiting>, VecDeque<Waiting>)> = (0..instances).map(|_| Default::default()).collect();
        for (waiting, reader) in waiting.into_iter().zip(readers) {
            if let Some((resumed, new)) = reader.and_then(|reader| queues.get_mut(reader)) {
                if waiting.from.is_some() { resumed } else { new }.push_back(waiting);
            }
        }
        let (resumed, new): (Vec<_>, Vec<_>) = queues.into_iter().unzip();
        let queues: Vec<Option<SplitQueue>> = new.into_iter().enumerate().map(|(i, q)| here(i).then(|| Arc::new(Mutex::new(q)))).collect();
        let position = self.position(node);
        let known = self.splits.get(&node).into_iter().flatten().map(|s| (s.partition, s.sequence));
        let known = known.chain(position.iter().flat_map(|p| p.done.iter().copied())).collect();
        let discovery = Discovery::new(source, queues.clone(), known, self.mine.is_some());
        Ok(resumed.into_iter().zip(queues).filter_map(|(resumed, queue)| Some((resumed, queue?, discovery.clone()))).collect())
    }

    /// Where a source stood.
    fn position(&self, node: usize) -> Option<&SourcePosition> {
        let name = &self.plan.nodes.get(node)?.name;
        self.checkpoint.and_then(|c| c.positions.iter().find(|p| p.node == *name))
    }
    /// The splits of a source that are still to read, in order.
    pub(super) fn waiting(&self, node: usize, source: &dyn Source) -> Vec<Waiting> {
        let position = self.position(node);
        let mut waiting = Vec::new();
        for split in self.splits.get(&node).into_iter().flatten() {
            if position.is_some_and(|p| p.done.contains(&(split.partition, split.sequence))) {
                continue;
            }
            let from = position.and_then(|p| p.open.iter().find(|o| (o.partition, o.sequence) == (split.partition, split.sequence)));
            let new = position.is_some() && from.is_none() && !source.bounded();
            let split = if new { source.later(split.clone()) } else { split.clone() };
            waiting.push(Waiting { split, from: from.cloned() });
        }
        waiting.sort_by_key(|w| (w.split.partition, w.split.sequence));
        waiting
    }
    /// The instance that reads each of them; of those that end, only of the ones that were being read.
    pub(super) fn readers(&self, bounded: bool, waiting: &[Waiting], instances: usize) -> Vec<Option<usize>> {
        let mut open = (0..instances.max(1)).cycle();
        let reader = |(i, w): (usize, &Waiting)| match &w.from {
            None if bounded => None,
            Some(_) if bounded => open.next(),
            _ if self.mine.is_some() => Some(reader_of(&w.split, instances)),
            _ => Some(i % instances.max(1)),
        };
        waiting.iter().enumerate().map(reader).collect()
    }

    fn node(&self, node: usize, stage: &[usize], instance: usize, matrix: &Matrix) -> Result<ChainNode> {
        let plan = at(&self.plan.nodes, node)?;
        let of = *at(&self.graph.instances, node)?;
        let operator: Option<Box<dyn Operator>> = match &plan.work {
            Work::Source(_) => None,
            Work::Operator(factory) => {
                let mut operator = factory.create(Instance { index: instance, of })?;
                let here = self.here(*at(&self.graph.stage_of, node)?);
                if let Some(memory) = lock(self.ledger).memory(node, &plan.name, here) {
                    operator.memory(memory);
                }
                if let Some(disk) = &self.state_disk {
                    operator.state_on_disk(disk, here)?;
                }
                Some(operator)
            }
            Work::Sink => {
                let sink = self.sinks.get(&node).ok_or_else(|| Error::usage(format!("no sink is bound to `{}`", plan.name)))?;
                let takes_part = self.options.checkpoint_dir.is_some() && lock(sink).two_phase().is_some();
                Some(Box::new(SinkOperator {
                    sink: Arc::clone(sink),
                    written: (self.options.cuts() && !takes_part).then(Vec::new),
                    prepared: takes_part.then_some(self.epoch),
                    kept: 0,
                    patience: (self.options.retries, self.options.retry_wait),
                    retry: Retry::default(),
                    waiting: None,
                    pause: None,
                }))
            }
        };
        let mut below = Vec::new();
        let mut outlets = Vec::new();
        for &(consumer, edge) in at(&self.graph.consumers, node)? {
            let input = at(&at(&self.plan.nodes, consumer)?.inputs, edge)?;
            match matrix.get(&(consumer, edge)) {
                Some(_) if at(&self.plan.nodes, consumer)?.side => {
                    return Err(Error::internal("dead letters, late or bad rows leave the task that they come from"));
                }
                Some(rows) => {
                    let channels: Option<Vec<_>> = at(rows, instance)?.iter().cloned().collect();
                    let channels = channels.ok_or_else(|| Error::internal("an edge without channels"))?;
                    let mut outlet = Outlet::new(&input.exchange, instance, of, channels);
                    if at(&self.plan.nodes, consumer)?.in_groups {
                        outlet = outlet.in_groups();
                    }
                    outlets.push(match &input.exchange {
                        Exchange::Custom(_) | Exchange::Turns if plan.bounded => {
                            let by_row = !plan.single;
                            outlet.placing(Places::new(by_row, instance, self.epoch))
                        }
                        _ => outlet,
                    });
                }
                None => below.extend(stage.iter().position(|n| *n == consumer).map(|i| (i, input.port))),
            }
        }
        let ports = plan.inputs.iter().map(|i| i.port + 1).max().unwrap_or(0);
        let is = |i: usize, what: fn(&crate::operator::PhysicalNode) -> bool| {
            stage.get(i).and_then(|n| self.plan.nodes.get(*n)).is_some_and(what)
        };
        let of = |what| below.iter().map(|(i, _)| *i).filter(|i| is(*i, what)).collect();
        Ok(ChainNode {
            plan: node,
            instance,
            name: plan.name.as_str().into(),
            operator,
            side: of(|n| n.side && !n.bad),
            bad: of(|n| n.bad),
            below,
            outlets,
            times: vec![EventTime::MIN; ports],
            time_sent: EventTime::MIN,
            open_ports: ports,
            account: Account::default(),
            satisfied: false,
            stamp: Stamp::Keep,
            held: Holding::default(),
            sink: matches!(plan.work, Work::Sink),
            stateful: plan.stateful,
            checker: Checker::new(plan.event.as_ref()).filter(|_| !matches!(plan.work, Work::Source(_))),
        })
    }

    fn inlet(&self, node: usize, instance: usize, matrix: &Matrix, read: &BTreeSet<SplitKey>) -> Result<Inlet> {
        let plan = at(&self.plan.nodes, node)?;
        let mut channels = Vec::new();
        let mut edges = Vec::new();
        let mut ports = 0;
        for (edge, input) in plan.inputs.iter().enumerate() {
            let rows = matrix.get(&(node, edge)).ok_or_else(|| Error::internal("an edge without channels"))?;
            for (producer, row) in rows.iter().enumerate() {
                let channel = at(row, instance)?.clone().ok_or_else(|| Error::internal("an edge without channels"))?;
                channels.push(InChannel::new(channel, input.port, edge, producer));
            }
            let producers = if self.graph.read_by(self.plan, input.from).is_some() { 1 } else { rows.len() };
            edges.push(MarkedEdge { port: input.port, producers, sources: at(&self.graph.domains, input.from)?.clone() });
            ports = ports.max(input.port + 1);
        }
        if (0..ports).any(|p| plan.inputs.iter().all(|i| i.port != p)) {
            return Err(Error::Plan(format!("step `{}` has a port without an input", plan.name)));
        }
        let mut marks = Marks::new(edges);
        let all_saved = || self.checkpoint.iter().flat_map(|c| &c.marks).filter(|m| m.node == plan.name);
        let saved = all_saved().next();
        let home = plan.in_flight.as_ref().map(|_| Home::new(self, node, instance)).transpose()?;
        let mut gates = Vec::new();
        for port in 0..ports {
            if !self.ordered(node, port)? {
                gates.push(Gate::Arrival(VecDeque::new()));
                continue;
            }
            let mut domain = BTreeSet::new();
            for input in plan.inputs.iter().filter(|i| i.port == port) {
                domain.extend(at(&self.graph.domains, input.from)?.iter().copied());
            }
            let streaming = domain.iter().map(|s| (*s, marks.expected(port, *s) == 1)).collect();
            let of = |s: u32| self.splits.get(&(s as usize)).into_iter().flatten().map(move |split| (s, split.partition, split.sequence));
            let mut splits: Vec<SplitKey> = domain.iter().flat_map(|s| of(*s)).collect();
            splits.sort_unstable();
            let mut order = SourceOrder::new(Arc::new(splits.clone()), streaming);
            match saved.and_then(|m| m.delivered.get(port)) {
                Some(delivered) => {
                    let delivered: BTreeSet<_> = splits.into_iter().take(*delivered).collect();
                    order.skip(|s| delivered.contains(s));
                }
                // This input was inside a task at the checkpoint: nothing that was read was held back.
                None => order.skip(|s| read.contains(s)),
            }
            gates.push(Gate::Source(order));
        }
        let mut flights: Vec<_> = self.checkpoint.iter().flat_map(|c| &c.in_flight).filter(|f| f.node == plan.name).collect();
        // Rows of one producer stay in their order. Several may have become one, whose rows are taken to be in order.
        let split = |f: &InFlight| (f.edge, (f.origin.0, f.origin.1, f.origin.2));
        let mut producers: BTreeMap<_, BTreeSet<usize>> = BTreeMap::new();
        flights.iter().for_each(|f| _ = producers.entry(split(f)).or_default().insert(f.producer));
        let several = |f: &InFlight| producers.get(&split(f)).is_some_and(|p| p.len() > 1);
        // What a key's rows that do not end came in is an order that no origin tells: there they stay in that of arrival.
        if home.is_none() || plan.bounded {
            flights.sort_by_key(|f| (split(f), if several(f) { (f.origin.3, f.producer) } else { (0, 0) }));
        }
        for flight in flights {
            let input = at(&plan.inputs, flight.edge)?;
            let (source, partition, split, row) = flight.origin;
            for batch in from_ipc(&flight.rows)? {
                let morsel = Morsel::new(batch, Origin { source, partition, split, row });
                let mine = match &home {
                    Some(home) => home.of(flight.instance).rows(morsel)?,
                    None => self.mine(&input.exchange, node, instance, flight.instance, morsel)?,
                };
                if let (Some(morsel), Some(gate)) = (mine, gates.get_mut(input.port)) {
                    gate.rows(Held { morsel, channel: NO_CHANNEL, bytes: 0, from: (flight.edge, flight.producer), also: Vec::new() });
                }
            }
        }
        let mut queued: BTreeSet<(usize, SplitKey)> = all_saved().flat_map(|m| &m.queued).copied().collect();
        for (split, edges, delivered) in saved.iter().flat_map(|m| &m.open) {
            for port in marks.restore(*split, edges, delivered) {
                match gates.get_mut(port) {
                    Some(Gate::Source(order)) => order.split_ended(*split),
                    // rows came in order before this step, and come as they are now
                    Some(Gate::Arrival(_)) => {
                        queued.extend(plan.inputs.iter().position(|i| i.port == port).map(|edge| (edge, *split)));
                    }
                    None => {}
                }
            }
        }
        for (edge, split) in &queued {
            if let Some(Gate::Arrival(queue)) = gates.get_mut(at(&plan.inputs, *edge)?.port) {
                queue.push_back(Passed::Marked(*edge, *split));
            }
        }
        let straight = home.as_ref().filter(|_| self.graph.read_by(self.plan, node).is_some());
        let ends = straight.map(|home| {
            let elsewhere = queued.iter().map(|(_, split)| *split).filter(|split| !home.tells(split));
            OwnEnds { instance, elsewhere: elsewhere.collect() }
        });
        Ok(Inlet::new(channels, gates, marks, home.map(|_| Slow { ends })))
    }

    /// The part of rows in flight to instance `was` that now belongs to `instance`.
    pub(super) fn mine(&self, exchange: &Exchange, node: usize, instance: usize, was: usize, morsel: Morsel) -> Result<Option<Morsel>> {
        let of = *at(&self.graph.instances, node)?;
        Ok(match exchange {
            Exchange::Hash(columns) => {
                Partitioner::new(columns.clone(), of).split(morsel)?.into_iter().find(|(i, _)| *i == instance).map(|(_, m)| m)
            }
            Exchange::Range(column) => {
                Partitioner::by_range(column.clone(), of).split(morsel)?.into_iter().find(|(i, _)| *i == instance).map(|(_, m)| m)
            }
            Exchange::Custom(column) => {
                ByNumber::new(column.clone(), of).split(morsel)?.into_iter().find(|(i, _)| *i == instance).map(|(_, m)| m)
            }
            Exchange::Broadcast => (was == 0).then_some(morsel),
            Exchange::Splits => (morsel.origin.instance(of) == instance).then_some(morsel),
            _ => (was % of == instance).then_some(morsel),
        })
    }

    /// Gives the operators of one instance the states of their key groups; or of the splits that it goes on with, or is sent, so
    /// that floats are added in the order of an uninterrupted run. What a broadcast built is the same in all instances, so that
    /// of instance 0 goes to all.
    /// Returns those that were given by key group, or as layers.
    fn restore(
        &self,
        nodes: &[usize],
        instance: usize,
        resumed: &BTreeSet<SplitKey>,
        chain: &mut Chain,
    ) -> Result<Vec<(usize, NodeState)>> {
        let mut restored = Vec::new();
        let root = nodes.first().and_then(|n| self.plan.nodes.get(*n));
        let first = nodes.first().copied().unwrap_or_default();
        let home = root.filter(|r| r.in_flight.is_some()).map(|_| Home::new(self, first, instance)).transpose()?;
        let sourced = self.graph.read_by(self.plan, first).is_some_and(|source| self.plan.nodes.get(source).is_some_and(|s| s.bounded));
        let sent = root.is_some_and(|r| r.inputs.iter().any(|i| i.exchange == Exchange::Splits));
        let all = || self.checkpoint.iter().flat_map(|c| &c.states);
        let passing = |s: &NodeState| self.plan.nodes.iter().any(|n| n.in_flight.is_some() && n.name == s.node);
        for saved in all().filter(|s| passing(s)) {
            let node = self.index(&saved.node)?;
            if let Some(home) = home.as_ref().filter(|_| nodes.contains(&node)) {
                chain.restore_rows(node, &saved.state, &home.of(saved.instance))?;
            }
        }
        let states = || all().filter(|s| !passing(s));
        for saved in states().filter(|s| s.state.group == SHARED) {
            let node = self.index(&saved.node)?;
            if nodes.contains(&node) {
                chain.restore(node, &saved.state)?;
            }
        }
        for layers in layers_of(states()) {
            let Some(first) = layers.first() else { continue };
            let node = self.index(&first.node)?;
            let of = *at(&self.graph.instances, node)?;
            let bytes: Vec<&[u8]> = layers.iter().map(|s| s.state.bytes.as_slice()).collect();
            let mine = |group| instance_of(group, KEY_GROUPS, of) == instance;
            if nodes.contains(&node)
                && first.concerns(instance, of)
                && chain.restore_layers(node, &bytes, &mine)?
                && self.options.checkpoint_dir.is_some()
            {
                restored.extend(layers.iter().map(|s| (instance, s.noted())));
            }
        }
        for saved in states().filter(|s| ![SHARED, LAYERED].contains(&s.state.group)) {
            let node = self.index(&saved.node)?;
            if !nodes.contains(&node) {
                continue;
            }
            let of = *at(&self.graph.instances, node)?;
            let mine = |origin: Origin| match &home {
                _ if sent => origin.instance(of) == instance,
                Some(home) => home.has(&split_key(&origin)),
                None => resumed.contains(&split_key(&origin)),
            };
            if (sourced || sent) && chain.restore_splits(node, &saved.state, &mine)? {
                continue;
            }
            let broadcast = at(&self.plan.nodes, node)?.copied();
            let here = if broadcast { saved.instance == 0 } else { instance_of(saved.state.group, KEY_GROUPS, of) == instance };
            if here {
                chain.restore(node, &saved.state)?;
                if !broadcast && self.options.checkpoint_dir.is_some() {
                    restored.push((instance, saved.noted()));
                }
            }
        }
        Ok(restored)
    }
}
