//! Jobs, operations, checkpoints, events.

use std::time::{Duration, Instant};

use sabot::cluster::store::{
    AgentState, Assignment, Checkpoint, CheckpointKind, Event, EventFilter, JobFilter, JobState, Keep, Level, NewAgent, NewJob,
    OperationKind, OperationState, Placed, TaskId,
};
use sabot_cluster_tests::Home;
use serde_json::json;

pub(super) fn new_job(id: &str) -> NewJob {
    NewJob {
        id: id.into(),
        name: "flights".into(),
        build: "b1".into(),
        spec: json!({"plan": [1, "zwei", null]}),
        options: json!({"threads": 2}),
    }
}

pub(super) async fn jobs_and_their_states(home: Home) {
    let (store, leader) = home.led().await;
    let fence = leader.fence();
    assert!(store.jobs().await.unwrap().is_empty() && store.job("j").await.unwrap().is_none());
    let job = store.submit(fence, &new_job("j"), 1000).await.unwrap();
    assert_eq!((job.state, job.attempt, job.restarts, job.created, &job.spec), (JobState::Submitted, 0, 0, 1000, &new_job("j").spec));
    // again is the same, another is not
    assert_eq!(store.submit(fence, &new_job("j"), 2000).await.unwrap(), job);
    let error = store.submit(fence, &NewJob { name: "other".into(), ..new_job("j") }, 2000).await.unwrap_err().to_string();
    assert!(error.contains("job `j` is there already, and another"), "{error}");
    // every pair of states goes as `may_become` says, and a refused change leaves no trace
    let mut at = 3000;
    for from in JobState::ALL {
        for to in JobState::ALL {
            let id = format!("{from}-{to}");
            store.submit(fence, &new_job(&id), 1).await.unwrap();
            for step in path(*from) {
                at += 1;
                store.change_job(fence, &id, step, "on the way", at).await.unwrap();
            }
            let before = (store.job(&id).await.unwrap().unwrap(), store.job_changes(&id).await.unwrap());
            let changed = store.change_job(fence, &id, *to, "for the test", at + 1).await;
            let changes = store.job_changes(&id).await.unwrap();
            if from == to {
                assert_eq!((changed.unwrap(), changes), before);
            } else if from.may_become(*to) {
                let job = changed.unwrap();
                assert_eq!((job.state, job.updated), (*to, at + 1));
                assert_eq!(changes.len(), before.1.len() + 1);
                assert_eq!((changes.last().unwrap().state, changes.last().unwrap().reason.as_str()), (*to, "for the test"));
            } else {
                let error = changed.unwrap_err().to_string();
                assert!(error.contains(&format!("is {from}, and cannot become {to} (for the test)")), "{error}");
                assert_eq!((store.job(&id).await.unwrap().unwrap(), changes), before);
            }
        }
    }
    // failures are counted, and their reason is kept
    for (state, reason) in
        [(JobState::Starting, "go"), (JobState::Running, "runs"), (JobState::Restarting, "no luck"), (JobState::Starting, "again")]
    {
        store.change_job(fence, "j", state, reason, 9000).await.unwrap();
    }
    let job = store.job("j").await.unwrap().unwrap();
    assert_eq!((job.restarts, job.error.as_deref()), (1, Some("no luck")));
    let reasons: Vec<String> = store.job_changes("j").await.unwrap().into_iter().map(|c| c.reason).collect();
    assert_eq!(reasons, ["submitted", "go", "runs", "no luck", "again"]);
    let job = store.respecify(fence, "j", "b2", &json!(1), &json!({"threads": 4}), 9001).await.unwrap();
    assert_eq!((job.build.as_str(), &job.spec, &job.options), ("b2", &json!(1), &json!({"threads": 4})));
    assert!(store.steps("j").await.unwrap().is_none());
    for rows in [7, 8] {
        store.keep_steps(fence, "j", &json!([{"instances": 2}]), &json!([{"rows": rows}])).await.unwrap();
        assert_eq!(store.steps("j").await.unwrap(), Some((json!([{"instances": 2}]), json!([{"rows": rows}]))));
    }
    assert!(store.keep_steps(fence, "nobody", &json!([]), &json!([])).await.is_err());
    let error = store.change_job(fence, "nobody", JobState::Failed, "x", 1).await.unwrap_err().to_string();
    assert!(error.contains("there is no job `nobody`"), "{error}");
    let ids: Vec<String> = store.jobs().await.unwrap().into_iter().map(|j| j.id).collect();
    assert_eq!((ids.len(), ids[0].as_str()), (1 + JobState::ALL.len().pow(2), "j"));
}

