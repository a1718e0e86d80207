//! From nodes to stages: which operators share a task, and how many instances each has.
//!
//! A node joins the stage of its producer if it has no other input, both have as many instances, and rows go straight
//! through. There is one exception, for the sake of *equal results at any thread count*: an input that wants source
//! order is only fused if its stage emits in that order anyway (a source followed by stateless steps). Otherwise it
//! becomes a stage of its own whose [gate](super::gate) restores the order, also with a single instance. An operator that
//! answers rows later begins a stage, so that it can refuse input.

use std::collections::BTreeSet;

use super::share::StageShape;
use super::util::at;
use crate::operator::{Exchange, Input, PhysicalPlan, Work};
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct Stage {
    /// Plan nodes, root first, in topological order.
    pub(super) nodes: Vec<usize>,
    pub(super) instances: usize,
}

#[derive(Debug)]
pub(super) struct Graph {
    /// Instances of each node.
    pub(super) instances: Vec<usize>,
    /// Stage of each node.
    pub(super) stage_of: Vec<usize>,
    pub(super) stages: Vec<Stage>,
    /// The bounded sources whose split marks reach each node.
    pub(super) domains: Vec<BTreeSet<u32>>,
    /// For each node, (consumer, index of the edge in its inputs).
    pub(super) consumers: Vec<Vec<(usize, usize)>>,
}

impl Graph {
    /// Stages of `plan` at `threads` instances. `apart(producer, consumer)` keeps two nodes in different stages.
    pub(super) fn new(plan: &PhysicalPlan, threads: usize, apart: impl Fn(usize, usize) -> bool) -> Result<Graph> {
        let mut g = Graph {
            instances: Vec::new(),
            stage_of: Vec::new(),
            stages: Vec::new(),
            domains: Vec::new(),
            consumers: vec![Vec::new(); plan.nodes.len()],
        };
        for (n, node) in plan.nodes.iter().enumerate() {
            let source = matches!(node.work, Work::Source(_));
            if source != node.inputs.is_empty() {
                return Err(Error::Plan(format!("node `{}`: a source has no inputs, all else has some", node.name)));
            }
            if node.inputs.iter().any(|i| i.from >= n) {
                return Err(Error::Plan(format!("node `{}` comes before its input", node.name)));
            }
            let instances = g.count(&node.inputs, node.single || matches!(node.work, Work::Sink), threads)?;
            let mut domain = BTreeSet::new();
            if source && node.bounded {
                domain.insert(n as u32);
            }
            for (edge, input) in node.inputs.iter().enumerate() {
                domain.extend(at(&g.domains, input.from)?);
                if let Some(consumers) = g.consumers.get_mut(input.from) {
                    consumers.push((n, edge));
                }
            }
            let stage = match node.inputs.as_slice() {
                [only] if !node.later && !apart(only.from, n) && g.fuses(plan, only, instances)? => *at(&g.stage_of, only.from)?,
                _ => {
                    g.stages.push(Stage { nodes: Vec::new(), instances });
                    g.stages.len() - 1
                }
            };
            if let Some(stage) = g.stages.get_mut(stage) {
                stage.nodes.push(n);
            }
            g.instances.push(instances);
            g.stage_of.push(stage);
            g.domains.push(domain);
        }
        Ok(g)
    }

    fn count(&self, inputs: &[Input], single: bool, threads: usize) -> Result<usize> {
        if single || inputs.iter().any(|i| i.exchange == Exchange::Gather) {
            return Ok(1);
        }
        let mut forward = None;
        for input in inputs.iter().filter(|i| i.exchange == Exchange::Forward) {
            forward = forward.max(Some(*at(&self.instances, input.from)?));
        }
        Ok(forward.unwrap_or(threads))
    }

    fn fuses(&self, plan: &PhysicalPlan, input: &Input, instances: usize) -> Result<bool> {
        let straight = *at(&self.instances, input.from)? == instances && (input.exchange == Exchange::Forward || instances == 1);
        Ok(straight && (!input.ordered || !at(&plan.nodes, input.from)?.bounded || self.in_source_order(plan, input.from)?))
    }

    /// Whether the stage of `node` emits in source order as it is: a source followed by stateless steps.
    fn in_source_order(&self, plan: &PhysicalPlan, node: usize) -> Result<bool> {
        let stage = at(&self.stages, *at(&self.stage_of, node)?)?;
        let mut nodes = stage.nodes.iter().filter_map(|n| plan.nodes.get(*n));
        Ok(nodes.next().is_some_and(|root| root.inputs.is_empty()) && nodes.all(|n| !n.stateful))
    }

    /// The stages as they are told outside.
    pub(super) fn shapes(&self, plan: &PhysicalPlan) -> Vec<StageShape> {
        let node = |n: &usize| plan.nodes.get(*n);
        let shape = |stage: &Stage| {
            let root = stage.nodes.first().and_then(node);
            let nodes = || stage.nodes.iter().filter_map(node);
            StageShape {
                nodes: nodes().map(|n| n.name.clone()).collect(),
                instances: stage.instances,
                source: root.is_some_and(|r| matches!(r.work, Work::Source(_))),
                sink: nodes().any(|n| matches!(n.work, Work::Sink)),
                inputs: root.iter().flat_map(|r| &r.inputs).filter_map(|i| self.stage_of.get(i.from).copied()).collect(),
            }
        };
        self.stages.iter().map(shape).collect()
    }

    /// The source whose splits are, in the stage of `node`, at the instances that read them, each brought and ended by one alone: that of
    /// the stage, or of the one before a step that only answers later.
    pub(super) fn read_by(&self, plan: &PhysicalPlan, node: usize) -> Option<usize> {
        let stage = self.stage_of.get(node).and_then(|s| self.stages.get(*s))?;
        let number = *stage.nodes.first()?;
        let root = plan.nodes.get(number)?;
        match root.inputs.as_slice() {
            [] => Some(number),
            [only] if root.in_flight.is_some() && only.exchange == Exchange::Forward => {
                let as_many = self.instances.get(only.from) == Some(&stage.instances);
                self.read_by(plan, only.from).filter(|_| as_many)
            }
            _ => None,
        }
    }
}
