//! Which instance goes on with rows that were in flight at a checkpoint, in a step through which rows travel slowly.
//!
//! Rows that follow them must not overtake them, and come where they would have come had they been there from the start: rows of a split
//! to the instance that reads it on; rows that were dealt out where their key, number or split belongs among as many instances as there are
//! now. What came in another way has no place of its own, and stays at its instance if that is still there.

use std::collections::{BTreeMap, BTreeSet};

use super::build::Build;
use super::checkpoint::{SplitKey, split_key};
use super::util::at;
use crate::Result;
use crate::kernel::{Morsel, Origin};
use crate::operator::{Claim, Exchange, Work};

/// What belongs to one instance of a step.
pub(super) struct Home<'a> {
    build: &'a Build<'a>,
    node: usize,
    instance: usize,
    of: usize,
    /// Where splits are at the instances that read them: who reads on those that were not over.
    readers: Option<BTreeMap<SplitKey, usize>>,
    /// Ends of splits that wait in front of the step.
    queued: BTreeSet<SplitKey>,
}

/// Of what the instance `was` had.
pub(super) struct Claimed<'a>(&'a Home<'a>, usize);

impl<'a> Home<'a> {
    pub(super) fn new(build: &'a Build<'a>, node: usize, instance: usize) -> Result<Self> {
        let of = *at(&build.graph.instances, node)?;
        let readers = match build.graph.read_by(build.plan, node) {
            Some(source) => Some(readers(build, source)?),
            None => None,
        };
        let name = &at(&build.plan.nodes, node)?.name;
        let marks = build.checkpoint.iter().flat_map(|c| &c.marks).filter(|m| m.node == *name);
        let queued = marks.flat_map(|m| m.queued.iter().map(|(_, split)| *split)).collect();
        Ok(Home { build, node, instance, of, readers, queued })
    }
    /// Of what this instance had at the checkpoint.
    pub(super) fn of(&'a self, was: usize) -> Claimed<'a> {
        Claimed(self, was)
    }
    /// Whether the rows of a split are here, if the step knows splits at all.
    pub(super) fn has(&self, split: &SplitKey) -> bool {
        let (source, partition, number) = *split;
        let readers = self.readers.as_ref();
        let reader = readers.and_then(|r| r.get(split).copied());
        reader.unwrap_or_else(|| Origin { source, partition, split: number, row: 0 }.instance(self.of)) == self.instance
    }
    /// Whether this instance tells of the end of a split.
    pub(super) fn tells(&self, split: &SplitKey) -> bool {
        self.readers.is_none() || self.has(split)
    }
}

impl Claim for Claimed<'_> {
    fn rows(&self, rows: Morsel) -> Result<Option<Morsel>> {
        let Claimed(home, was) = self;
        if home.of == 1 {
            return Ok(Some(rows));
        }
        if home.readers.is_some() {
            return Ok(home.has(&split_key(&rows.origin)).then_some(rows));
        }
        let there = |column: &String| rows.batch.column_by_name(column).is_some();
        let came = at(&home.build.plan.nodes, home.node)?.in_flight.as_ref().filter(|exchange| match exchange {
            Exchange::Hash(columns) => columns.iter().all(there),
            Exchange::Custom(column) => there(column),
            _ => true,
        });
        home.build.mine(came.unwrap_or(&Exchange::Forward), home.node, home.instance, *was, rows)
    }
    fn end(&self, split: Origin) -> bool {
        let split = split_key(&split);
        !self.0.queued.contains(&split) && self.0.tells(&split)
    }
}

/// Who reads on the splits of a source that were not read to their end.
fn readers(build: &Build<'_>, source: usize) -> Result<BTreeMap<SplitKey, usize>> {
    let node = at(&build.plan.nodes, source)?;
    let Work::Source(work) = &node.work else { return Ok(BTreeMap::new()) };
    let waiting = build.waiting(source, work.as_ref());
    let readers = build.readers(node.bounded, &waiting, *at(&build.graph.instances, source)?);
    let key = |w: &super::feed::Waiting| (source as u32, w.split.partition, w.split.sequence);
    Ok(waiting.iter().zip(readers).filter_map(|(w, reader)| Some((key(w), reader?))).collect())
}
