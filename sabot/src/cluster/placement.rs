//! Which agent runs which task: pure, deterministic, with a reason for each.
//!
//! Idea: a slot runs one instance of each stage of a job, so that a job takes as many slots as its widest stage has instances, and rows that
//! stay with their instance stay in their process. First the slots of a job get agents, then the tasks get slots: instance *i* of a stage
//! with as many instances as there are slots is in slot *i*; stages with fewer (a sink that gathers, a file with one split) go where the fewest such tasks are.
//!
//! Invariants: no agent gets more slots than are free; the same question has the same answer; a slot stays where it was if it can.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::store::TaskId;

/// An agent that can take tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub agent: String,
    /// Its fencing number.
    pub epoch: u64,
    /// Its slots.
    pub slots: usize,
    /// Those that no job has.
    pub free: usize,
}

/// A stage of a job, as far as placing it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Its number.
    pub stage: usize,
    /// Its parallel instances.
    pub instances: usize,
    /// Whether it begins with a source or holds a sink: such are spread over the agents.
    pub outer: bool,
}

/// Where one task runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The stage.
    pub stage: usize,
    /// Which of its instances.
    pub instance: usize,
    /// The slot of the job.
    pub slot: usize,
    /// The agent's name.
    pub agent: String,
    /// The agent's fencing number.
    pub epoch: u64,
    /// Why there.
    pub reason: String,
}

impl Assigned {
    /// The task, as the store names it.
    pub(super) fn task(&self) -> TaskId {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        TaskId { stage: number(self.stage), instance: number(self.instance) }
    }
}

/// The tasks of a job on agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignments {
    /// The agents of the job, in order of their names: an agent's number among those of the job is its place in this list.
    pub agents: Vec<(String, u64)>,
    /// The agent of each slot, by its number in `agents`.
    pub slots: Vec<usize>,
    /// The tasks, by stage and instance.
    pub tasks: Vec<Assigned>,
}

/// There are not enough free slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooFew {
    /// Slots that the job needs.
    pub needed: usize,
    /// Slots that are free.
    pub free: usize,
    /// Slots that there are.
    pub all: usize,
    /// Agents that were asked.
    pub agents: usize,
}

impl std::fmt::Display for TooFew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TooFew { needed, free, all, agents } = self;
        let missing = needed.saturating_sub(*free);
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        write!(
            f,
            "{missing} slot{} missing: the job needs {needed}, and {free} of {all} on {agents} agent{} are free",
            plural(missing),
            plural(*agents)
        )?;
        if *free > 0 && *free < *needed {
            write!(f, "; start another agent (`agent --join <server> --slots {missing}`), or submit with `--parallelism {free}`")
        } else {
            write!(f, "; start another agent (`agent --join <server> --slots {missing}`), or wait for a job to end")
        }
    }
}

