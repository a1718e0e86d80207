//! Agents, and placements on their slots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sabot::cluster::store::{AgentState, Assignment, Bereft, ControlStore, Fence, JobState, NewAgent, Placed, TaskId, TaskState};
use sabot_cluster_tests::{Home, mix};
use serde_json::json;

use super::rows::new_job;

fn new_agent(id: &str, slots: u32) -> NewAgent {
    NewAgent {
        id: id.into(),
        address: format!("{id}:9000"),
        build: "b1".into(),
        resources: json!({"cores": 8, "memory": 1u64 << 34}),
        slots,
    }
}

fn on(task: (u32, u32), agent: &str, epoch: u64, slot: u32) -> Assignment {
    Assignment {
        task: TaskId { stage: task.0, instance: task.1 },
        agent: agent.into(),
        epoch,
        slot,
        reason: format!("slot {slot} is free"),
    }
}

fn lost(job: &str, attempt: u32) -> Bereft {
    Bereft { job: job.into(), attempt }
}

async fn started(store: &ControlStore, fence: Fence, job: &str) {
    store.submit(fence, &new_job(job), 1).await.unwrap();
    store.change_job(fence, job, JobState::Starting, "go", 2).await.unwrap();
}

pub(super) async fn agents_come_and_go(home: Home) {
    let (store, leader) = home.led().await;
    let fence = leader.fence();
    let (a, bereft) = store.register(fence, &new_agent("a", 2), 10).await.unwrap();
    assert_eq!((a.epoch, a.state, a.taken, a.heard, bereft.len()), (1, AgentState::Ready, 0, 10, 0));
    let (b, _) = store.register(fence, &new_agent("b", 1), 11).await.unwrap();
    assert_eq!(b.epoch, 2);
    started(&store, fence, "j").await;
    assert_eq!(
        store.place_tasks(fence, "j", 1, &[on((0, 0), "a", 1, 0), on((1, 0), "a", 1, 0), on((0, 1), "b", 2, 0)], 12).await.unwrap(),
        Placed::Done
    );
    store.change_tasks(fence, "j", 1, &[(TaskId { stage: 0, instance: 0 }, TaskState::Running, None)]).await.unwrap();
    assert_eq!(store.agents().await.unwrap().iter().map(|a| (a.id.as_str(), a.taken)).collect::<Vec<_>>(), [("a", 1), ("b", 1)]);
    // heard: forward only, and of the epoch that it is
    store.heard(fence, &[("a".into(), 1, 20), ("b".into(), 1, 99), ("nobody".into(), 1, 1)]).await.unwrap();
    store.heard(fence, &[("a".into(), 1, 15)]).await.unwrap();
    assert_eq!(store.agents().await.unwrap().iter().map(|a| a.heard).collect::<Vec<_>>(), [20, 11]);
    // it comes back as another: what it ran is lost
    let (a, bereft) = store.register(fence, &new_agent("a", 4), 30).await.unwrap();
    assert_eq!((a.epoch, a.slots, a.taken, bereft), (3, 4, 0, vec![lost("j", 1)]));
    let states = async || store.tasks("j", None).await.unwrap().into_iter().map(|t| t.state).collect::<Vec<_>>();
    assert_eq!(states().await, [TaskState::Lost, TaskState::Placed, TaskState::Lost]);
    // what is lost stays lost
    store.change_tasks(fence, "j", 1, &[(TaskId { stage: 0, instance: 0 }, TaskState::Finished, None)]).await.unwrap();
    assert_eq!(states().await[0], TaskState::Lost);
    let error = store.change_agent(fence, "a", 1, AgentState::Lost).await.unwrap_err().to_string();
    assert!(error.contains("agent `a` of epoch 1 is gone: it has registered as epoch 3 since"), "{error}");
    assert!(store.change_agent(fence, "a", 3, AgentState::Draining).await.unwrap().is_empty());
    assert_eq!(store.change_agent(fence, "b", 2, AgentState::Lost).await.unwrap(), [lost("j", 1)]);
    assert!(store.change_agent(fence, "b", 2, AgentState::Lost).await.unwrap().is_empty());
    assert!(store.change_agent(fence, "nobody", 2, AgentState::Lost).await.is_err());
    assert_eq!(states().await, [TaskState::Lost; 3]);
    assert_eq!(store.agent("b").await.unwrap().unwrap().state, AgentState::Lost);
    assert!(store.agent("nobody").await.unwrap().is_none());
}

