//! Placement over random clusters and jobs.

use std::collections::BTreeMap;

use super::{Random, seeds};
use crate::cluster::{Demand, Offer, place};

fn offer(agent: &str, slots: usize, free: usize) -> Offer {
    Offer { agent: agent.into(), epoch: 1, slots, free }
}

#[test]
fn never_more_than_is_free_and_always_everything() {
    for seed in seeds(500) {
        let mut random = Random::new(seed);
        let offers: Vec<Offer> = (0..random.below(8))
            .map(|n| {
                let slots = 1 + random.below(8) as usize;
                offer(&format!("agent-{n}"), slots, random.below(slots as u64 + 1) as usize)
            })
            .collect();
        let wide = 1 + random.below(12) as usize;
        let stages: Vec<Demand> = (0..1 + random.below(6) as usize)
            .map(|stage| Demand {
                stage,
                instances: if random.chance(60) { wide } else { 1 + random.below(wide as u64) as usize },
                outer: random.chance(30),
            })
            .collect();
        let before: Vec<String> = (0..random.below(12)).map(|_| format!("agent-{}", random.below(9))).collect();
        let needed = stages.iter().map(|s| s.instances).max().unwrap();
        let free: usize = offers.iter().map(|o| o.free).sum();
        let placed = place(&stages, &offers, &before);
        assert_eq!(
            placed,
            place(&stages, &offers.iter().rev().cloned().collect::<Vec<_>>(), &before),
            "seed {seed}: the order of offers counts"
        );
        let placed = match placed {
            Err(few) => {
                assert!(free < needed, "seed {seed}");
                assert!(few.to_string().starts_with(&format!("{} slot", needed - free)), "{few}");
                continue;
            }
            Ok(placed) => placed,
        };
        assert!(free >= needed, "seed {seed}: over-committed");
        // every task once, and no slot has two instances of a stage
        let mut seen = BTreeMap::new();
        for task in &placed.tasks {
            assert!(seen.insert((task.stage, task.instance), task.slot).is_none(), "seed {seed}");
            assert!(!task.reason.is_empty());
            assert_eq!(placed.agents[placed.share_of(task.stage, task.instance).unwrap()], (task.agent.clone(), task.epoch));
        }
        assert_eq!(seen.len(), stages.iter().map(|s| s.instances).sum::<usize>(), "seed {seed}");
        for stage in &stages {
            let mut slots: Vec<usize> = (0..stage.instances).map(|i| seen[&(stage.stage, i)]).collect();
            slots.sort_unstable();
            slots.dedup();
            assert_eq!(slots.len(), stage.instances, "seed {seed}");
        }
        assert_eq!(placed.slots.len(), needed);
        for o in &offers {
            let given = placed.by_slot().iter().filter(|a| **a == o.agent).count();
            assert!(given <= o.free, "seed {seed}: {} gives {given} of {}", o.agent, o.free);
            // slots stay where there is room: of those before, as many as fit
            let was = before.iter().take(needed).filter(|a| **a == o.agent).count();
            let stayed = before.iter().zip(placed.by_slot()).filter(|(b, now)| **b == o.agent && *now == o.agent).count();
            assert_eq!(stayed, was.min(o.free), "seed {seed}: {}", o.agent);
        }
    }
}

#[test]
fn load_is_even_and_narrow_stages_are_spread() {
    let stages = [
        Demand { stage: 0, instances: 4, outer: true },
        Demand { stage: 1, instances: 1, outer: true },
        Demand { stage: 2, instances: 1, outer: true },
    ];
    let placed = place(&stages, &[offer("a", 4, 4), offer("b", 4, 4)], &[]).unwrap();
    assert_eq!(placed.by_slot().iter().filter(|a| *a == "a").count(), 2);
    let narrow: Vec<&str> = placed.tasks.iter().filter(|t| t.stage > 0).map(|t| t.agent.as_str()).collect();
    assert_eq!(narrow, ["a", "b"], "two sinks are on two agents");
    // an agent is lost: what was there moves, what was elsewhere stays
    let again = place(&stages, &[offer("a", 4, 4), offer("c", 4, 4)], &placed.by_slot()).unwrap();
    for (before, (now, task)) in placed.by_slot().iter().zip(again.by_slot().iter().zip(&again.tasks)) {
        assert_eq!(now, if before == "a" { "a" } else { "c" });
        assert!(task.reason.starts_with(if before == "a" { "stays on `a`" } else { "moved from `b`" }), "{}", task.reason);
    }
}

#[test]
fn what_is_missing_is_said() {
    let stages = [Demand { stage: 0, instances: 4, outer: true }];
    let few = place(&stages, &[offer("a", 2, 1), offer("b", 2, 2)], &[]).unwrap_err();
    assert_eq!(
        few.to_string(),
        "1 slot missing: the job needs 4, and 3 of 4 on 2 agents are free; start another agent (`agent --join <server> --slots 1`), or submit with `--parallelism 3`"
    );
    let none = place(&stages, &[], &[]).unwrap_err();
    assert!(none.to_string().starts_with("4 slots missing: the job needs 4, and 0 of 0 on 0 agents are free"), "{none}");
}