/// How a job gets to a state.
fn path(to: JobState) -> Vec<JobState> {
    use JobState as S;
    match to {
        S::Submitted => vec![],
        S::Starting | S::Stopping | S::Failed | S::Cancelled => vec![to],
        S::Running | S::Restarting | S::Finished => vec![S::Starting, to],
        S::Suspended => vec![S::Starting, S::Running, to],
    }
}

pub(super) async fn operations_checkpoints_and_events(home: Home) {
    let (store, leader) = home.led().await;
    let fence = leader.fence();
    store.submit(fence, &new_job("j"), 1).await.unwrap();
    let begun = store.begin_operation(fence, "o1", OperationKind::Rescale, Some("j"), &json!({"to": 8}), 10).await.unwrap();
    assert_eq!((begun.state, begun.progress.as_str(), begun.job.as_deref()), (OperationState::Running, "", Some("j")));
    assert_eq!(store.begin_operation(fence, "o1", OperationKind::Cancel, None, &json!(0), 11).await.unwrap(), begun);
    store.progress(fence, "o1", "checkpoint", 12).await.unwrap();
    let o = store.operation("o1").await.unwrap().unwrap();
    assert_eq!((o.progress.as_str(), o.updated), ("checkpoint", 12));
    store.end_operation(fence, "o1", None, 13).await.unwrap();
    assert_eq!(store.operation("o1").await.unwrap().unwrap().state, OperationState::Cancelled);
    store.end_operation(fence, "o1", Some(Ok(&json!({"slots": 8}))), 14).await.unwrap();
    // the end counts
    store.end_operation(fence, "o1", Some(Err("too late")), 15).await.unwrap();
    store.progress(fence, "o1", "too late", 16).await.unwrap();
    let o = store.operation("o1").await.unwrap().unwrap();
    assert_eq!((o.state, o.outcome, o.error, o.updated), (OperationState::Done, Some(json!({"slots": 8})), None, 14));
    for (n, kind) in OperationKind::ALL.iter().enumerate() {
        let id = format!("p{n}");
        store.begin_operation(fence, &id, *kind, None, &json!(null), 20 + i64::try_from(n).unwrap()).await.unwrap();
        store.end_operation(fence, &id, Some(Err("no agents")), 30).await.unwrap();
        let o = store.operation(&id).await.unwrap().unwrap();
        assert_eq!((o.kind, o.state, o.error.as_deref(), o.outcome), (*kind, OperationState::Failed, Some("no agents"), None));
    }
    let ids = async |job: Option<&str>, limit| store.operations(job, limit).await.unwrap().into_iter().map(|o| o.id).collect::<Vec<_>>();
    assert_eq!(ids(Some("j"), 10).await, ["o1"]);
    assert_eq!(ids(None, 2).await, ["p7", "p6"]);
    assert_eq!(ids(None, 100).await.len(), 1 + OperationKind::ALL.len());
    assert!(store.operation("nothing").await.unwrap().is_none());

    let checkpoint = |number, kind, name: Option<&str>| Checkpoint {
        number,
        kind,
        name: name.map(str::to_owned),
        attempt: 2,
        location: format!("s3://b/{number}"),
        bytes: 1 << 40,
        took: 7,
        at: 100,
    };
    for n in 1..=3 {
        store.add_checkpoint(fence, "j", &checkpoint(n, CheckpointKind::Checkpoint, None)).await.unwrap();
    }
    store.add_checkpoint(fence, "j", &checkpoint(4, CheckpointKind::Savepoint, Some("before"))).await.unwrap();
    store.add_checkpoint(fence, "j", &checkpoint(4, CheckpointKind::Checkpoint, None)).await.unwrap();
    store.remove_checkpoint(fence, "j", 1).await.unwrap();
    store.remove_checkpoint(fence, "j", 1).await.unwrap();
    let all = store.checkpoints("j").await.unwrap();
    assert_eq!(all[0], checkpoint(4, CheckpointKind::Savepoint, Some("before")));
    assert_eq!(all[1], checkpoint(4, CheckpointKind::Checkpoint, None));
    assert_eq!(all.iter().map(|c| c.number).collect::<Vec<_>>(), [4, 4, 3, 2]);
    // the job's own goes, and the user's stays, however many are of one number
    store.add_checkpoint(fence, "j", &checkpoint(4, CheckpointKind::Savepoint, Some("also"))).await.unwrap();
    store.add_checkpoint(fence, "j", &checkpoint(4, CheckpointKind::Savepoint, Some("also"))).await.unwrap();
    store.remove_checkpoint(fence, "j", 4).await.unwrap();
    let names: Vec<_> = store.checkpoints("j").await.unwrap().into_iter().map(|c| (c.number, c.name)).collect();
    assert_eq!(names, [(4, Some("also".into())), (4, Some("before".into())), (3, None), (2, None)]);
    assert!(store.checkpoints("nobody").await.unwrap().is_empty());
    assert!(store.add_checkpoint(fence, "nobody", &all[0]).await.is_err());

    let event = |at, level, job: Option<&str>, agent: Option<&str>| Event {
        number: 0,
        at,
        level,
        job: job.map(str::to_owned),
        agent: agent.map(str::to_owned),
        message: format!("at {at}: 'quoted' \"twice\" ü\n"),
    };
    let events = [
        event(1, Level::Info, Some("j"), None),
        event(2, Level::Warning, None, Some("a")),
        event(3, Level::Error, Some("j"), Some("a")),
        event(4, Level::Info, None, None),
    ];
    store.log(fence, &events[..2]).await.unwrap();
    store.log(fence, &events[2..]).await.unwrap();
    let listed = async |filter: EventFilter| store.events(&filter).await.unwrap().into_iter().map(|e| e.number).collect::<Vec<_>>();
    let all = store.events(&EventFilter::default()).await.unwrap();
    assert_eq!(all.iter().map(|e| Event { number: 0, ..e.clone() }).collect::<Vec<_>>(), events);
    assert_eq!(listed(EventFilter { job: Some("j".into()), ..EventFilter::default() }).await, [1, 3]);
    assert_eq!(listed(EventFilter { agent: Some("a".into()), job: Some("j".into()), ..EventFilter::default() }).await, [3]);
    assert_eq!(listed(EventFilter { after: Some(1), limit: 2, ..EventFilter::default() }).await, [2, 3]);
    assert_eq!(listed(EventFilter { limit: 2, ..EventFilter::default() }).await, [3, 4]);
    store.trim_events(fence, 3).await.unwrap();
    store.log(fence, &events[..1]).await.unwrap();
    assert_eq!(listed(EventFilter::default()).await, [2, 3, 4, 5]);
}

