//! What the API shows of the server's memory and its store.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::core::{Core, read, shown};
use super::run::{Run, StepNow};
use crate::Result;
use crate::cluster::api::{AgentView, JobSummary, JobView, OperatorView, ServerView};
use crate::cluster::membership::Standing;
use crate::cluster::store::{JobFilter, JobLine, JobState};
use crate::plan::mermaid;
use crate::runtime::RunOptions;
use crate::stream::JobSpec;

/// The server.
pub(in crate::cluster) fn server(core: &Core) -> ServerView {
    let members = core.hub.members_with_load();
    // an agent that has just joined again counts once
    let newest: Vec<u64> = core.hub.members().newest().map(|m| m.epoch).collect();
    let there: Vec<_> = members.iter().filter(|(m, _)| m.standing.holds() && newest.contains(&m.epoch)).collect();
    ServerView {
        build: core.build.id.clone(),
        pipelines: core.build.pipelines.clone(),
        control: core.face.control.clone(),
        tls: core.face.tls,
        pid: std::process::id(),
        since: core.face.since,
        agents: there.len(),
        slots: there.iter().map(|(m, _)| m.registration.slots).sum(),
        free_slots: there
            .iter()
            .filter(|(m, _)| m.standing == Standing::Alive)
            .map(|(m, taken)| m.registration.slots.saturating_sub(*taken))
            .sum(),
        store: core.store.place(),
    }
}

/// The agents, by name.
pub(in crate::cluster) fn agents(core: &Core) -> Vec<AgentView> {
    let at = core.hub.now();
    let mut all: Vec<AgentView> = core
        .hub
        .members_with_load()
        .into_iter()
        .map(|(m, taken)| AgentView {
            name: m.registration.name.clone(),
            epoch: m.epoch,
            address: m.registration.address,
            standing: m.standing,
            pid: m.registration.pid,
            cores: m.registration.cores,
            memory: m.registration.memory,
            slots: m.registration.slots,
            taken,
            tasks: m.beat.tasks,
            resident: m.beat.resident,
            busy: m.beat.busy,
            silent_ms: u64::try_from(at.saturating_sub(m.heard).as_millis()).unwrap_or(u64::MAX),
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name).then(a.epoch.cmp(&b.epoch)));
    all
}

/// The jobs that fit, newest first.
pub(in crate::cluster) async fn jobs(core: &Arc<Core>, filter: &JobFilter) -> Result<Vec<JobSummary>> {
    core.store.list_jobs(filter).await?.into_iter().map(|line| summary(core, line)).collect()
}

/// The pipeline of a job: its id is the pipeline's name, a hyphen, and digits.
fn pipeline_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(pipeline, _)| pipeline)
}

fn summary(core: &Arc<Core>, line: JobLine) -> Result<JobSummary> {
    let options: RunOptions = read(&line.options, "a job's options")?;
    let run = core.hub.run_of(&line.id).filter(|r| r.holds_slots() && line.state.has_tasks());
    let rows_per_second = run.as_ref().map_or(0.0, |run| read_rate(run));
    Ok(JobSummary {
        pipeline: pipeline_of(&line.id).to_owned(),
        id: line.id,
        name: line.name,
        build: line.build,
        state: line.state,
        parallelism: options.threads,
        attempt: line.attempt,
        restarts: line.restarts,
        agents: run.map(|r| r.assignments.agents.iter().map(|(name, _)| name.clone()).collect()).unwrap_or_default(),
        rows_per_second,
        checkpoint: line.checkpoint,
        error: line.error,
        created: line.created,
        updated: line.updated,
    })
}

/// Rows that sources read in a second.
fn read_rate(run: &Run) -> f64 {
    let sources = sources(run);
    run.steps().iter().filter(|s| sources.contains(&s.name)).map(|s| s.per_second.0).sum()
}

/// The names of the sources' steps.
fn sources(run: &Run) -> Vec<String> {
    run.shapes.iter().filter(|s| s.source).filter_map(|s| s.nodes.first().cloned()).collect()
}

