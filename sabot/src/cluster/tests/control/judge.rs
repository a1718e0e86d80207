//! What must hold: meanwhile, and once the faults have ended.

use std::sync::Arc;
use std::time::Duration;

use super::Cluster;
use super::net::Line;
use crate::cluster::durable::{Filter, State, Summary};
use crate::cluster::server::{Core, forget, upgradable, version, view};
use crate::cluster::store::{ATTEMPTS, Job, JobState, Keep, OperationKind, OperationState};
use crate::runtime::RunOptions;
use crate::sync::lock;

/// How long it may take until all is well again. A server that begins waits for leases of 5 s, agents join within 2 s, attempts are up to 10 s apart.
const BOUND: Duration = Duration::from_secs(90);

/// While things go wrong.
pub(super) async fn meanwhile(cluster: &Cluster) -> Result<(), String> {
    if let Some(problem) = cluster.board.problem() {
        return Err(problem);
    }
    let Some((_, core)) = cluster.net.server() else { return Ok(()) };
    for (member, taken) in core.hub.members_with_load() {
        if taken > member.registration.slots {
            return Err(format!("{} of {} slots of {} are taken", taken, member.registration.slots, member.registration.name));
        }
    }
    for agent in core.store.agents().await.map_err(|e| e.to_string())? {
        if agent.taken > agent.slots {
            return Err(format!("the store has {} of {} slots of {} taken", agent.taken, agent.slots, agent.id));
        }
    }
    Ok(())
}

/// Nothing goes wrong any more: all must become well, and then all that is ended must leave nothing.
pub(super) async fn at_last(cluster: &mut Cluster) -> Result<(), String> {
    cluster.world.note("FAULT   no more");
    *lock(&cluster.common.calm) = true;
    // what waits for another build gets one
    if cluster.users.upgraded > 0 {
        cluster.kill_server();
        cluster.build += 1;
    }
    if cluster.server.is_none() {
        cluster.start_server();
    }
    for at in 0..cluster.agents.len() {
        let Some(machine) = cluster.agents.get_mut(at) else { continue };
        if std::mem::take(&mut machine.frozen) {
            cluster.world.thaw(machine.process);
        }
        cluster.net.line(machine.process, Line::Cut);
    }
    for n in 0..2 {
        cluster.start_agent(&format!("fresh-{n}"), 40);
    }
    let (since, mut brought) = (cluster.world.now(), false);
    // whether all that ends is waited for
    let patient = cluster.world.chance(40);
    loop {
        cluster.world.sleep(Duration::from_millis(500)).await;
        meanwhile(cluster).await?;
        let missing = match cluster.net.server() {
            Some((_, core)) if !std::mem::replace(&mut brought, true) => {
                bring_over(cluster, &core).await?;
                continue;
            }
            Some((_, core)) => well(cluster, &core, patient).await?,
            None => Some("the server is not up".into()),
        };
        let Some(missing) = missing else { break };
        if cluster.world.now() - since > BOUND {
            return Err(format!("{BOUND:?} after the last fault {missing}"));
        }
    }
    // also those whose user never heard that they were submitted
    let Some((_, core)) = cluster.net.server() else { return Err("the server is gone".into()) };
    for job in rows(&core).await? {
        cluster.users.cancel(&job.id);
    }
    drop(core);
    let since = cluster.world.now();
    loop {
        cluster.world.sleep(Duration::from_millis(500)).await;
        meanwhile(cluster).await?;
        let Some((_, core)) = cluster.net.server() else { return Err("the server is gone".into()) };
        let Some(left) = left(cluster, &core).await? else { break };
        if cluster.world.now() - since > BOUND {
            return Err(format!("{BOUND:?} after all was cancelled {left}"));
        }
    }
    if let Some((_, core)) = cluster.net.server() {
        told(cluster, &core).await?;
        // in another millisecond than all that ended
        cluster.world.sleep(Duration::from_millis(500)).await;
        forgotten(&core).await?;
    }
    Ok(())
}