pub(super) async fn lists_of_jobs(home: Home) {
    let (store, leader) = home.led().await;
    let fence = leader.fence();
    // two of each time, so that ids decide between them
    for n in 0..20 {
        let new = NewJob { name: format!("name%{}", n % 3), ..new_job(&format!("flights-{n:02}")) };
        store.submit(fence, &new, 100 - n / 2).await.unwrap();
    }
    for (n, state) in [(3, JobState::Cancelled), (4, JobState::Failed), (5, JobState::Starting)] {
        store.change_job(fence, &format!("flights-{n:02}"), state, "for the test", 200).await.unwrap();
    }
    for number in [3, 9, 4] {
        let checkpoint = Checkpoint {
            number,
            kind: CheckpointKind::Checkpoint,
            name: None,
            attempt: 1,
            location: "here".into(),
            bytes: 1,
            took: 1,
            at: 1,
        };
        store.add_checkpoint(fence, "flights-05", &checkpoint).await.unwrap();
    }
    let ids = async |filter: JobFilter| store.list_jobs(&filter).await.unwrap().into_iter().map(|j| j.id).collect::<Vec<_>>();
    let all = ids(JobFilter::default()).await;
    assert_eq!(all, store.jobs().await.unwrap().into_iter().map(|j| j.id).collect::<Vec<_>>());
    assert_eq!(all, (0..20).map(|n| format!("flights-{n:02}")).collect::<Vec<_>>());
    // page after page, whatever their size
    for limit in 1..=21 {
        let mut pages: Vec<String> = Vec::new();
        loop {
            let some = ids(JobFilter { after: pages.last().cloned(), limit, ..JobFilter::default() }).await;
            let last = some.len() < limit as usize;
            pages.extend(some);
            if last {
                break;
            }
        }
        assert_eq!(pages, all, "{limit}");
    }
    let over = vec![JobState::Cancelled, JobState::Failed];
    assert_eq!(ids(JobFilter { states: over.clone(), ..JobFilter::default() }).await, ["flights-03", "flights-04"]);
    let find = |text: &str| JobFilter { find: Some(text.into()), ..JobFilter::default() };
    assert_eq!(ids(find("flights-1")).await.len(), 10);
    assert_eq!(ids(find("name%2")).await.len(), 6);
    assert!(ids(find("name")).await.is_empty() && ids(find("%")).await.is_empty() && ids(find("flights_0")).await.is_empty());
    let few = JobFilter { states: over, find: Some("name%0".into()), after: Some("flights-00".into()), limit: 9 };
    assert_eq!(ids(few).await, ["flights-03"]);
    let unknown = JobFilter { after: Some("nobody".into()), ..JobFilter::default() };
    assert!(store.list_jobs(&unknown).await.unwrap_err().to_string().contains("there is no job `nobody`"));
    let line = store.list_jobs(&find("flights-05")).await.unwrap().remove(0);
    assert_eq!((line.checkpoint, line.state, line.options), (Some(9), JobState::Starting, new_job("").options));
    let counts = store.count_jobs().await.unwrap();
    assert_eq!(
        counts,
        [(JobState::Cancelled, 1), (JobState::Failed, 1), (JobState::Starting, 1), (JobState::Submitted, 17)],
        "by their words"
    );
}