/// A job with all that is known of it.
pub(in crate::cluster) async fn job(core: &Arc<Core>, id: &str) -> Result<JobView> {
    let row = core.row(id).await?;
    let spec: JobSpec = read(&row.spec, "a job's specification")?;
    let options: RunOptions = read(&row.options, "a job's options")?;
    let run = core.hub.run_of(id);
    let outputs = super::outputs::views(core, &row, &spec, &options).await?;
    // of a job that has ended before this server began, or before many others
    let kept = if run.is_some() { None } else { core.store.steps(id).await? };
    let (stages, operators) = match (&run, kept) {
        (Some(run), _) => (run.shapes.clone(), operators(run)),
        (None, Some((stages, steps))) => (read(&stages, "a job's stages")?, read(&steps, "a job's steps")?),
        (None, None) => (Vec::new(), Vec::new()),
    };
    let checkpoints = core.store.checkpoints(id).await?;
    let line = JobLine {
        id: row.id,
        name: row.name,
        build: row.build,
        options: row.options,
        state: row.state,
        attempt: row.attempt,
        restarts: row.restarts,
        error: row.error,
        checkpoint: checkpoints.first().map(|c| c.number),
        created: row.created,
        updated: row.updated,
    };
    Ok(JobView {
        summary: summary(core, line)?,
        mermaid: mermaid(&spec.plan),
        plan: spec.plan,
        stages,
        tasks: core.store.tasks(id, None).await?,
        operators,
        checkpoints,
        operations: core.store.operations(Some(id), 100).await?,
        history: core.store.job_changes(id).await?,
        checkpoint_dir: shown(options.checkpoint_dir.as_ref()),
        outputs,
    })
}

/// The steps of a run.
pub(in crate::cluster::server) fn operators(run: &Run) -> Vec<OperatorView> {
    let steps = run.steps();
    let furthest = steps.iter().filter_map(|s| s.watermark).map(micros).max();
    let stage_of: BTreeMap<&str, usize> =
        run.shapes.iter().enumerate().flat_map(|(n, s)| s.nodes.iter().map(move |name| (name.as_str(), n))).collect();
    steps.iter().map(|s| operator(run, s, furthest, stage_of.get(s.name.as_str()).copied().unwrap_or(0))).collect()
}

fn micros(time: crate::operator::EventTime) -> i64 {
    time
}

fn operator(run: &Run, s: &StepNow, furthest: Option<i64>, stage: usize) -> OperatorView {
    // a watermark at either end of time says that nothing is known, or that all has come
    let watermark = s.watermark.map(micros).filter(|w| *w != i64::MIN && *w != i64::MAX);
    OperatorView {
        name: s.name.clone(),
        stage,
        instances: s.instances,
        agents: s.shares.iter().filter_map(|n| run.assignments.agents.get(*n)).map(|(name, _)| name.clone()).collect(),
        rows: s.account,
        rows_in_per_second: s.per_second.0,
        rows_out_per_second: s.per_second.1,
        backpressure: if s.instances == 0 { 0.0 } else { s.blocked as f64 / s.instances as f64 },
        queued_bytes: s.queued,
        watermark,
        watermark_lag: watermark.zip(furthest.filter(|f| *f != i64::MAX)).map(|(w, f)| (f - w).max(0)),
        state_bytes: s.held,
    }
}

