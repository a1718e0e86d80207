//! Where a row is in source order: its split, who made it, and the how many-th it was there.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::Origin;
use crate::operator::{GroupState, Instance, SHARED};
use crate::{Error, Result};

/// Rows that came one after the other. Their order is the source order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Label {
    /// The source, or [`NO_SOURCE`].
    pub(super) source: u32,
    pub(super) partition: u32,
    pub(super) split: u64,
    /// How often the job had gone on from a checkpoint when they came.
    pub(super) generation: u32,
    /// To which instance.
    pub(super) instance: u32,
    /// The node that they are from.
    pub(super) from: u32,
}

/// Behind all sources: rows of no split.
const NO_SOURCE: u32 = u32::MAX;

/// Gives the rows of an instance their labels.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    sources: std::sync::Arc<BTreeSet<u32>>,
    instance: Instance,
    generation: u32,
}

impl Labels {
    /// For an instance behind these sources.
    pub(super) fn new(sources: std::sync::Arc<BTreeSet<u32>>, instance: Instance) -> Self {
        Labels { sources, instance, generation: 0 }
    }
    /// The label of the rows of a morsel.
    pub(super) fn of(&self, origin: Origin) -> Label {
        Label {
            source: if self.sources.contains(&origin.source) { origin.source } else { NO_SOURCE },
            partition: origin.partition,
            split: origin.split,
            generation: self.generation,
            instance: self.instance.index as u32,
            from: origin.source,
        }
    }
    /// What every instance of a job that goes on must know.
    pub(super) fn save(&self) -> GroupState {
        GroupState { group: SHARED, bytes: self.generation.to_le_bytes().to_vec() }
    }
    /// The job goes on: what comes now is behind what came before. Whether this was the state of labels.
    pub(super) fn restore(&mut self, state: &GroupState) -> Result<bool> {
        if state.group != SHARED {
            return Ok(false);
        }
        let bytes = state.bytes.as_slice().try_into().map_err(|_| Error::Checkpoint("the generation of a sort is cut short".into()))?;
        self.generation = self.generation.max(u32::from_le_bytes(bytes).saturating_add(1));
        Ok(true)
    }
    pub(super) fn instance(&self) -> Instance {
        self.instance
    }
}

/// How many rows each label has.
pub(super) type Counts = BTreeMap<Label, u64>;

/// The number of each label's first row.
pub(super) fn bases(counts: &Counts) -> Counts {
    let mut next = 0;
    let base = |(label, rows): (&Label, &u64)| {
        let base = next;
        next += rows;
        (*label, base)
    };
    counts.iter().map(base).collect()
}
