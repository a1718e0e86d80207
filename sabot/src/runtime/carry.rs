//! From a savepoint into a plan that may be another: what is carried over, step by step.
//!
//! Steps are found by their stable ids. A step that is new starts empty. A step with state that is gone is refused, unless its state may
//! be dropped. What is the same by name must fit: the key columns of a state, the partitions of a source, the inputs before which
//! rows wait. Whether the bytes of a state fit is the operator's own question, which a check asks it by restoring them for a try.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::begin::list;
use super::checkpoint::{Checkpoint, NodeState, SourcePosition, layers_of};
use super::saved::Saved;
use super::shape::{StepShape, shapes};
use crate::operator::{Instance, LAYERED, PhysicalPlan, SHARED, Split, Work};
use crate::{Error, Result};

/// What becomes of a step of a savepoint, or of a step that is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on where it was.
    Carried,
    /// It is not in the savepoint: it starts empty, a source at its beginning.
    New,
    /// It is not there any more, or has lost what the savepoint holds of it.
    Dropped,
    /// It cannot be restored.
    Refused,
}

/// What becomes of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepFate {
    /// Stable id.
    pub step: String,
    /// What becomes of it.
    pub fate: Fate,
    /// Whether something is lost by it: then a restore has to be told that this is meant.
    pub loses: bool,
    /// Why, or what of it.
    pub reason: String,
}

/// What would become of each step if a savepoint were restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavepointCheck {
    /// The steps of the plan in its order, then those that it does not have any more.
    pub steps: Vec<StepFate>,
}

impl SavepointCheck {
    /// Whether it cannot be restored.
    pub fn refused(&self) -> bool {
        self.steps.iter().any(|s| s.fate == Fate::Refused)
    }
    /// Whether it can only be restored if state may be dropped.
    pub fn loses(&self) -> bool {
        self.steps.iter().any(|s| s.loses)
    }
    fn say(&mut self, step: &str, fate: Fate, loses: bool, reason: impl Into<String>) {
        self.steps.push(StepFate { step: step.to_owned(), fate, loses, reason: reason.into() });
    }
    fn lines(&self, of: impl Fn(&StepFate) -> bool) -> String {
        self.steps.iter().filter(|s| of(s)).map(|s| format!("\n  `{}`: {}", s.step, s.reason)).collect()
    }
    /// Refuses what must not be restored.
    pub(crate) fn settle(&self, may_drop: bool) -> Result<()> {
        if self.refused() {
            return Err(Error::Checkpoint(format!(
                "the savepoint cannot be restored into this plan:{}\nchange the steps back, or give them other ids to start them empty",
                self.lines(|s| s.fate == Fate::Refused)
            )));
        }
        if self.loses() && !may_drop {
            return Err(Error::Checkpoint(format!(
                "the savepoint holds state that this plan has no place for:{}\nif it may be dropped, say so with `--allow-dropped-state` (`RunOptions::allow_dropped_state`)",
                self.lines(|s| s.loses)
            )));
        }
        Ok(())
    }
}

impl fmt::Display for SavepointCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|s| s.step.chars().count()).max().unwrap_or(0);
        for s in &self.steps {
            let fate = match s.fate {
                Fate::Carried => "carried",
                Fate::New => "new",
                Fate::Dropped => "dropped",
                Fate::Refused => "refused",
            };
            writeln!(f, "{fate:8} {:width$}  {}", s.step, s.reason)?;
        }
        Ok(())
    }
}

/// What would become of each step of the plan if it began with the savepoint at `path`. States are restored for a try, one step after
/// the other, so it takes about as long as restoring them, and the memory of the largest.
///
/// # Errors
/// If the savepoint cannot be read, or a source cannot be opened.
pub fn check_savepoint(plan: &PhysicalPlan, path: &Path) -> Result<SavepointCheck> {
    let saved = Saved::open(path)?;
    let splits = list(plan)?;
    let mut check = compare(plan, &shapes(plan, &splits)?, &splits, &saved.checkpoint)?;
    for (number, node) in plan.nodes.iter().enumerate() {
        if let Some(fate) = check.steps.get_mut(number).filter(|f| f.fate == Fate::Carried)
            && let Err(error) = saved.of(&node.name).and_then(|states| tried(plan, number, &states))
        {
            let why = error.to_string();
            *fate = StepFate {
                step: node.name.clone(),
                fate: Fate::Refused,
                loses: false,
                reason: why.trim_start_matches("checkpoint: ").to_owned(),
            };
        }
    }
    Ok(check)
}

