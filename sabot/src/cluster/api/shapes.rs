//! What the API answers, and is asked, as JSON. Times are milliseconds since 1970 (`.._ms`: spans in milliseconds), sizes are bytes.

use serde::{Deserialize, Serialize};

use crate::cluster::membership::Standing;
use crate::cluster::store::{Checkpoint, Event, JobChange, JobState, Operation, Task};
use crate::operator::Account;
use crate::plan::Plan;
use crate::runtime::RunOptions;
use crate::runtime::share::StageShape;
use crate::stream::JobSpec;

/// `GET /v1/server`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerView {
    /// The version of Sabot and a hash of the executable.
    pub build: String,
    /// The pipelines of the program.
    pub pipelines: Vec<String>,
    /// Where agents connect: `host:port`.
    pub control: String,
    /// Whether agents connect over TLS.
    pub tls: bool,
    /// The process.
    pub pid: u32,
    /// When it began to lead.
    pub since: i64,
    /// Agents that are there.
    pub agents: usize,
    /// Their slots, and those that no job has.
    pub slots: usize,
    /// Free slots.
    pub free_slots: usize,
    /// Where jobs and operations are kept.
    pub store: String,
}

/// `POST /v1/join`, which agents ask with their build before they join.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinView {
    /// Where agents connect: `host:port`.
    pub control: String,
    /// The key with which tickets are signed.
    pub ticket_key: String,
    /// Whether agents must show certificates there.
    pub tls: bool,
}

/// `POST /v1/jobs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Submission {
    /// A number that makes the request unique: sent twice, it is one job.
    pub key: String,
    /// A name for people; the pipeline's, if there is none.
    pub name: Option<String>,
    /// The job.
    pub spec: JobSpec,
    /// How it runs; `threads` is its parallelism, 0 is one instance per free slot.
    pub options: RunOptions,
    /// How often it is started again after something failed.
    #[serde(default)]
    pub restarts: Option<u32>,
}

/// What was begun: `GET /v1/operations/{operation}` follows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Begun {
    /// The job.
    pub job: String,
    /// The operation.
    pub operation: String,
}

/// `POST /v1/jobs/{id}/savepoint`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavepointAsked {
    /// Its name.
    pub name: String,
    /// Whether the job ends with it.
    #[serde(default)]
    pub stop: bool,
}

/// `POST /v1/jobs/{id}/rescale`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RescaleAsked {
    /// Instances of each parallel step.
    pub parallelism: usize,
}

/// `POST /v1/jobs/{id}/upgrade`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UpgradeAsked {
    /// The name of the savepoint that the job stops with; by default `upgrade-` and the time.
    #[serde(default)]
    pub savepoint: Option<String>,
    /// Whether state may be lost for which the other build has no place.
    #[serde(default)]
    pub allow_dropped_state: bool,
}

/// A job in a list: `GET /v1/jobs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its pipeline.
    pub pipeline: String,
    /// The build that it is of.
    pub build: String,
    /// Its state.
    pub state: JobState,
    /// Instances of each parallel step.
    pub parallelism: usize,
    /// The attempt, from 1.
    pub attempt: u32,
    /// How often it was restarted after a failure.
    pub restarts: u32,
    /// Agents that run it.
    pub agents: Vec<String>,
    /// Rows that its sources read in a second, now.
    pub rows_per_second: f64,
    /// The number of its newest checkpoint.
    pub checkpoint: Option<u64>,
    /// The last error.
    pub error: Option<String>,
    /// When it was submitted.
    pub created: i64,
    /// When its state changed last.
    pub updated: i64,
}

