//! Who holds how much memory, and who has to give some back.
//!
//! Idea: every task reports what its operators hold after each morsel. If all together hold more than half of the budget, the
//! task whose operators can spill the most is asked to: itself at once, another one by a wake-up. Tasks that hold little are
//! left alone, so that a job whose memory is taken by steps that cannot spill does not write a file per morsel. What cannot
//! spill may not exceed the budget: the job ends with an error that names the step.
//!
//! The other half of the budget is for what nobody counts row by row: queues (a quarter at most, see [`Ledger::queue`]), what
//! operators need to work on spilled rows, and the rows that are being worked on.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::operator::{Memory, SpillDir};
use crate::{Error, Result};

/// Operators may hold this part of the budget before they spill.
const OPERATORS: usize = 2;
/// All queues together may hold this part of the budget.
const QUEUES: usize = 4;
/// The smallest limit of a queue, in bytes: less than a morsel.
const SMALLEST_QUEUE: usize = 16 << 10;
/// A task is asked to spill if it holds this part of an even share.
const WORTH: usize = 8;
/// Memory for which one more instance is started, if the number of threads is left to the engine: what a partial
/// aggregate and a partial sort may hold, with their queues.
const PER_INSTANCE: usize = 32 << 20;

/// Instances that a budget has room for.
pub(super) fn instances(budget: Option<usize>, threads: usize) -> usize {
    budget.map_or(threads, |b| threads.min((b / PER_INSTANCE).max(1)))
}

/// What a node or a task holds: bytes that it can spill, and others.
#[derive(Default)]
struct Held {
    fixed: AtomicUsize,
    spillable: AtomicUsize,
}

/// What an operator instance holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) fixed: usize,
    pub(super) spillable: usize,
}

/// Who shall spill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relief {
    Nobody,
    Task(usize),
}

pub(super) struct Ledger {
    pub(super) budget: Option<usize>,
    dir: Option<SpillDir>,
    nodes: Vec<Held>,
    tasks: Vec<Held>,
    memories: Vec<Vec<Memory>>,
}

impl Ledger {
    /// For a plan of so many nodes; without a budget nothing is spilled.
    pub(super) fn new(budget: Option<usize>, dir: Option<SpillDir>, nodes: usize) -> Self {
        let held = |n: usize| (0..n).map(|_| Held::default()).collect();
        Ledger { budget, dir, nodes: held(nodes), tasks: Vec::new(), memories: vec![Vec::new(); nodes] }
    }
    pub(super) fn tasks(&mut self, tasks: usize) {
        self.tasks = (0..tasks).map(|_| Held::default()).collect();
    }
    /// The memory of one of `of` instances of a node.
    pub(super) fn memory(&mut self, node: usize, name: &str, of: usize) -> Option<Memory> {
        let memory = Memory::new(name, self.budget? / OPERATORS / of.max(1), self.dir.clone()?);
        self.memories.get_mut(node)?.push(memory.clone());
        Some(memory)
    }
    /// The limit of one of `queues` inputs of instances, which would be `wanted` without a budget.
    pub(super) fn queue(budget: Option<usize>, wanted: usize, queues: usize) -> usize {
        budget.map_or(wanted, |b| wanted.min((b / QUEUES / queues.max(1)).max(SMALLEST_QUEUE)))
    }
    /// An instance of `node`, run by `task`, held `before` and holds `now`.
    ///
    /// # Errors
    /// If what cannot be spilled exceeds the budget.
    pub(super) fn holds(&self, node: usize, task: usize, before: Holding, now: Holding, names: &[String]) -> Result<()> {
        for held in [self.nodes.get(node), self.tasks.get(task)].into_iter().flatten() {
            held.fixed.fetch_add(now.fixed, SeqCst);
            held.fixed.fetch_sub(before.fixed, SeqCst);
            held.spillable.fetch_add(now.spillable, SeqCst);
            held.spillable.fetch_sub(before.spillable, SeqCst);
        }
        let Some(budget) = self.budget else { return Ok(()) };
        if now.fixed <= before.fixed {
            return Ok(());
        }
        let fixed: Vec<usize> = self.nodes.iter().map(|h| h.fixed.load(SeqCst)).collect();
        if fixed.iter().sum::<usize>() <= budget {
            return Ok(());
        }
        let biggest = fixed.into_iter().zip(names).max_by_key(|(held, _)| *held);
        let (held, operator) = biggest.map_or((0, String::new()), |(h, n)| (h, n.clone()));
        Err(Error::Memory { operator, held, budget })
    }
    /// Who shall spill now.
    pub(super) fn relief(&self) -> Relief {
        let Some(budget) = self.budget else { return Relief::Nobody };
        let (mut total, mut some, mut most) = (0, 0, (0, 0));
        for (task, held) in self.tasks.iter().enumerate() {
            let spillable = held.spillable.load(SeqCst);
            total += held.fixed.load(SeqCst) + spillable;
            some += usize::from(spillable > 0);
            most = most.max((spillable, task));
        }
        let limit = budget / OPERATORS;
        if total > limit && most.0 > limit / (WORTH * some.max(1)) { Relief::Task(most.1) } else { Relief::Nobody }
    }
    /// Bytes that the instances of each node have spilled.
    pub(super) fn spilled(&self) -> Vec<u64> {
        self.memories.iter().map(|m| m.iter().map(Memory::spilled).sum()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_task_that_can_spill_the_most_is_asked() {
        let names = ["a".to_owned(), "b".to_owned()];
        let mut ledger = Ledger::new(Some(1000), None, 2);
        ledger.tasks(3);
        let hold = |fixed, spillable| Holding { fixed, spillable };
        ledger.holds(0, 0, hold(0, 0), hold(0, 200), &names).unwrap();
        ledger.holds(0, 1, hold(0, 0), hold(100, 199), &names).unwrap();
        assert_eq!(ledger.relief(), Relief::Nobody);
        ledger.holds(1, 2, hold(0, 0), hold(2, 0), &names).unwrap();
        assert_eq!(ledger.relief(), Relief::Task(0));
        ledger.holds(0, 0, hold(0, 200), hold(0, 10), &names).unwrap();
        assert_eq!(ledger.relief(), Relief::Nobody);
        // what cannot spill: task 1 has too little to be worth a file
        ledger.holds(0, 1, hold(100, 199), hold(100, 20), &names).unwrap();
        ledger.holds(1, 2, hold(2, 0), hold(890, 0), &names).unwrap();
        assert_eq!(ledger.relief(), Relief::Nobody);
        let error = ledger.holds(1, 2, hold(890, 0), hold(901, 0), &names).unwrap_err();
        assert!(matches!(error, Error::Memory { operator, held: 901, budget: 1000 } if operator == "b"));
    }
}
