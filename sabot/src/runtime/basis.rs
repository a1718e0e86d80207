//! What the last checkpoint holds of each operator instance, so that the next one need not write it again.
//!
//! States of key groups go into files beside the checkpoints, one file per instance and checkpoint with all that has changed; small
//! ones stay in the checkpoint itself, since a file costs a sync. A key group that its operator
//! [calls unchanged](crate::operator::Delta::unchanged), or that comes out as the same bytes, is named where it is.
//!
//! An operator that writes [layers](crate::operator::Layer) adds one to those that it has written. They stay as they are, and are named
//! again by each checkpoint.
//!
//! A file stays as long as a checkpoint names a part of it. So that little-used files do not pile up, an instance is asked for a whole
//! cut when less than half of its files, or of the rows of its layers, is still in use; and when its layers are many.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::checkpoint::{NodeState, Stored};
use super::checksum::checksum;
use crate::operator::{Delta, GroupState, LAYERED, LayerRows};
use crate::{Error, Result};

/// Bytes of one instance's states that stay in the checkpoint: what a disk writes in about the time of the sync that another file
/// would cost.
const INLINE: usize = 16 << 10;

/// Unused bytes in the files of an instance that are not worth a whole cut.
const SLACK: u64 = 1 << 20;

/// Rows in the layers of an instance that are not in its state any more and not worth a whole cut.
const SLACK_ROWS: u64 = 1 << 13;

/// Layers of an instance: each is read when a job continues, and named by each checkpoint. With one a second, what is written
/// because of it is the whole state every two minutes.
const LAYERS: usize = 128;

/// Where a state is.
#[derive(Clone)]
enum Last {
    File(Stored),
    Here(Arc<Vec<u8>>),
}

/// The states of an instance: by key group, or in layers.
#[derive(Default)]
struct Known {
    groups: BTreeMap<u16, Last>,
    layers: Vec<(Last, LayerRows)>,
}

/// The states of each instance of each step.
#[derive(Default)]
pub(super) struct Basis {
    of: HashMap<(String, usize), Known>,
    /// The length of each file.
    files: HashMap<String, u64>,
}

/// States that shall be written to a file together, and where each is to be noted.
pub(super) struct Sorted {
    pub(super) states: Vec<NodeState>,
    /// The states that must go to a file; none if all that is new is small.
    pub(super) to_file: Vec<usize>,
}

/// Where the states of a step are now.
#[derive(Default)]
struct Spread {
    groups: BTreeSet<u16>,
    /// The instance that has the layers of another, and the other way round.
    of: BTreeMap<usize, usize>,
    from: BTreeMap<usize, usize>,
    /// Whether something is in several places, or in none.
    unfit: bool,
    /// Bytes that are in no file.
    here: usize,
}