/// A job: `GET /v1/jobs/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobView {
    /// What lists show.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// Its plan: steps, schemas, keys.
    pub plan: Plan,
    /// The plan drawn, as mermaid source.
    pub mermaid: String,
    /// Its stages.
    pub stages: Vec<StageShape>,
    /// The tasks of the present attempt: agent, slot, why there, state.
    pub tasks: Vec<Task>,
    /// Each step of the physical plan.
    pub operators: Vec<OperatorView>,
    /// Its checkpoints, newest first.
    pub checkpoints: Vec<Checkpoint>,
    /// What was and is done to it, newest first.
    pub operations: Vec<Operation>,
    /// The states it went through, oldest first, with attempts and reasons.
    pub history: Vec<JobChange>,
    /// The directory or address of its checkpoints.
    pub checkpoint_dir: Option<String>,
    /// Its sinks, as outputs that others read.
    pub outputs: Vec<OutputView>,
}

/// A sink of a job, as an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputView {
    /// Its name.
    pub name: String,
    /// The file or directory that its rows are in, if it is one.
    pub place: Option<String>,
    /// Why its rows cannot be read now; nothing if they can.
    pub unreadable: Option<String>,
}

/// `POST /v1/jobs/{id}/outputs/{name}/ticket`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TicketAsked {
    /// How long it lasts: an hour by default, a day at most.
    #[serde(default)]
    pub seconds: Option<u64>,
}

/// A ticket with which any Flight client reads an output by `DoGet`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketView {
    /// The job.
    pub job: String,
    /// The output's name.
    pub output: String,
    /// Where to ask for the rows, one after the other: `grpc://host:port`, or `grpc+tls://host:port`. First the agent that wrote them.
    pub addresses: Vec<String>,
    /// The ticket.
    pub ticket: String,
    /// When it is worth nothing any more.
    pub expires: i64,
}

/// A step of a job, over all of its instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OperatorView {
    /// Its stable id.
    pub name: String,
    /// Its stage.
    pub stage: usize,
    /// Its instances.
    pub instances: usize,
    /// Agents that have some.
    pub agents: Vec<String>,
    /// Its rows since the attempt began; of a job that has finished, over all attempts. In = used + filtered + late + failed + held.
    pub rows: Account,
    /// Rows that came in, in a second, now.
    pub rows_in_per_second: f64,
    /// Rows that went out, in a second, now.
    pub rows_out_per_second: f64,
    /// The part of its instances that wait for room behind them: 0 to 1.
    pub backpressure: f64,
    /// Bytes that wait before it.
    pub queued_bytes: u64,
    /// The event time that all of its instances have passed, in microseconds since 1970, or in whatever the records count.
    pub watermark: Option<i64>,
    /// How far that is behind the furthest watermark of the job's steps.
    pub watermark_lag: Option<i64>,
    /// Bytes that its operators hold.
    pub state_bytes: u64,
}

/// An agent: `GET /v1/agents`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentView {
    /// Its name.
    pub name: String,
    /// Its fencing number, of this registration.
    pub epoch: u64,
    /// Where other agents reach it.
    pub address: String,
    /// Its state.
    pub standing: Standing,
    /// Its process.
    pub pid: u32,
    /// Its cores.
    pub cores: usize,
    /// Its memory limit.
    pub memory: Option<u64>,
    /// Its slots.
    pub slots: usize,
    /// Those that a job has.
    pub taken: usize,
    /// Tasks that run.
    pub tasks: usize,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Cores busy, on average over a second.
    pub busy: f64,
    /// Milliseconds since its last heartbeat.
    pub silent_ms: u64,
}

/// `GET /v1/operations/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperationView {
    /// The operation.
    #[serde(flatten)]
    pub operation: Operation,
    /// The steps that are done, oldest first.
    pub steps: Vec<StepView>,
}

/// A step of an operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// Its error.
    pub error: Option<String>,
    /// When it began.
    pub started: Option<i64>,
    /// When it was done.
    pub finished: Option<i64>,
}

/// `GET /v1/logs?job=..&agent=..&after=..&limit=..`: the newest events, oldest first; with `after` those that follow that number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Logs {
    /// The events.
    pub events: Vec<Event>,
}

/// Every refusal: the status says of what kind, this says why and what to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// A sentence.
    pub error: String,
}
