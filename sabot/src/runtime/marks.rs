//! When a split has ended: counting the marks of all producers.
//!
//! A split is marked once by a stage that reads it (one instance does) and once per instance by any other stage. It has
//! ended on a port when all producers of that port whose rows can stem from it have said so, and at a node when that
//! holds for all such ports; then the node passes the mark on, from each of its instances.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::SplitKey;

pub(super) struct MarkedEdge {
    pub(super) port: usize,
    /// Marks per split.
    pub(super) producers: usize,
    /// Sources whose marks come on this edge.
    pub(super) sources: BTreeSet<u32>,
}

#[derive(Default)]
pub(super) struct Marks {
    edges: Vec<MarkedEdge>,
    ports: usize,
    seen: BTreeMap<SplitKey, Seen>,
}

struct Seen {
    counts: Vec<usize>,
    delivered: Vec<bool>,
}

impl Marks {
    pub(super) fn new(edges: Vec<MarkedEdge>) -> Self {
        let ports = edges.iter().map(|e| e.port + 1).max().unwrap_or(0);
        Marks { edges, ports, seen: BTreeMap::new() }
    }
    /// How many marks a split of `source` needs on `port`.
    pub(super) fn expected(&self, port: usize, source: u32) -> usize {
        self.edges.iter().filter(|e| e.port == port && e.sources.contains(&source)).map(|e| e.producers).sum()
    }
    /// A mark came on `edge`. Returns whether the split has now ended on that edge's port.
    pub(super) fn arrive(&mut self, edge: usize, split: SplitKey) -> bool {
        self.count(edge, split, 1)
    }
    /// All marks that `edge` will ever bring for this split have come.
    pub(super) fn arrive_all(&mut self, edge: usize, split: SplitKey) -> bool {
        self.count(edge, split, usize::MAX)
    }
    fn count(&mut self, edge: usize, split: SplitKey, marks: usize) -> bool {
        let Some(port) = self.edges.get(edge).map(|e| e.port) else { return false };
        let seen = self.seen.entry(split).or_insert_with(|| Seen { counts: vec![0; self.edges.len()], delivered: vec![false; self.ports] });
        if let Some(count) = seen.counts.get_mut(edge) {
            *count = count.saturating_add(marks);
        }
        self.edges.iter().zip(&seen.counts).filter(|(e, _)| e.port == port && e.sources.contains(&split.0)).all(|(e, c)| *c >= e.producers)
    }
    /// The end of the split was delivered to `port`. Returns whether it has now been delivered to all ports.
    pub(super) fn deliver(&mut self, port: usize, split: SplitKey) -> bool {
        let Some(seen) = self.seen.get_mut(&split) else { return false };
        if let Some(delivered) = seen.delivered.get_mut(port) {
            *delivered = true;
        }
        let all = self.edges.iter().filter(|e| e.sources.contains(&split.0)).all(|e| seen.delivered.get(e.port) == Some(&true));
        if all {
            self.seen.remove(&split);
        }
        all
    }
    /// The splits that have ended somewhere but not everywhere: edges that saw the end, ports it was delivered to.
    pub(super) fn save(&self) -> Vec<(SplitKey, Vec<bool>, Vec<bool>)> {
        let edges = |seen: &Seen| self.edges.iter().zip(&seen.counts).map(|(e, c)| *c >= e.producers).collect();
        self.seen.iter().map(|(split, seen)| (*split, edges(seen), seen.delivered.clone())).collect()
    }
    /// Restores one entry of [`save`](Self::save). Returns the ports on which the split ended undelivered.
    pub(super) fn restore(&mut self, split: SplitKey, edges: &[bool], delivered: &[bool]) -> BTreeSet<usize> {
        let mut ended = BTreeSet::new();
        for (edge, _) in edges.iter().enumerate().filter(|(_, seen)| **seen) {
            if self.arrive_all(edge, split) {
                ended.extend(self.edges.get(edge).map(|e| e.port));
            }
        }
        if let Some(seen) = self.seen.get_mut(&split) {
            seen.delivered = delivered.to_vec();
        }
        ended.retain(|port| delivered.get(*port) != Some(&true));
        ended
    }
}