/// Places the tasks of a job. `before` is where they were, if the job ran before: the agent of each slot, by name.
///
/// # Errors
/// If there are fewer free slots than the job needs.
///
/// ```
/// use sabot::cluster::{Demand, Offer, place};
///
/// let offer = |name: &str, slots| Offer { agent: name.into(), epoch: 1, slots, free: slots };
/// let stages = [Demand { stage: 0, instances: 3, outer: true }, Demand { stage: 1, instances: 1, outer: true }];
/// let placed = place(&stages, &[offer("a", 2), offer("b", 1)], &[]).unwrap();
/// assert_eq!(placed.tasks.iter().filter(|t| t.agent == "a" && t.stage == 0).count(), 2);
/// let refused = place(&stages, &[offer("a", 2)], &[]).unwrap_err().to_string();
/// assert!(refused.starts_with("1 slot missing: the job needs 3"), "{refused}");
/// ```
pub fn place(stages: &[Demand], offers: &[Offer], before: &[String]) -> Result<Assignments, TooFew> {
    let needed = stages.iter().map(|s| s.instances).max().unwrap_or(0);
    let mut offers: Vec<Offer> = offers.to_vec();
    offers.sort_by(|a, b| a.agent.cmp(&b.agent).then(b.epoch.cmp(&a.epoch)));
    offers.dedup_by(|b, a| a.agent == b.agent);
    let free = offers.iter().map(|o| o.free).sum();
    if free < needed {
        return Err(TooFew { needed, free, all: offers.iter().map(|o| o.slots).sum(), agents: offers.len() });
    }
    let mut room: Vec<usize> = offers.iter().map(|o| o.free).collect();
    let mut chosen: Vec<Option<(usize, String)>> = vec![None; needed];
    // slots that can stay do
    for (slot, name) in before.iter().enumerate().take(needed) {
        let Some((at, offer)) = offers.iter().enumerate().find(|(_, o)| o.agent == *name) else { continue };
        if let (Some(room), Some(chosen)) = (room.get_mut(at).filter(|r| **r > 0), chosen.get_mut(slot)) {
            *room -= 1;
            *chosen = Some((at, format!("stays on `{}`", offer.agent)));
        }
    }
    // the others go where the most is free, in proportion to what there is
    for slot in 0..needed {
        if chosen.get(slot).is_some_and(Option::is_some) {
            continue;
        }
        let fullness = |at: usize| {
            let (free, all) = (room.get(at).copied().unwrap_or(0), offers.get(at).map_or(1, |o| o.slots.max(1)));
            (free * 1_000_000 / all, free)
        };
        let best = (0..offers.len()).filter(|at| room.get(*at).is_some_and(|r| *r > 0)).max_by_key(|at| (fullness(*at), usize::MAX - *at));
        let Some((at, offer)) = best.and_then(|at| offers.get(at).map(|o| (at, o))) else { continue };
        let free = room.get(at).copied().unwrap_or(0);
        let why = match before.get(slot) {
            Some(gone) => format!("moved from `{gone}`, which cannot take it; `{}` has {free} of {} slots free", offer.agent, offer.slots),
            None => format!("`{}` has {free} of {} slots free", offer.agent, offer.slots),
        };
        if let (Some(room), Some(chosen)) = (room.get_mut(at), chosen.get_mut(slot)) {
            *room -= 1;
            *chosen = Some((at, why));
        }
    }
    let chosen: Vec<(usize, String)> = chosen.into_iter().flatten().collect();
    // agents that got nothing are not of this job
    let used: Vec<usize> = {
        let mut used: Vec<usize> = chosen.iter().map(|(at, _)| *at).collect();
        used.sort_unstable();
        used.dedup();
        used
    };
    let agents = used.iter().filter_map(|at| offers.get(*at)).map(|o| (o.agent.clone(), o.epoch)).collect();
    let slots: Vec<usize> = chosen.iter().map(|(at, _)| used.iter().position(|u| u == at).unwrap_or(0)).collect();
    let mut out = Assignments { agents, slots, tasks: Vec::new() };
    spread(stages, needed, &chosen, &mut out);
    Ok(out)
}

/// Gives the tasks slots.
fn spread(stages: &[Demand], slots: usize, chosen: &[(usize, String)], out: &mut Assignments) {
    // how many tasks of stages that are narrower than the job each agent, and each slot, has
    let (mut by_agent, mut by_slot) = (BTreeMap::<usize, usize>::new(), BTreeMap::<usize, usize>::new());
    for stage in stages {
        let mut taken = Vec::new();
        for instance in 0..stage.instances {
            let (slot, reason) = if stage.instances == slots {
                (instance, chosen.get(instance).map_or_else(String::new, |(_, why)| why.clone()))
            } else {
                let of = |slot: usize| out.slots.get(slot).copied().unwrap_or(0);
                let count = |map: &BTreeMap<usize, usize>, key: usize| map.get(&key).copied().unwrap_or(0);
                let best = (0..slots).filter(|s| !taken.contains(s)).min_by_key(|s| (count(&by_agent, of(*s)), count(&by_slot, *s), *s));
                let slot = best.unwrap_or(0);
                *by_agent.entry(of(slot)).or_default() += 1;
                *by_slot.entry(slot).or_default() += 1;
                let what = if stage.outer { "sources and sinks are spread" } else { "narrow stages are spread" };
                (slot, format!("{what}: the fewest are in slot {slot}"))
            };
            taken.push(slot);
            let Some((agent, epoch)) = out.slots.get(slot).and_then(|a| out.agents.get(*a)).cloned() else { continue };
            out.tasks.push(Assigned { stage: stage.stage, instance, slot, agent, epoch, reason });
        }
    }
}

impl Assignments {
    /// The number, among the agents of the job, of the one that runs a task.
    pub fn share_of(&self, stage: usize, instance: usize) -> Option<usize> {
        let task = self.tasks.iter().find(|t| t.stage == stage && t.instance == instance)?;
        self.slots.get(task.slot).copied()
    }
    /// The agent of each slot, by name.
    pub fn by_slot(&self) -> Vec<String> {
        self.slots.iter().filter_map(|a| self.agents.get(*a)).map(|(name, _)| name.clone()).collect()
    }
    /// How many slots the agent of this epoch gives.
    pub fn slots_on(&self, epoch: u64) -> usize {
        self.slots.iter().filter(|a| self.agents.get(**a).is_some_and(|(_, e)| *e == epoch)).count()
    }
}