pub(super) async fn what_is_over_is_forgotten(home: Home) {
    let (store, leader) = home.led().await;
    let fence = leader.fence();
    let agent = |id: &str| NewAgent { id: id.into(), address: "h:1".into(), build: "b1".into(), resources: json!({}), slots: 4 };
    for id in ["a", "b"] {
        store.register(fence, &agent(id), 10).await.unwrap();
    }
    // jobs of all kinds: each has an operation, a checkpoint and tasks of seven attempts
    let place = async |job: &str, attempt: u32, slot: u32| {
        let epoch = store.agent("a").await.unwrap().unwrap().epoch;
        let task = TaskId { stage: 0, instance: 0 };
        let tasks = [Assignment { task, agent: "a".into(), epoch, slot, reason: "free".into() }];
        assert_eq!(store.place_tasks(fence, job, attempt, &tasks, 1).await.unwrap(), Placed::Done);
    };
    for (n, job) in ["old", "older", "slotted", "asked", "new", "open"].into_iter().enumerate() {
        store.submit(fence, &new_job(job), 1).await.unwrap();
        store.change_job(fence, job, JobState::Starting, "go", 1).await.unwrap();
        let slot = u32::from(job == "slotted");
        for attempt in 1..=7 {
            place(job, attempt, slot).await;
            if job != "slotted" || attempt < 7 {
                store.release(fence, job, attempt).await.unwrap();
            }
        }
        let operation = format!("o-{job}");
        store.begin_operation(fence, &operation, OperationKind::Cancel, Some(job), &json!(null), 1).await.unwrap();
        if job != "asked" {
            store.end_operation(fence, &operation, None, 50_000).await.unwrap();
        }
        store.keep_steps(fence, job, &json!([]), &json!([])).await.unwrap();
        for (kind, name) in [(CheckpointKind::Checkpoint, None), (CheckpointKind::Savepoint, Some("kept".to_owned()))] {
            let checkpoint = Checkpoint { number: 1, kind, name, attempt: 1, location: "c".into(), bytes: 1, took: 1, at: 1 };
            store.add_checkpoint(fence, job, &checkpoint).await.unwrap();
        }
        if job != "open" {
            let at = if job == "new" { 50_000 } else { 100 - i64::try_from(n).unwrap() };
            store.change_job(fence, job, JobState::Failed, "over", at).await.unwrap();
        }
    }
    let keep = |jobs, seconds| Keep { jobs, time: Duration::from_secs(seconds) };
    let forgets = async |keep: Keep| store.jobs_to_forget(&keep, 60_000).await.unwrap();
    assert!(forgets(keep(1000, 60)).await.is_empty());
    // by age; what has slots, or is asked for something, stays
    assert_eq!(forgets(keep(1000, 30)).await, ["older", "old"]);
    // by number: the newest stay
    assert_eq!(forgets(keep(1, 3600)).await, ["older", "old"]);
    assert_eq!(forgets(keep(0, 3600)).await, ["older", "old", "new"]);
    for held in ["slotted", "open"] {
        assert!(!store.forget_job(fence, held).await.unwrap() && store.job(held).await.unwrap().is_some());
    }
    for job in ["older", "old"] {
        for _ in 0..2 {
            assert!(store.forget_job(fence, job).await.unwrap());
        }
        assert!(store.job(job).await.unwrap().is_none() && store.job_changes(job).await.unwrap().is_empty());
        assert!(store.checkpoints(job).await.unwrap().is_empty() && store.steps(job).await.unwrap().is_none());
        assert!(store.tasks(job, Some(7)).await.unwrap().is_empty() && store.operation(&format!("o-{job}")).await.unwrap().is_none());
    }
    // of those that stay the newest attempts, and what runs
    store.forget_attempts(fence).await.unwrap();
    for job in ["new", "open", "slotted"] {
        for attempt in 1..=7 {
            let there = store.tasks(job, Some(attempt)).await.unwrap().len();
            assert_eq!(there, usize::from(attempt > 2), "{job} {attempt}");
        }
    }
    // a job's changes are numbered on when the first are gone
    for n in 0..600 {
        for state in [JobState::Restarting, JobState::Starting] {
            store.change_job(fence, "open", state, "again", 2000 + n).await.unwrap();
        }
    }
    store.forget_attempts(fence).await.unwrap();
    assert_eq!(store.job_changes("open").await.unwrap().len(), 1000);
    store.change_job(fence, "open", JobState::Failed, "the last", 9000).await.unwrap();
    let changes = store.job_changes("open").await.unwrap();
    assert_eq!((changes.len(), changes.last().unwrap().reason.as_str()), (1001, "the last"));

    let operations = async |keep: Keep| store.operations_to_forget(&keep, 60_000).await.unwrap();
    assert!(operations(keep(0, 60)).await.is_empty());
    let gone = operations(keep(0, 5)).await;
    assert_eq!(gone, ["o-new", "o-open", "o-slotted"], "those that run stay");
    store.forget_operations(fence, &gone).await.unwrap();
    store.forget_operations(fence, &["o-asked".into()]).await.unwrap();
    assert!(store.operation("o-new").await.unwrap().is_none() && store.operation("o-asked").await.unwrap().is_some());

    // an agent that tasks name stays with them
    store.register(fence, &agent("c"), 1000).await.unwrap();
    assert_eq!(store.forget_agents(fence, 1000).await.unwrap(), 1);
    let there: Vec<(String, AgentState)> = store.agents().await.unwrap().into_iter().map(|a| (a.id, a.state)).collect();
    assert_eq!(there, [("a".to_owned(), AgentState::Ready), ("c".to_owned(), AgentState::Ready)]);
}

pub(super) async fn the_speed_of_a_write(home: Home) {
    const WRITES: u32 = 200;
    let (store, leader) = home.led().await;
    store.submit(leader.fence(), &new_job("j"), 1).await.unwrap();
    let mut times = Vec::new();
    for n in 0..WRITES {
        let begun = Instant::now();
        store.begin_operation(leader.fence(), &format!("o{n}"), OperationKind::Savepoint, Some("j"), &json!(n), 1).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("{WRITES} writes: p50 {:?}, p99 {:?}", times[100], times[198]);
    assert!(times[100].as_millis() < 50, "{times:?}");
}