/// Of jobs that are over nothing is left once nothing is kept.
async fn forgotten(core: &Arc<Core>) -> Result<(), String> {
    let nothing = Keep { jobs: 0, time: Duration::ZERO };
    forget(core, &nothing).await.map_err(|e| e.to_string())?;
    let flows = core.workflows().map_err(|e| e.to_string())?.list(&Filter::default()).await.map_err(|e| e.to_string())?;
    if let Some(left) = flows.iter().find(|w| w.state != State::Stuck) {
        return Err(format!("workflow {} ({}, {:?}) is never forgotten", left.id, left.name, left.state));
    }
    match (rows(core).await?.first(), core.store.operations(None, 10_000).await.map_err(|e| e.to_string())?.first()) {
        (Some(job), _) => Err(format!("job {} is never forgotten", job.id)),
        (None, Some(operation)) => Err(format!("operation {} is never forgotten", operation.id)),
        (None, None) => Ok(()),
    }
}

/// What is of another build than the server is upgraded, or cancelled if that cannot be.
async fn bring_over(cluster: &mut Cluster, core: &Core) -> Result<(), String> {
    for job in rows(core).await? {
        if job.state.is_over() || job.build == core.build.id {
            continue;
        }
        match upgradable(&job) {
            Ok(_) => cluster.users.upgrade(&job.id),
            Err(_) => cluster.users.cancel(&job.id),
        }
    }
    Ok(())
}

async fn rows(core: &Core) -> Result<Vec<Job>, String> {
    core.store.jobs().await.map_err(|e| e.to_string())
}

fn threads(job: &Job) -> Result<usize, String> {
    let options: RunOptions = serde_json::from_value(job.options.clone()).map_err(|e| e.to_string())?;
    Ok(options.threads)
}

/// More slots than any job names: one that was submitted without a number has taken all that were free, and others may find none.
const GREEDY: usize = 8;

/// What is not well yet.
async fn well(cluster: &Cluster, core: &Arc<Core>, patient: bool) -> Result<Option<String>, String> {
    let jobs = rows(core).await?;
    let free = view::server(core).free_slots;
    let mut greedy = false;
    for job in jobs.iter().filter(|job| !job.state.is_over()) {
        greedy |= threads(job)? > GREEDY;
    }
    let mut waiting = Vec::new();
    for job in jobs {
        if job.state.is_over() {
            continue;
        }
        if greedy && matches!(job.state, JobState::Submitted | JobState::Starting | JobState::Restarting) && threads(&job)? > free {
            waiting.push(job.id);
            continue;
        }
        if job.state != JobState::Running {
            return Ok(Some(format!("job {} is {}", job.id, job.state)));
        }
        if patient && job.id.starts_with("sim_ends") {
            return Ok(Some(format!("job {} has not ended", job.id)));
        }
        let (acting, threads) = (cluster.board.acting(Some(&job.id)), threads(&job)?);
        let slots: usize = acting.iter().map(|s| s.slots).sum();
        if slots != threads || acting.iter().any(|s| s.id.attempt != job.attempt) {
            return Ok(Some(format!("job {} shall run in {} slots, in attempt {}, and has {acting:?}", job.id, threads, job.attempt)));
        }
    }
    for operation in core.store.operations(None, 10_000).await.map_err(|e| e.to_string())? {
        let waits = operation.job.as_ref().is_some_and(|job| waiting.contains(job));
        if operation.state == OperationState::Running && !waits {
            return Ok(Some(format!("operation {} is at `{}`", operation.id, operation.progress)));
        }
    }
    unfinished(core, Some(&waiting)).await
}

/// The first workflow that is not over; those by which jobs run may be left out, and those that wait for what these jobs wait for.
async fn unfinished(core: &Arc<Core>, but: Option<&[String]>) -> Result<Option<String>, String> {
    let workflows = core.workflows().map_err(|e| e.to_string())?;
    let filter = Filter { states: vec![State::Running, State::Queued, State::Cancelled, State::Stuck], ..Filter::default() };
    let left = workflows.list(&filter).await.map_err(|e| e.to_string())?;
    // those of other builds that were given up stay cancelled
    let given_up = |w: &Summary| w.state == State::Cancelled && w.version != version(core);
    let lives = |w: &Summary| matches!(w.name.as_str(), "submit" | "continue");
    let fine = |w: &Summary| but.is_some_and(|waiting| lives(w) || waiting.iter().any(|job| w.id.contains(job.as_str())));
    Ok(left.into_iter().find(|w| !given_up(w) && !fine(w)).map(|w| format!("workflow {} is {:?}", w.id, w.state)))
}

