//! What the steps of a share do, told without stopping them.
//!
//! Idea: a task that has no turn can be looked at; one that has leaves its figures at the end of the first turn after the last reading.
//! So a reading costs a few loads per turn, and waits for nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::NodeMetrics;
use crate::operator::{Account, EventTime};
use crate::runtime::job::Job;
use crate::runtime::task::{Root, Task};
use crate::runtime::util::lock;

pub(super) struct Meter {
    /// How often it was read.
    readings: AtomicU64,
    tasks: Vec<Last>,
    /// The first step of each task.
    roots: Vec<usize>,
}

#[derive(Default)]
struct Last {
    /// The reading before which the figures were left.
    left: AtomicU64,
    figures: Mutex<Vec<Figures>>,
}

/// One instance of a step.
#[derive(Clone)]
struct Figures {
    node: usize,
    account: Account,
    watermark: Option<EventTime>,
    held: u64,
}

fn figures(task: &Task) -> Vec<Figures> {
    let read = if let Root::Feed(feed) = &task.root { Some(feed.time()) } else { None };
    let told = |time: EventTime| Some(time).filter(|t| *t > EventTime::MIN);
    let of = |n: &crate::runtime::chain::ChainNode| Figures {
        node: n.plan,
        account: n.account,
        watermark: told(if n.operator.is_none() { read.unwrap_or(EventTime::MIN) } else { n.time_sent }),
        held: (n.held.fixed + n.held.spillable) as u64,
    };
    task.chain.nodes.iter().map(of).collect()
}

impl Meter {
    pub(super) fn new(nodes: &[Vec<usize>]) -> Meter {
        let roots = nodes.iter().filter_map(|n| n.first().copied()).collect();
        Meter { readings: AtomicU64::new(1), tasks: nodes.iter().map(|_| Last::default()).collect(), roots }
    }
    /// A task has had a turn; it is `over`, perhaps.
    pub(super) fn turn(&self, task: &Task, over: bool) {
        let Some(last) = self.tasks.get(task.id) else { return };
        let reading = self.readings.load(Relaxed);
        if over || last.left.load(Relaxed) != reading {
            last.left.store(reading, Relaxed);
            *lock(&last.figures) = figures(task);
        }
    }
    /// The steps that are here.
    pub(super) fn read(&self, job: &Job) -> Vec<NodeMetrics> {
        self.readings.fetch_add(1, Relaxed);
        let mut nodes: BTreeMap<usize, NodeMetrics> = BTreeMap::new();
        for (slot, last) in job.slots().iter().zip(&self.tasks) {
            if let Ok(task) = slot.task.try_lock()
                && let Some(task) = task.as_ref()
            {
                *lock(&last.figures) = figures(task);
            }
            for f in lock(&last.figures).iter() {
                let new = NodeMetrics { node: f.node, watermark: f.watermark, ..NodeMetrics::default() };
                let node = nodes.entry(f.node).or_insert(new);
                node.instances += 1;
                node.account.add(&f.account);
                node.watermark = node.watermark.zip(f.watermark).map(|(a, b)| a.min(b));
                node.held += f.held;
            }
        }
        let mut blocked = BTreeSet::new();
        for channel in &job.channels {
            if let Some(node) = self.roots.get(channel.consumer).and_then(|n| nodes.get_mut(n)) {
                node.queued += channel.bytes() as u64;
            }
            if channel.waited_for() {
                blocked.insert(channel.producer);
            }
        }
        for task in blocked {
            if let Some(node) = self.roots.get(task).and_then(|n| nodes.get_mut(n)) {
                node.blocked += 1;
            }
        }
        nodes.into_values().collect()
    }
}
