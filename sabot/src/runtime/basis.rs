//! What the last checkpoint holds of each operator instance, so that the next one need not write it again.
//!
//! States of key groups go into files beside the checkpoints, one file per instance and checkpoint with all that has changed; small
//! ones stay in the checkpoint itself, since a file costs a sync. A key group that its operator
//! [calls unchanged](crate::operator::Delta::unchanged), or that comes out as the same bytes, is named where it is.
//!
//! A file stays as long as a checkpoint names a part of it. So that little-used files do not pile up, an instance is asked for a whole
//! cut when less than half of its files is still in use.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::checkpoint::{NodeState, Stored};
use crate::kernel::hash::hash_bytes;
use crate::operator::{Delta, GroupState};
use crate::{Error, Result};

/// Bytes of one instance's states that stay in the checkpoint: what a disk writes in about the time of the sync that another file
/// would cost.
const INLINE: usize = 16 << 10;

/// Unused bytes in the files of an instance that are not worth a whole cut.
const SLACK: u64 = 1 << 20;

/// Where a state is.
#[derive(Clone)]
enum Last {
    File(Stored),
    Here(Arc<Vec<u8>>),
}

/// The states of each instance of each step, by key group.
#[derive(Default)]
pub(super) struct Basis {
    of: HashMap<(String, usize), BTreeMap<u16, Last>>,
    /// The length of each file.
    files: HashMap<String, u64>,
}

/// States that shall be written to a file together, and where each is to be noted.
pub(super) struct Sorted {
    pub(super) states: Vec<NodeState>,
    /// The states that must go to a file; none if all that is new is small.
    pub(super) to_file: Vec<usize>,
}

impl Basis {
    /// Whether an instance may name what has not changed.
    pub(super) fn knows(&self, node: &str, instance: usize) -> bool {
        self.of.get(&(node.to_owned(), instance)).is_some_and(|last| !self.worn(last))
    }
    /// Whether most of the files of an instance is not in use any more.
    fn worn(&self, last: &BTreeMap<u16, Last>) -> bool {
        let stored = || last.values().filter_map(|l| if let Last::File(s) = l { Some(s) } else { None });
        let used: u64 = stored().map(|s| s.length).sum();
        let names: BTreeSet<&str> = stored().map(|s| s.file.as_str()).collect();
        let all: u64 = names.iter().filter_map(|n| self.files.get(*n)).sum();
        all > 2 * used + SLACK
    }
    /// Sorts a cut into what is known, what is small, and what is to be written to a file.
    pub(super) fn sort(&self, node: &str, instance: usize, delta: Delta) -> Result<Sorted> {
        let nothing = BTreeMap::new();
        let known = self.of.get(&(node.to_owned(), instance)).filter(|last| !self.worn(last)).unwrap_or(&nothing);
        let state = |group, bytes, stored| NodeState { node: node.to_owned(), instance, state: GroupState { group, bytes }, stored };
        let mut states = Vec::new();
        for GroupState { group, bytes } in delta.states {
            let hash = known.get(&group).map(|_| hash_bytes(&bytes));
            states.push(match known.get(&group) {
                Some(Last::File(s)) if Some(s.hash) == hash && s.length == bytes.len() as u64 => state(group, Vec::new(), Some(s.clone())),
                _ => state(group, bytes, None),
            });
        }
        for group in delta.unchanged {
            states.push(match known.get(&group) {
                Some(Last::File(s)) => state(group, Vec::new(), Some(s.clone())),
                Some(Last::Here(bytes)) => state(group, bytes.to_vec(), None),
                None => return Err(Error::internal(format!("`{node}` calls key group {group} unchanged, which no checkpoint holds"))),
            });
        }
        let new: Vec<usize> = states.iter().enumerate().filter(|(_, s)| s.stored.is_none()).map(|(i, _)| i).collect();
        let bytes: usize = states.iter().map(NodeState::bytes).sum();
        Ok(Sorted { states, to_file: if bytes > INLINE { new } else { Vec::new() } })
    }
    /// The file in which states are has this length.
    pub(super) fn file(&mut self, name: &str, length: u64) {
        self.files.insert(name.to_owned(), length);
    }
    /// The files that are still there.
    pub(super) fn retain(&mut self, there: impl Fn(&str) -> bool) {
        self.files.retain(|name, _| there(name));
    }
    /// The files that some instance names.
    pub(super) fn tidy(&mut self) {
        let of = |last: &Last| if let Last::File(stored) = last { Some(stored.file.clone()) } else { None };
        let named: BTreeSet<String> = self.of.values().flat_map(BTreeMap::values).filter_map(of).collect();
        self.retain(|file| named.contains(file));
    }
    /// A cut of an instance is part of a checkpoint, or was restored to it.
    pub(super) fn note(&mut self, node: &str, instance: usize, states: &[NodeState]) {
        let last = |s: &NodeState| match &s.stored {
            Some(stored) => Last::File(stored.clone()),
            None => Last::Here(Arc::new(s.state.bytes.clone())),
        };
        self.of.insert((node.to_owned(), instance), states.iter().map(|s| (s.state.group, last(s))).collect());
    }
    /// The states that a job begins with, by the instance that has them now: known are steps whose key groups are each in one
    /// instance, and kept in files or small.
    pub(super) fn restored(&mut self, states: Vec<(usize, NodeState)>) {
        let mut nodes: BTreeMap<String, (BTreeSet<u16>, bool, usize)> = BTreeMap::new();
        for (_, s) in &states {
            let (groups, fits, here) = nodes.entry(s.node.clone()).or_insert_with(|| (BTreeSet::new(), true, 0));
            *fits &= groups.insert(s.state.group) && (s.stored.is_some() || !s.state.bytes.is_empty());
            *here += s.bytes();
        }
        let mut by: BTreeMap<(String, usize), Vec<NodeState>> = BTreeMap::new();
        for (instance, s) in states {
            if nodes.get(&s.node).is_some_and(|(_, fits, here)| *fits && *here <= INLINE) {
                by.entry((s.node.clone(), instance)).or_default().push(s);
            }
        }
        for ((node, instance), states) in by {
            self.note(&node, instance, &states);
        }
    }
}

impl NodeState {
    /// What is to be remembered of a state that was restored: where it is, or itself if it is small.
    pub(super) fn noted(&self) -> NodeState {
        let small = self.stored.is_none() && self.state.bytes.len() <= INLINE;
        let bytes = if small { self.state.bytes.clone() } else { Vec::new() };
        NodeState {
            node: self.node.clone(),
            instance: self.instance,
            state: GroupState { group: self.state.group, bytes },
            stored: self.stored.clone(),
        }
    }
    fn bytes(&self) -> usize {
        self.stored.as_ref().map_or(self.state.bytes.len(), |_| 0)
    }
}
