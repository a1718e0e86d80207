//! Which nodes still want rows: a satisfied `limit` ends the sources that feed nothing else.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::util::lock;
use crate::operator::PhysicalPlan;

struct Node {
    /// Instances that want more.
    instances: usize,
    producers: Vec<usize>,
    consumers: Vec<usize>,
}

pub(super) struct Needs {
    nodes: Mutex<Vec<Node>>,
    over: Vec<AtomicBool>,
}

impl Needs {
    pub(super) fn new(plan: &PhysicalPlan, instances: &[usize]) -> Self {
        let mut nodes: Vec<Node> = instances.iter().map(|i| Node { instances: *i, producers: Vec::new(), consumers: Vec::new() }).collect();
        for (n, input) in plan.nodes.iter().enumerate().flat_map(|(n, node)| node.inputs.iter().map(move |i| (n, i))) {
            if let Some(consumer) = nodes.get_mut(n) {
                consumer.producers.push(input.from);
            }
            if let Some(producer) = nodes.get_mut(input.from) {
                producer.consumers.push(n);
            }
        }
        let over = nodes.iter().map(|_| AtomicBool::new(false)).collect();
        Needs { nodes: Mutex::new(nodes), over }
    }
    /// One instance of `node` wants no more. Returns whether that concerns any producer.
    pub(super) fn satisfied(&self, node: usize) -> bool {
        let mut nodes = lock(&self.nodes);
        let Some(instances) = nodes.get_mut(node).map(|n| &mut n.instances) else { return false };
        *instances = instances.saturating_sub(1);
        if *instances > 0 {
            return false;
        }
        let mut todo = vec![node];
        while let Some(node) = todo.pop() {
            if let Some(over) = self.over.get(node) {
                over.store(true, SeqCst);
            }
            let idle = |p: &&usize| nodes.get(**p).is_some_and(|p| p.consumers.iter().all(|c| self.over(*c)));
            todo.extend(nodes.get(node).iter().flat_map(|n| &n.producers).filter(idle));
        }
        true
    }
    /// Whether no one wants more of this node.
    pub(super) fn over(&self, node: usize) -> bool {
        self.over.get(node).is_some_and(|u| u.load(SeqCst))
    }
}