pub(super) async fn a_placement_is_whole_or_not_at_all(home: Home) {
    let (store, leader) = home.led().await;
    let fence = leader.fence();
    for (id, slots) in [("a", 2), ("b", 2), ("c", 2)] {
        store.register(fence, &new_agent(id, slots), 1).await.unwrap();
    }
    store.change_agent(fence, "c", 3, AgentState::Draining).await.unwrap();
    for job in ["j", "k"] {
        started(&store, fence, job).await;
    }
    let good = [on((0, 0), "a", 1, 0), on((0, 1), "b", 2, 1), on((1, 0), "a", 1, 0)];
    assert_eq!(store.place_tasks(fence, "j", 1, &good, 5).await.unwrap(), Placed::Done);
    // the same again, in any order, is the same
    let turned: Vec<_> = good.iter().rev().cloned().collect();
    assert_eq!(store.place_tasks(fence, "j", 1, &turned, 6).await.unwrap(), Placed::Done);
    assert_eq!(store.job("j").await.unwrap().unwrap().updated, 5);
    let tasks = store.tasks("j", Some(1)).await.unwrap();
    assert_eq!(
        tasks.iter().map(|t| (t.id.stage, t.id.instance, t.placed.agent.as_str(), t.placed.slot)).collect::<Vec<_>>(),
        [(0, 0, "a", 0), (0, 1, "b", 1), (1, 0, "a", 0)]
    );
    assert_eq!(tasks[0].placed.reason, "slot 0 is free");
    for (bad, why) in [
        (on((1, 0), "a", 1, 0), "slot 0 of agent `a` is taken by job `j`, attempt 1"),
        (on((1, 0), "a", 1, 2), "agent `a` has 2 slots, and no slot 2"),
        (on((1, 0), "b", 1, 0), "agent `b` has registered anew (epoch 2, not 1)"),
        (on((1, 0), "c", 3, 0), "agent `c` is draining"),
        (on((1, 0), "d", 4, 0), "there is no agent `d`"),
    ] {
        let wanted = [on((0, 0), "a", 1, 1), bad];
        assert_eq!(store.place_tasks(fence, "k", 1, &wanted, 7).await.unwrap(), Placed::Refused(why.into()));
        assert!(store.tasks("k", Some(1)).await.unwrap().is_empty() && store.job("k").await.unwrap().unwrap().attempt == 0);
        assert_eq!(store.agent("a").await.unwrap().unwrap().taken, 1);
    }
    for (job, attempt, tasks, why) in [
        ("k", 2, vec![], "attempt 2 of job `k` cannot be placed: the job is starting in attempt 0"),
        ("k", 1, vec![on((0, 0), "a", 1, 1), on((0, 0), "b", 2, 0)], "names a task twice"),
        ("j", 1, vec![on((0, 0), "a", 1, 1)], "attempt 1 of job `j` is placed already, and otherwise"),
        ("x", 1, vec![], "there is no job `x`"),
    ] {
        let error = store.place_tasks(fence, job, attempt, &tasks, 8).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    // the next attempt needs slots: its own of before, once they are released
    assert!(matches!(store.place_tasks(fence, "j", 2, &good, 9).await.unwrap(), Placed::Refused(_)));
    store.change_tasks(fence, "j", 1, &[(TaskId { stage: 0, instance: 0 }, TaskState::Failed, Some("no luck".into()))]).await.unwrap();
    store.release(fence, "j", 1).await.unwrap();
    store.release(fence, "j", 1).await.unwrap();
    let first = store.tasks("j", Some(1)).await.unwrap();
    assert_eq!(first.iter().map(|t| t.state).collect::<Vec<_>>(), [TaskState::Failed, TaskState::Stopped, TaskState::Stopped]);
    assert_eq!(first[0].error.as_deref(), Some("no luck"));
    assert_eq!(store.place_tasks(fence, "j", 2, &good, 9).await.unwrap(), Placed::Done);
    // late news of the attempt before change nothing of this one
    store.release(fence, "j", 1).await.unwrap();
    assert_eq!(store.agents().await.unwrap().iter().map(|a| a.taken).collect::<Vec<_>>(), [1, 1, 0]);
    assert_eq!(store.tasks("j", None).await.unwrap().len(), 3);
    // who is over is not placed
    store.change_job(fence, "k", JobState::Cancelled, "by the user", 10).await.unwrap();
    assert!(store.place_tasks(fence, "k", 1, &[], 11).await.is_err());
}

/// Whether each slot belongs to one attempt, and each task of a placed attempt has its slot.
async fn consistent(store: &ControlStore, jobs: &[String]) -> usize {
    let agents: BTreeMap<String, (u32, u32)> = store.agents().await.unwrap().into_iter().map(|a| (a.id, (a.slots, a.taken))).collect();
    let mut slots: BTreeMap<(String, u32), String> = BTreeMap::new();
    for job in jobs {
        for task in store.tasks(job, None).await.unwrap() {
            if !matches!(task.state, TaskState::Placed | TaskState::Running) {
                continue;
            }
            assert!(task.placed.slot < agents[&task.placed.agent].0);
            let owner = slots.entry((task.placed.agent.clone(), task.placed.slot)).or_insert_with(|| job.clone());
            assert_eq!(owner, job, "slot {} of {} is shared", task.placed.slot, task.placed.agent);
        }
    }
    for (id, (_, taken)) in &agents {
        let used = slots.keys().filter(|(agent, _)| agent == id).count();
        assert_eq!(used, *taken as usize, "agent {id}");
    }
    slots.len()
}

pub(super) async fn placements_at_once_never_share_a_slot(home: Home) {
    const JOBS: u64 = 12;
    let (store, leader) = home.led().await;
    let fence = leader.fence();
    for id in ["a", "b", "c"] {
        store.register(fence, &new_agent(id, 4), 1).await.unwrap();
    }
    let jobs: Vec<String> = (0..JOBS).map(|n| format!("j{n}")).collect();
    for job in &jobs {
        started(&store, fence, job).await;
    }
    // through two connections to the store, as servers of two processes would
    let stores = [Arc::new(store), Arc::new(home.store().await)];
    let tries = (0..JOBS).map(|n| {
        let (store, job) = (Arc::clone(&stores[usize::try_from(n % 2).unwrap()]), jobs[usize::try_from(n).unwrap()].clone());
        tokio::spawn(async move {
            for round in 0..40 {
                // two slots anywhere, without looking
                let slots: BTreeSet<u64> = (0..2).map(|k| mix(n * 1000 + round * 10 + k) % 12).collect();
                let at = |(i, slot): (usize, &u64)| {
                    let agent = usize::try_from(slot / 4).unwrap();
                    on((0, u32::try_from(i).unwrap()), ["a", "b", "c"][agent], agent as u64 + 1, u32::try_from(slot % 4).unwrap())
                };
                let wanted: Vec<_> = slots.iter().enumerate().map(at).collect();
                match store.place_tasks(fence, &job, 1, &wanted, 3).await.unwrap() {
                    Placed::Done => return wanted.len(),
                    Placed::Refused(why) => assert!(why.contains("is taken by job"), "{why}"),
                }
            }
            0
        })
    });
    let mut placed = 0;
    for one in tries.collect::<Vec<_>>() {
        placed += one.await.unwrap();
    }
    assert_eq!(consistent(&stores[0], &jobs).await, placed);
    assert!((8..=12).contains(&placed), "{placed} of 12 slots");
}

pub(super) async fn any_order_of_changes_keeps_the_slots_right(home: Home) {
    let (store, leader) = home.led().await;
    let fence = leader.fence();
    let jobs: Vec<String> = (0..4).map(|n| format!("j{n}")).collect();
    for job in &jobs {
        started(&store, fence, job).await;
    }
    let mut epochs = BTreeMap::new();
    for seed in 0..300u64 {
        let random = |what: u64, below: u64| mix(seed * 16 + what) % below;
        let job = &jobs[usize::try_from(random(0, 4)).unwrap()];
        let agent = ["a", "b", "c"][usize::try_from(random(1, 3)).unwrap()];
        match random(2, 6) {
            0 => {
                let (now, _) = store.register(fence, &new_agent(agent, u32::try_from(1 + random(3, 4)).unwrap()), 1).await.unwrap();
                assert!(epochs.values().all(|e| *e < now.epoch));
                epochs.insert(agent, now.epoch);
            }
            1 if epochs.contains_key(agent) => {
                let state = AgentState::ALL[usize::try_from(random(3, 4)).unwrap()];
                store.change_agent(fence, agent, epochs[agent], state).await.unwrap();
            }
            2 => {
                let attempt = store.job(job).await.unwrap().unwrap().attempt;
                store.release(fence, job, attempt).await.unwrap();
            }
            _ => {
                let attempt = store.job(job).await.unwrap().unwrap().attempt + 1;
                let known: Vec<_> = epochs.iter().collect();
                let tasks: Vec<_> = (0..random(4, 3) + 1)
                    .filter(|_| !known.is_empty())
                    .map(|i| {
                        let (agent, epoch) = known[usize::try_from(random(5 + i, known.len() as u64)).unwrap()];
                        on((0, u32::try_from(i).unwrap()), agent, *epoch, u32::try_from(random(9 + i, 4)).unwrap())
                    })
                    .collect();
                // an attempt whose slots are not released keeps them: the next finds them taken, or takes others and the first is released then
                if let Placed::Done = store.place_tasks(fence, job, attempt, &tasks, 2).await.unwrap() {
                    store.release(fence, job, attempt - 1).await.unwrap();
                }
            }
        }
        consistent(&store, &jobs).await;
    }
}

/// The size that the design names.
pub(super) async fn ten_thousand_tasks_on_two_hundred_agents(home: Home) {
    let (store, leader) = home.led().await;
    let fence = leader.fence();
    let agents: Vec<String> = (0..200).map(|n| format!("agent-{n:03}")).collect();
    for (n, agent) in agents.iter().enumerate() {
        let (known, _) = store.register(fence, &new_agent(agent, 50), 1).await.unwrap();
        assert_eq!(known.epoch, n as u64 + 1);
    }
    started(&store, fence, "j").await;
    let task = |n: u32| {
        let agent = usize::try_from(n % 200).unwrap();
        on((n / 1000, n % 1000), &agents[agent], agent as u64 + 1, n / 200)
    };
    let tasks: Vec<Assignment> = (0..10_000).map(task).collect();
    let begun = Instant::now();
    assert_eq!(store.place_tasks(fence, "j", 1, &tasks, 2).await.unwrap(), Placed::Done);
    let placed = begun.elapsed();
    let running: Vec<_> = tasks.iter().map(|a| (a.task, TaskState::Running, None)).collect();
    let begun = Instant::now();
    store.change_tasks(fence, "j", 1, &running).await.unwrap();
    let changed = begun.elapsed();
    let beats: Vec<_> = agents.iter().enumerate().map(|(n, a)| (a.clone(), n as u64 + 1, 1000)).collect();
    let begun = Instant::now();
    store.heard(fence, &beats).await.unwrap();
    println!("10,000 tasks placed in {placed:?}, said to run in {changed:?}; 200 agents heard in {:?}", begun.elapsed());
    assert!(store.tasks("j", None).await.unwrap().iter().all(|t| t.state == TaskState::Running));
    assert!(store.agents().await.unwrap().iter().all(|a| (a.taken, a.heard) == (50, 1000)));
    assert!(placed < Duration::from_secs(10) && changed < Duration::from_secs(10));
}