/// Restores the state of a step into an instance of it.
fn tried(plan: &PhysicalPlan, number: usize, saved: &[NodeState]) -> Result<()> {
    let Some((node, Work::Operator(factory))) = plan.nodes.get(number).map(|n| (n, &n.work)) else { return Ok(()) };
    let broadcast = node.copied();
    let mut operator = factory.create(Instance { index: 0, of: 1 })?;
    let states = || saved.iter().filter(|s| !broadcast || s.instance == 0);
    let whose = |group: u16| [SHARED, LAYERED].contains(&group);
    let (shared, groups) = (states().filter(|s| s.state.group == SHARED), states().filter(|s| !whose(s.state.group)));
    shared.chain(groups).try_for_each(|state| operator.restore(&state.state))?;
    for layers in layers_of(states()) {
        operator.restore_layers(&layers.iter().map(|s| s.state.bytes.as_slice()).collect::<Vec<_>>(), &|_| true)?;
    }
    Ok(())
}

/// The savepoint as a checkpoint of this plan.
pub(super) fn carry(
    plan: &PhysicalPlan,
    steps: &[StepShape],
    splits: &BTreeMap<usize, Vec<Split>>,
    saved: Checkpoint,
    may_drop: bool,
) -> Result<Checkpoint> {
    compare(plan, steps, splits, &saved)?.settle(may_drop)?;
    let place: BTreeMap<&str, u32> = steps.iter().zip(0..).map(|(s, n)| (s.name.as_str(), n)).collect();
    let here = |name: &str| place.contains_key(name);
    // Origins hold the number of a source, or of the step that made a row.
    let moved = |old: u32| saved.nodes.get(old as usize).and_then(|name| place.get(name.as_str())).copied().unwrap_or(old);
    let same_inputs: BTreeSet<&str> =
        steps.iter().filter(|s| old_of(&saved, &s.name).is_some_and(|o| o.inputs == s.inputs)).map(|s| s.name.as_str()).collect();
    let mut finished: BTreeSet<String> = BTreeSet::new();
    for step in steps.iter().filter(|s| saved.finished.contains(&s.name)) {
        if step.inputs.iter().all(|(from, _)| finished.contains(from)) {
            finished.insert(step.name.clone());
        }
    }
    let mut out = Checkpoint {
        epoch: saved.epoch,
        nodes: steps.iter().map(|s| s.name.clone()).collect(),
        steps: steps.to_vec(),
        finished: steps.iter().map(|s| s.name.clone()).filter(|n| finished.contains(n)).collect(),
        ..Checkpoint::default()
    };
    for mut flight in saved.in_flight.iter().filter(|f| same_inputs.contains(f.node.as_str())).cloned() {
        flight.origin.0 = moved(flight.origin.0);
        out.in_flight.push(flight);
    }
    for mut marks in saved.marks.iter().filter(|m| same_inputs.contains(m.node.as_str())).cloned() {
        marks.open.iter_mut().for_each(|(split, _, _)| split.0 = moved(split.0));
        marks.queued.iter_mut().for_each(|(_, split)| split.0 = moved(split.0));
        out.marks.push(marks);
    }
    out.states = saved.states.into_iter().filter(|s| here(&s.node)).collect();
    out.positions = saved.positions.into_iter().filter(|p| here(&p.node)).collect();
    out.accounts = saved.accounts.into_iter().filter(|(n, _)| here(n)).collect();
    Ok(out)
}

fn old_of<'a>(saved: &'a Checkpoint, name: &str) -> Option<&'a StepShape> {
    saved.steps.iter().find(|s| s.name == name)
}