/// All numbers, in Prometheus' text format.
pub(in crate::cluster) async fn metrics(core: &Arc<Core>) -> Result<String> {
    use std::fmt::Write as _;
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
        // writing to a string cannot fail
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{{{labels}}} {value}");
        }
    };
    let label = |name: &str, value: &str| format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    // one sample for each name: an agent that has just joined again is there twice for the time of a lease
    let newest: Vec<u64> = core.hub.members().newest().map(|m| m.epoch).collect();
    let agents: Vec<AgentView> = agents(core).into_iter().filter(|a| newest.contains(&a.epoch)).collect();
    let of =
        |pick: &dyn Fn(&AgentView) -> f64| -> Vec<(String, f64)> { agents.iter().map(|a| (label("agent", &a.name), pick(a))).collect() };
    family("sabot_agent_up", "gauge", "1 while the agent's lease runs.", &of(&|a| f64::from(u8::from(a.standing.holds()))));
    family("sabot_agent_slots", "gauge", "Slots of the agent.", &of(&|a| a.slots as f64));
    family("sabot_agent_slots_taken", "gauge", "Slots that jobs have.", &of(&|a| a.taken as f64));
    family("sabot_agent_tasks", "gauge", "Tasks that run.", &of(&|a| a.tasks as f64));
    family("sabot_agent_resident_bytes", "gauge", "Resident memory.", &of(&|a| a.resident as f64));
    family("sabot_agent_busy_cores", "gauge", "Cores busy over the last second.", &of(&|a| a.busy));
    family("sabot_agent_silent_seconds", "gauge", "Time since the last heartbeat.", &of(&|a| a.silent_ms as f64 / 1000.0));
    // those that are over are counted only: else each would be a series for ever
    let counts: Vec<(String, f64)> =
        core.store.count_jobs().await?.into_iter().map(|(state, n)| (label("state", state.word()), n as f64)).collect();
    family("sabot_jobs", "gauge", "Jobs in this state.", &counts);
    let open = JobState::ALL.iter().copied().filter(|s| !s.is_over()).collect();
    let jobs = jobs(core, &JobFilter { states: open, ..JobFilter::default() }).await?;
    let job_label = |j: &JobSummary| format!("{},{}", label("job", &j.id), label("name", &j.name));
    let state = |j: &JobSummary| (format!("{},{}", job_label(j), label("state", j.state.word())), 1.0);
    family("sabot_job_state", "gauge", "1 for the state that the job is in.", &jobs.iter().map(state).collect::<Vec<_>>());
    family(
        "sabot_job_restarts_total",
        "counter",
        "Restarts after failures.",
        &jobs.iter().map(|j| (job_label(j), f64::from(j.restarts))).collect::<Vec<_>>(),
    );
    family(
        "sabot_job_parallelism",
        "gauge",
        "Instances of each parallel step.",
        &jobs.iter().map(|j| (job_label(j), j.parallelism as f64)).collect::<Vec<_>>(),
    );
    let checkpoint = |j: &JobSummary| j.checkpoint.map(|n| (job_label(j), n as f64));
    family(
        "sabot_job_checkpoint",
        "gauge",
        "The number of the newest checkpoint.",
        &jobs.iter().filter_map(checkpoint).collect::<Vec<_>>(),
    );
    let mut steps: Vec<(String, OperatorView)> = Vec::new();
    for job in jobs.iter().filter(|j| j.state.has_tasks()) {
        if let Some(run) = core.hub.run_of(&job.id) {
            steps.extend(operators(&run).into_iter().map(|o| (format!("{},{}", job_label(job), label("step", &o.name)), o)));
        }
    }
    let of = |pick: &dyn Fn(&OperatorView) -> f64| -> Vec<(String, f64)> { steps.iter().map(|(l, o)| (l.clone(), pick(o))).collect() };
    family("sabot_step_rows_in_total", "counter", "Rows that came in.", &of(&|o| o.rows.rows_in as f64));
    family("sabot_step_rows_out_total", "counter", "Rows that went out.", &of(&|o| o.rows.rows_out as f64));
    family(
        "sabot_step_rows_used_total",
        "counter",
        "Rows that reached an output, or a state that was emitted.",
        &of(&|o| o.rows.used as f64),
    );
    family("sabot_step_rows_filtered_total", "counter", "Rows that a predicate dropped.", &of(&|o| o.rows.filtered as f64));
    family("sabot_step_rows_late_total", "counter", "Rows behind the watermark.", &of(&|o| o.rows.late as f64));
    family("sabot_step_rows_failed_total", "counter", "Rows on which user code failed.", &of(&|o| o.rows.failed as f64));
    family("sabot_step_rows_held", "gauge", "Rows that are held in state.", &of(&|o| o.rows.held as f64));
    family("sabot_step_backpressure", "gauge", "The part of the instances that wait for room behind them.", &of(&|o| o.backpressure));
    family("sabot_step_queued_bytes", "gauge", "Bytes that wait before the step.", &of(&|o| o.queued_bytes as f64));
    family("sabot_step_state_bytes", "gauge", "Bytes that the step holds.", &of(&|o| o.state_bytes as f64));
    let lag: Vec<(String, f64)> = steps.iter().filter_map(|(l, o)| o.watermark_lag.map(|lag| (l.clone(), lag as f64 / 1e6))).collect();
    family("sabot_step_watermark_lag_seconds", "gauge", "Event time behind the furthest step, if it counts microseconds.", &lag);
    Ok(out)
}