/// What is left of jobs that were all cancelled.
async fn left(cluster: &Cluster, core: &Arc<Core>) -> Result<Option<String>, String> {
    for job in rows(core).await? {
        if !job.state.is_over() {
            return Ok(Some(format!("job {} is {}", job.id, job.state)));
        }
    }
    if let Some(seen) = cluster.board.held().first() {
        return Ok(Some(format!("{seen:?} runs")));
    }
    if let Some(run) = core.hub.runs().values().find(|r| r.holds_slots()) {
        return Ok(Some(format!("attempt {} of {} has slots", run.attempt, run.job)));
    }
    for agent in core.store.agents().await.map_err(|e| e.to_string())? {
        if agent.taken > 0 {
            return Ok(Some(format!("{} slots of {} are taken in the store", agent.taken, agent.id)));
        }
    }
    for operation in core.store.operations(None, 10_000).await.map_err(|e| e.to_string())? {
        if operation.state == OperationState::Running {
            return Ok(Some(format!("operation {} is at `{}`", operation.id, operation.progress)));
        }
    }
    unfinished(core, None).await
}

/// What the store tells of all that was.
async fn told(cluster: &Cluster, core: &Arc<Core>) -> Result<(), String> {
    let store = &core.store;
    for job in rows(core).await? {
        let id = &job.id;
        if job.state == JobState::Finished {
            cluster.board.count(|t| t.finished += 1);
        }
        let error = job.error.clone().unwrap_or_default();
        // a first placement may find too few slots; without checkpoints nothing says where an endless job was
        let told = ["slot", "keeps no checkpoints"].iter().any(|why| error.contains(why));
        if job.state == JobState::Failed && !told {
            return Err(format!("job {id} has failed: {error}"));
        }
        let changes = store.job_changes(id).await.map_err(|e| e.to_string())?;
        let upgrades = store.operations(Some(id), 10_000).await.map_err(|e| e.to_string())?;
        let upgraded = upgrades.iter().any(|o| o.kind == OperationKind::Upgrade);
        for pair in changes.windows(2) {
            let (from, to) = (&pair[0], &pair[1]);
            let goes_on = upgraded && (from.state, to.state) == (JobState::Suspended, JobState::Starting);
            if (from.state.is_over() && !goes_on) || !from.state.may_become(to.state) || to.attempt < from.attempt || to.at < from.at {
                return Err(format!("job {id} went from {from:?} to {to:?}"));
            }
        }
        // those before are forgotten when a server begins
        for attempt in job.attempt.saturating_sub(ATTEMPTS) + 1..=job.attempt {
            let tasks = store.tasks(id, Some(attempt)).await.map_err(|e| e.to_string())?;
            if tasks.is_empty() {
                return Err(format!("attempt {attempt} of {id} was placed without tasks"));
            }
        }
    }
    let known = lock(&cluster.users.known).operations.clone();
    for id in known {
        let Some(operation) = store.operation(&id).await.map_err(|e| e.to_string())? else {
            return Err(format!("operation {id} was begun, and is not known"));
        };
        if operation.state == OperationState::Running {
            return Err(format!("operation {id} does not end"));
        }
        let job = match &operation.job {
            Some(job) => store.job(job).await.map_err(|e| e.to_string())?,
            None => None,
        };
        if operation.state != OperationState::Done {
            continue;
        }
        cluster.board.count(|t| t.done += 1);
        match (operation.kind, job) {
            (OperationKind::Cancel | OperationKind::Suspend, Some(job)) if !job.state.is_over() => {
                return Err(format!("{id} is done, and the job is {}", job.state));
            }
            (OperationKind::Rescale, Some(job)) => {
                let outcome = operation.outcome.clone().unwrap_or_default();
                let (attempt, wanted) = (outcome["attempt"].as_u64().unwrap_or(0), outcome["parallelism"].as_u64().unwrap_or(0));
                // another request may have changed it again since
                let attempts = 1..=u32::try_from(attempt).unwrap_or(0);
                let had: Vec<usize> = attempts.map(|attempt| cluster.board.slots(&job.id, attempt)).collect();
                if !had.iter().any(|slots| *slots as u64 == wanted) {
                    return Err(format!("{id} is done with {outcome}, and the attempts had {had:?} slots"));
                }
            }
            (OperationKind::Savepoint | OperationKind::Suspend, Some(_)) => {
                let outcome = operation.outcome.clone().unwrap_or_default();
                let path = outcome["path"].as_str().unwrap_or_default();
                if !std::path::Path::new(path).is_file() {
                    return Err(format!("{id} is done with {outcome}, and there is no such file"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
