//! Splits that appear while an endless source is read.
//!
//! The instances of a source share one of these. Whoever finds that it is time has the splits listed beside the tasks, and new ones are dealt out
//! to the instances in turn. An instance without a split stays, since it may get one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::feed::{SplitQueue, Waiting};
use super::job::Job;
use super::util::lock;
use crate::Result;
use crate::operator::{Source, Split};

pub(super) struct Discovery {
    source: Arc<dyn Source>,
    every: Duration,
    state: Mutex<State>,
}

struct State {
    /// Of each instance that is in this process.
    queues: Vec<Option<SplitQueue>>,
    known: BTreeSet<(u32, u64)>,
    /// When to list next; `None` while they are being listed.
    due: Option<Duration>,
    /// The instance that gets the next one; `None` if a split itself says which.
    turn: Option<usize>,
}

/// Which of `instances` reads a split of an endless source, where several processes must agree without a word.
pub(super) fn reader_of(split: &Split, instances: usize) -> usize {
    ((u64::from(split.partition) + split.sequence) % instances.max(1) as u64) as usize
}

impl Discovery {
    /// For a source that wants it. `known` are the splits that are read, were read, or are about to be. `fixed` if some instances are
    /// in other processes.
    pub(super) fn new(
        source: &Arc<dyn Source>,
        queues: Vec<Option<SplitQueue>>,
        known: BTreeSet<(u32, u64)>,
        fixed: bool,
    ) -> Option<Arc<Self>> {
        let every = source.pace().list_again.filter(|_| !source.bounded())?;
        let turn = (!fixed).then_some(known.len());
        let state = State { queues, turn, known, due: Some(every) };
        Some(Arc::new(Discovery { source: Arc::clone(source), every, state: Mutex::new(state) }))
    }
    /// Has the splits listed if it is time.
    pub(super) fn look(self: &Arc<Self>, job: &Arc<Job>) {
        let mut state = lock(&self.state);
        if state.due.is_none_or(|due| due > job.executor.now()) {
            return;
        }
        state.due = None;
        drop(state);
        let (own, awake) = (Arc::clone(self), Arc::clone(job));
        job.beside(Box::new(move || own.list(&awake)));
    }
    fn list(&self, job: &Arc<Job>) -> Result<()> {
        let found = match self.source.splits() {
            Ok(found) => found,
            Err(error) if error.is_transient() => {
                job.event(format!("{}: new partitions are looked for later: {error}", self.source.describe()));
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let mut new: Vec<Split> = {
            let known = &lock(&self.state).known;
            found.into_iter().filter(|s| !known.contains(&(s.partition, s.sequence))).collect()
        };
        new.sort_by_key(|s| (s.partition, s.sequence));
        if !new.is_empty() {
            job.event(format!("{}: {} more to read", self.source.describe(), count(new.len())));
        }
        let mut state = lock(&self.state);
        for split in new {
            state.known.insert((split.partition, split.sequence));
            let instances = state.queues.len().max(1);
            let instance = state.turn.map_or_else(|| reader_of(&split, instances), |turn| turn % instances);
            state.turn = state.turn.map(|turn| turn + 1);
            if let Some(Some(queue)) = state.queues.get(instance) {
                lock(queue).push_back(Waiting { split: self.source.later(split), from: None });
            }
        }
        state.due = Some(job.executor.now() + self.every);
        drop(state);
        job.wake_sources();
        Ok(())
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 partition or file".to_owned() } else { format!("{n} partitions or files") }
}
