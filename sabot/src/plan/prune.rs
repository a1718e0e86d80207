//! Pass: drop columns that nobody reads.
//!
//! Walks from the sinks to the sources. A run computes only the outputs that are read, sources deliver only the columns
//! that are read. Predicates always run: a pass may never change which rows there are.

use std::collections::{BTreeMap, BTreeSet};

use super::{HAS_LEFT, HAS_RIGHT, Matching, Op, Plan};
use crate::kernel::{LETTER, Lineage};
use crate::{Error, Result};

/// The lineage of the runs of a plan, by stable id.
pub type Lineages<'a> = dyn Fn(&str) -> Option<&'a Lineage> + 'a;

/// Drops unread columns; returns how many outputs of runs and columns of sources were dropped.
///
/// # Errors
/// If the plan and the lineages do not belong together.
pub fn prune(plan: &mut Plan, lineages: &Lineages<'_>) -> Result<usize> {
    let mut wanted: Vec<BTreeSet<String>> = vec![BTreeSet::new(); plan.nodes.len()];
    let mut dropped = 0;
    let keys: Vec<Vec<String>> = plan.nodes.iter().map(|n| n.keys.clone()).collect();
    // what dead letters want of the rows that entered a run
    let mut letters: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let times: Vec<Option<String>> = plan.nodes.iter().map(|n| n.time.as_ref().map(|t| t.column.clone())).collect();
    for number in (0..plan.nodes.len()).rev() {
        let mine = wanted.get(number).cloned().unwrap_or_default();
        let Some(node) = plan.nodes.get_mut(number) else { continue };
        let all: BTreeSet<String> = node.columns.iter().map(|c| c.name.clone()).collect();
        let mut need: Vec<BTreeSet<String>> = Vec::new();
        // event time of the first input
        let time = node.inputs.first().and_then(|i| times.get(*i).cloned().flatten());
        let keyed_by = node.inputs.first().and_then(|i| keys.get(*i).cloned()).unwrap_or_default();
        match &mut node.op {
            Op::Source { .. } => {
                let before = node.columns.len();
                node.columns.retain(|c| mine.contains(&c.name));
                dropped += before - node.columns.len();
            }
            Op::Run { outputs, mask, errors, .. } => {
                let lineage = lineages(&node.id).ok_or_else(|| Error::Plan(format!("there is no kernel `{}`", node.id)))?;
                let (mut bits, mut inputs, _) = lineage.require(&|name| mine.contains(name));
                if errors.drops() {
                    // a value that nobody reads may fail, and decides which rows there are
                    bits = !0;
                    inputs.extend(lineage.units.iter().flat_map(|u| &u.needs.inputs));
                }
                *mask = bits;
                let keep: Vec<String> = node.columns.iter().map(|c| c.name.clone()).filter(|c| mine.contains(c)).collect();
                dropped += node.columns.len() - keep.len();
                if keep.len() < node.columns.len() {
                    node.columns.retain(|c| keep.contains(&c.name));
                    *outputs = Some(keep);
                }
                let mut up: BTreeSet<String> = inputs.iter().filter_map(|i| lineage.inputs.get(*i)).map(|c| c.name.to_string()).collect();
                up.extend(letters.remove(&number).unwrap_or_default());
                need.push(up);
            }
            Op::DeadLetter => {
                node.columns.retain(|c| mine.contains(&c.name));
                let of_row = node.columns.iter().map(|c| c.name.clone()).filter(|c| !LETTER.iter().any(|(own, _)| own == c));
                letters.entry(node.inputs.first().copied().unwrap_or_default()).or_default().extend(of_row);
                need.push(BTreeSet::new());
            }
            Op::Side | Op::BadRows => {
                node.columns.retain(|c| mine.contains(&c.name));
                need.push(BTreeSet::new());
            }
            Op::LateRows => {
                node.columns.retain(|c| mine.contains(&c.name));
                need.push(mine.iter().cloned().chain(time).collect());
            }
            Op::KeyBy | Op::EventTime | Op::Window(_) | Op::Emit { .. } | Op::Watermark { .. } => {
                let mut up = mine.clone();
                up.extend(node.keys.iter().cloned());
                up.extend(node.time.iter().map(|t| t.column.clone()));
                need.push(up);
            }
            Op::Aggregate { window, functions, .. } => {
                let mut up: BTreeSet<String> = node.keys.iter().cloned().collect();
                up.extend(functions.iter().flat_map(|f| f.inputs.iter().cloned()));
                up.extend(time.filter(|_| window.is_some()));
                need.push(up);
            }
            Op::Keyed { reads: None, .. } | Op::Async { reads: None, .. } => need.push(BTreeSet::from([String::from("*")])),
            Op::Keyed { own: true, reads: Some(reads), .. } => {
                need.push(reads.iter().cloned().chain(keyed_by.iter().cloned()).chain(time).collect());
            }
            Op::Keyed { column, reads: Some(reads), .. } => {
                let mut up = mine.clone();
                up.remove(column);
                up.extend(reads.iter().cloned().chain(keyed_by.iter().cloned()).chain(time));
                node.columns.retain(|c| up.contains(&c.name) || c.name == *column);
                need.push(up);
            }
            Op::Batch { column, reads, .. } => {
                let mut up = mine.clone();
                up.remove(column);
                up.extend(reads.iter().cloned());
                node.columns.retain(|c| up.contains(&c.name) || c.name == *column);
                need.push(up);
            }
            Op::Changelog { column } => {
                let mut up = mine.clone();
                up.remove(column);
                node.columns.retain(|c| up.contains(&c.name) || c.name == *column);
                need.push(up);
            }
            Op::Async { column, reads: Some(reads), .. } => {
                let mut up = mine.clone();
                up.remove(column);
                up.extend(reads.iter().cloned());
                up.extend(letters.remove(&number).unwrap_or_default());
                node.columns.retain(|c| up.contains(&c.name) || c.name == *column);
                need.push(up);
            }
            Op::FlatMap { reads, .. } => {
                need.push(reads.clone().map_or_else(|| BTreeSet::from([String::from("*")]), |r| r.into_iter().collect()));
            }
            Op::Join { kind, matching, left, right, on, left_used, right_used, .. } => {
                let side = |prefix: &str, of: &BTreeSet<String>| -> BTreeSet<String> {
                    of.iter().filter_map(|c| c.strip_prefix(prefix)).map(str::to_owned).collect()
                };
                let (l, r) = if kind.pairs() { (side("left.", &mine), side("right.", &mine)) } else { (mine.clone(), BTreeSet::new()) };
                let (mut up, mut build) = (l.clone(), r.clone());
                up.extend(left.iter().cloned());
                build.extend(right.iter().cloned());
                if on.is_some() {
                    let lineage = lineages(&node.id).ok_or_else(|| Error::Plan(format!("there is no condition of `{}`", node.id)))?;
                    let (_, inputs, _) = lineage.require(&|_| false);
                    let reads = inputs.iter().filter_map(|i| lineage.inputs.get(*i)).map(|c| c.name.to_string()).collect();
                    up.extend(side("left.", &reads));
                    build.extend(side("right.", &reads));
                }
                if *matching != Matching::Equal {
                    up.extend(time);
                    build.extend(node.inputs.get(1).and_then(|i| times.get(*i).cloned().flatten()));
                }
                if kind.pairs() {
                    node.columns.retain(|c| mine.contains(&c.name) || c.name == HAS_LEFT || c.name == HAS_RIGHT);
                } else {
                    node.columns.retain(|c| up.contains(&c.name));
                }
                need.push(up);
                need.push(build);
                *left_used = Some(l.into_iter().collect());
                *right_used = Some(r.into_iter().collect());
            }
            Op::Sort { by } => {
                let mut up = mine.clone();
                up.extend(by.iter().map(|b| b.column.clone()));
                node.columns.retain(|c| up.contains(&c.name));
                need.push(up);
            }
            // of rows that are taken back all columns decide which one comes first
            Op::Top { .. } | Op::Distinct { .. } if node.changes => need.push(all.clone()),
            Op::Top { by, .. } => {
                let mut up = mine.clone();
                up.extend(by.iter().map(|b| b.column.clone()).chain(node.keys.iter().cloned()));
                node.columns.retain(|c| up.contains(&c.name));
                need.push(up);
            }
            Op::Over { by, functions } => {
                let wanted = functions.iter().filter(|f| mine.contains(&f.name));
                let mut up: BTreeSet<String> = mine.iter().filter(|c| !functions.iter().any(|f| f.name == **c)).cloned().collect();
                up.extend(wanted.flat_map(|f| f.inputs.iter().cloned()));
                up.extend(by.iter().map(|b| b.column.clone()).chain(keyed_by.iter().cloned()));
                node.columns.retain(|c| mine.contains(&c.name));
                need.push(up);
            }
            Op::Unnest { column } => {
                node.columns.retain(|c| mine.contains(&c.name));
                need.push(node.keys.iter().cloned().chain([column.clone()]).collect());
            }
            // all columns tell rows apart, read or not
            Op::Distinct { columns: None } | Op::Set { .. } => need.extend(node.inputs.iter().map(|_| all.clone())),
            Op::Distinct { columns: Some(columns) } => {
                let mut up = mine.clone();
                up.extend(columns.iter().cloned());
                node.columns.retain(|c| up.contains(&c.name));
                need.push(up);
            }
            Op::PartitionBy { column } => {
                let up: BTreeSet<String> = mine.iter().cloned().chain([column.clone()]).collect();
                node.columns.retain(|c| up.contains(&c.name));
                need.push(up);
            }
            Op::Limit { .. } | Op::Sample { .. } | Op::Rebalance => {
                node.columns.retain(|c| mine.contains(&c.name));
                need.push(mine.clone());
            }
            Op::Union => {
                node.columns.retain(|c| mine.contains(&c.name));
                need.extend(node.inputs.iter().map(|_| mine.clone()));
            }
            Op::Sink { .. } => need.push(all),
        }
        if node.op.is_note() {
            let keep = need.first().cloned().unwrap_or_default();
            node.columns.retain(|c| keep.contains(&c.name));
        }
        let inputs = node.inputs.clone();
        for (input, set) in inputs.iter().zip(need) {
            let full: BTreeSet<String> =
                plan.nodes.get(*input).map(|n| n.columns.iter().map(|c| c.name.clone()).collect()).unwrap_or_default();
            if let Some(slot) = wanted.get_mut(*input) {
                if set.contains("*") { slot.extend(full) } else { slot.extend(set) }
            }
        }
    }
    Ok(dropped)
}