impl Basis {
    /// Whether an instance may name what has not changed.
    pub(super) fn knows(&self, node: &str, instance: usize) -> bool {
        self.of.get(&(node.to_owned(), instance)).is_some_and(|last| !self.worn(last))
    }
    /// Whether most of what was written of an instance is not in use any more, or its layers are too many.
    fn worn(&self, last: &Known) -> bool {
        let written: u64 = last.layers.iter().map(|(_, rows)| rows.written).sum();
        let live = last.layers.last().map_or(0, |(_, rows)| rows.live);
        if last.layers.len() >= LAYERS || written > 2 * live + SLACK_ROWS {
            return true;
        }
        // what is small stays in the checkpoint: better one layer of it than many
        let here = |(l, _): &(Last, LayerRows)| if let Last::Here(bytes) = l { Some(bytes.len()) } else { None };
        if last.layers.iter().map(here).sum::<Option<usize>>().is_some_and(|bytes| bytes > INLINE / 2) {
            return true;
        }
        let all = || last.groups.values().chain(last.layers.iter().map(|(l, _)| l));
        let stored = || all().filter_map(|l| if let Last::File(s) = l { Some(s) } else { None });
        let used: u64 = stored().map(|s| s.length).sum();
        let names: BTreeSet<&str> = stored().map(|s| s.file.as_str()).collect();
        let all: u64 = names.iter().filter_map(|n| self.files.get(*n)).sum();
        all > 2 * used + SLACK
    }
    /// Sorts a cut into what is known, what is small, and what is to be written to a file.
    pub(super) fn sort(&self, node: &str, instance: usize, delta: Delta) -> Result<Sorted> {
        let nothing = Known::default();
        let last = self.of.get(&(node.to_owned(), instance)).filter(|last| !self.worn(last));
        let known = &last.unwrap_or(&nothing).groups;
        let state = |group, bytes, stored| NodeState {
            node: node.to_owned(),
            instance,
            state: GroupState { group, bytes },
            stored,
            rows: None,
            of: 0,
        };
        let mut states = Vec::new();
        if let Some(layer) = delta.layer {
            let layered = |bytes, stored, rows| NodeState { rows: Some(rows), ..state(LAYERED, bytes, stored) };
            let below = match last {
                _ if layer.whole => &[][..],
                Some(last) => &last.layers,
                None => return Err(Error::internal(format!("`{node}` puts a layer on others, which no checkpoint holds"))),
            };
            for (last, rows) in below {
                states.push(match last {
                    Last::File(s) => layered(Vec::new(), Some(s.clone()), *rows),
                    Last::Here(bytes) => layered(bytes.to_vec(), None, *rows),
                });
            }
            if !layer.bytes.is_empty() {
                states.push(layered(layer.bytes, None, layer.rows));
            }
        }
        for GroupState { group, bytes } in delta.states {
            let hash = known.get(&group).map(|_| checksum(&bytes));
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
        let all = |known: &Known| known.groups.values().chain(known.layers.iter().map(|(l, _)| l)).filter_map(of).collect::<Vec<_>>();
        let named: BTreeSet<String> = self.of.values().flat_map(all).collect();
        self.retain(|file| named.contains(file));
    }
    /// A cut of an instance is part of a checkpoint, or was restored to it.
    pub(super) fn note(&mut self, node: &str, instance: usize, states: &[NodeState]) {
        let mut known = Known::default();
        for s in states {
            let last = match &s.stored {
                Some(stored) => Last::File(stored.clone()),
                None => Last::Here(Arc::new(s.state.bytes.clone())),
            };
            match s.rows {
                Some(rows) => known.layers.push((last, rows)),
                None => drop(known.groups.insert(s.state.group, last)),
            }
        }
        self.of.insert((node.to_owned(), instance), known);
    }
    /// The states that a job begins with, by the instance that has them now: known are steps whose key groups are each in one instance, or
    /// whose instances have the layers of one each, and whose states are kept in files or small.
    pub(super) fn restored(&mut self, states: Vec<(usize, NodeState)>) {
        let mut nodes: BTreeMap<String, Spread> = BTreeMap::new();
        for (instance, s) in &states {
            let node = nodes.entry(s.node.clone()).or_default();
            let alone = match s.rows {
                Some(_) => {
                    *node.of.entry(s.instance).or_insert(*instance) == *instance
                        && *node.from.entry(*instance).or_insert(s.instance) == s.instance
                }
                None => node.groups.insert(s.state.group),
            };
            node.unfit |= !alone || s.stored.is_none() && s.state.bytes.is_empty();
            node.here += s.bytes();
        }
        let mut by: BTreeMap<(String, usize), Vec<NodeState>> = BTreeMap::new();
        for (instance, s) in states {
            if nodes.get(&s.node).is_some_and(|node| !node.unfit && node.here <= INLINE) {
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
            rows: self.rows,
            of: self.of,
        }
    }
    fn bytes(&self) -> usize {
        self.stored.as_ref().map_or(self.state.bytes.len(), |_| 0)
    }
}