fn compare(plan: &PhysicalPlan, steps: &[StepShape], splits: &BTreeMap<usize, Vec<Split>>, saved: &Checkpoint) -> Result<SavepointCheck> {
    let mut check = SavepointCheck::default();
    for (number, (step, node)) in steps.iter().zip(&plan.nodes).enumerate() {
        let name = step.name.as_str();
        let Some(old) = old_of(saved, name) else {
            check.say(
                name,
                Fate::New,
                false,
                match step.kind.as_str() {
                    "source" => "starts at its beginning",
                    "sink" => "gets what comes from here on",
                    _ if node.stateful => "starts empty",
                    _ => "keeps no state",
                },
            );
            continue;
        };
        let held = held(saved, name);
        let waiting = saved.in_flight.iter().filter(|f| f.node == name).count();
        let open = saved
            .marks
            .iter()
            .filter(|m| m.node == name)
            .any(|m| !m.open.is_empty() || !m.queued.is_empty() || m.delivered.iter().any(|d| *d > 0));
        let (fate, loses, reason) = if old.kind != step.kind {
            (Fate::Refused, false, format!("it was a {}, and is a {} now", old.kind, step.kind))
        } else if step.kind == "source" {
            let place = saved.nodes.iter().position(|n| n == name);
            match source(old, step, splits.get(&number), saved.positions.iter().find(|p| p.node == name), place == Some(number)) {
                Ok(reason) => (Fate::Carried, false, reason),
                Err(reason) => (Fate::Refused, false, reason),
            }
        } else if held.is_some() && old.keys != step.keys {
            let list = |keys: &[String]| if keys.is_empty() { "none".to_owned() } else { format!("`{}`", keys.join("`, `")) };
            (
                Fate::Refused,
                false,
                format!("its state belongs to other key columns: they were {}, and are {} now", list(&old.keys), list(&step.keys)),
            )
        } else if open && old.inputs != step.inputs {
            (Fate::Refused, false, "its inputs are others, and splits of a source that ends had been read in part".into())
        } else if waiting > 0 && old.inputs != step.inputs {
            (Fate::Dropped, true, format!("{waiting} batches of rows waited before it, and its inputs are others now"))
        } else if step.kind == "sink" {
            (Fate::Carried, false, "goes on behind what it has shown".into())
        } else if let Some(held) = held {
            (Fate::Carried, false, held)
        } else {
            (Fate::Carried, false, if node.stateful { "its state was empty" } else { "keeps no state" }.into())
        };
        check.say(name, fate, loses, reason);
    }
    for old in saved.steps.iter().filter(|old| steps.iter().all(|s| s.name != old.name)) {
        let held = held(saved, &old.name);
        let waiting = saved.in_flight.iter().any(|f| f.node == old.name);
        let (loses, reason) = match old.kind.as_str() {
            "source" => (false, "its positions are forgotten".to_owned()),
            "sink" => (held.is_some(), "what it has shown stays, what it has not is lost".to_owned()),
            _ if held.is_some() => (true, format!("its state is lost: {}", held.unwrap_or_default())),
            _ if waiting => (true, "rows that waited before it are lost".to_owned()),
            _ => (false, "kept no state".to_owned()),
        };
        check.say(&old.name, Fate::Dropped, loses, reason);
    }
    Ok(check)
}

/// How large the state of a step is, if it has any.
fn held(saved: &Checkpoint, name: &str) -> Option<String> {
    let size = |s: &NodeState| s.stored.as_ref().map_or(s.state.bytes.len() as u64, |at| at.length);
    let states = || saved.states.iter().filter(|s| s.node == name && size(s) > 0);
    let bytes: u64 = states().map(size).sum();
    let groups: BTreeSet<u16> = states().map(|s| s.state.group).filter(|group| ![SHARED, LAYERED].contains(group)).collect();
    let layers = layers_of(states());
    let rows: u64 = layers.iter().filter_map(|l| l.last()?.rows).map(|rows| rows.live).sum();
    match (groups.len(), layers.is_empty()) {
        (0, true) => None,
        (0, false) => Some(format!("{rows} rows, {bytes} bytes")),
        (groups, _) => Some(format!("{groups} key groups, {bytes} bytes")),
    }
}

/// Whether a source goes on where it was; why, or why not.
fn source(
    old: &StepShape,
    new: &StepShape,
    splits: Option<&Vec<Split>>,
    at: Option<&SourcePosition>,
    same_place: bool,
) -> Result<String, String> {
    let ended = |bounded| if bounded { "ended" } else { "never ended" };
    if old.bounded != new.bounded {
        return Err(format!("it {} and now it {}", ended(old.bounded), if new.bounded { "ends" } else { "never ends" }));
    }
    if old.input != new.input {
        return Err("its input is not the same: positions in it would be others".into());
    }
    if old.bounded && !same_place {
        return Err("it has another place in the plan: sources that end must keep their order".into());
    }
    let Some(at) = at else { return Ok("had not been read".into()) };
    let there: BTreeSet<(u32, u64)> = splits.into_iter().flatten().map(|s| (s.partition, s.sequence)).collect();
    let read = at.open.iter().map(|o| (o.partition, o.sequence)).chain(at.done.iter().copied());
    if let Some((partition, _)) = read.clone().find(|split| !there.contains(split)) {
        return Err(format!("its partition {partition}, of which rows were read, is not there any more"));
    }
    let rows: u64 = at.open.iter().map(|o| o.row).sum();
    let new = there.len().saturating_sub(read.count());
    let more = if new > 0 { format!("; {new} start at their beginning") } else { String::new() };
    Ok(format!("goes on in {} splits behind {rows} rows{more}", at.open.len()))
}
