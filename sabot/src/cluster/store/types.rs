//! The rows. All times are milliseconds since 1970, and are told by the caller.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::utc;

/// Enums that are a word in the database, in JSON and in messages.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$of])* $variant,)+ }
        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// Its word.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
            /// What the word names.
            pub fn of(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

/// A server process, as others are told who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The number of its process.
    pub pid: u32,
    /// The name of its machine.
    pub host: String,
    /// Where it is reached, `host:port`.
    pub address: String,
    /// When it began to lead.
    pub since: i64,
}
impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let second = self.since - self.since.rem_euclid(1000);
        write!(f, "process {} on {} at {}, since {} UTC", self.pid, self.host, self.address, utc(second))
    }
}

words! {
    /// Where a job is.
    JobState {
        /// Written down; nothing runs yet.
        Submitted = "submitted",
        /// Its tasks are being placed and begun, for the first time or again.
        Starting = "starting",
        /// Its tasks run.
        Running = "running",
        /// It failed, and waits for its next attempt.
        Restarting = "restarting",
        /// It was asked to stop, and has not stopped yet.
        Stopping = "stopping",
        /// It stopped with a savepoint, and can go on from there.
        Suspended = "suspended",
        /// It ended, and its outputs are whole.
        Finished = "finished",
        /// It ended with an error.
        Failed = "failed",
        /// It was ended by somebody.
        Cancelled = "cancelled",
    }
}
impl JobState {
    /// Whether nothing of it runs, or will by itself.
    pub fn is_over(self) -> bool {
        matches!(self, JobState::Suspended | JobState::Finished | JobState::Failed | JobState::Cancelled)
    }
    /// Whether a job may go from here to there. A suspended one may start again, from its savepoint; one that has finished, failed or was cancelled may not.
    pub fn may_become(self, next: JobState) -> bool {
        use JobState as S;
        match self {
            S::Submitted => matches!(next, S::Starting | S::Restarting | S::Stopping | S::Failed | S::Cancelled),
            S::Starting => matches!(next, S::Running | S::Restarting | S::Stopping | S::Failed | S::Cancelled | S::Finished),
            S::Running => matches!(next, S::Starting | S::Restarting | S::Stopping | S::Suspended | S::Finished | S::Failed | S::Cancelled),
            S::Restarting => matches!(next, S::Starting | S::Stopping | S::Failed | S::Cancelled),
            S::Stopping => matches!(next, S::Suspended | S::Finished | S::Failed | S::Cancelled),
            S::Suspended => next == S::Starting,
            S::Failed | S::Cancelled | S::Finished => false,
        }
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Its name: of its pipeline, or the one given at submit.
    pub name: String,
    /// The build that its spec is of.
    pub build: String,
    /// What runs, as data.
    pub spec: Value,
    /// How it runs.
    pub options: Value,
    /// Where it is.
    pub state: JobState,
    /// The number of its attempt, from 1; 0 before the first. Its tasks' generation.
    pub attempt: u32,
    /// How often it was restarted after a failure.
    pub restarts: u32,
    /// The last error, as a sentence. It stays when a restart helped.
    pub error: Option<String>,
    /// When it was submitted.
    pub created: i64,
    /// When its state changed last.
    pub updated: i64,
}

/// A job in a list: without what it runs, which may be large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobLine {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The build that submitted it, or took it over.
    pub build: String,
    /// How it runs.
    pub options: Value,
    /// Where it is.
    pub state: JobState,
    /// The number of its attempt.
    pub attempt: u32,
    /// How often it was restarted after a failure.
    pub restarts: u32,
    /// The last error.
    pub error: Option<String>,
    /// The number of its newest checkpoint.
    pub checkpoint: Option<u64>,
    /// When it was submitted.
    pub created: i64,
    /// When its state changed last.
    pub updated: i64,
}

/// Which jobs to list: those that fit all that is said.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// In one of these states; in any, if none is named.
    pub states: Vec<JobState>,
    /// Of this name, or with an id that begins so.
    pub find: Option<String>,
    /// Behind this job in the list.
    pub after: Option<String>,
    /// At most so many; 0 is all.
    pub limit: u32,
}

/// What is kept of jobs that are over. What a job needs to go on is not touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many of them.
    pub jobs: u32,
    /// Those whose end is not longer ago.
    pub time: Duration,
}
impl Default for Keep {
    /// A thousand jobs, and thirty days.
    fn default() -> Self {
        Keep { jobs: 1000, time: Duration::from_secs(30 * 24 * 3600) }
    }
}

/// A change of a job's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobChange {
    /// When.
    pub at: i64,
    /// To which state.
    pub state: JobState,
    /// In which attempt.
    pub attempt: u32,
    /// Why: a sentence.
    pub reason: String,
}

words! {
    /// Where a task is.
    TaskState {
        /// Placed on a slot.
        Placed = "placed",
        /// It runs.
        Running = "running",
        /// It ended as it should.
        Finished = "finished",
        /// It ended with an error.
        Failed = "failed",
        /// It was ended because its attempt was.
        Stopped = "stopped",
        /// Its agent was lost, and nobody knows what became of it.
        Lost = "lost",
    }
}

/// One instance of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The stage.
    pub stage: u32,
    /// Which of its instances.
    pub instance: u32,
}
impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.stage, self.instance)
    }
}

/// A task of an attempt of a job, and where it is placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Which.
    pub id: TaskId,
    /// Of which attempt.
    pub attempt: u32,
    /// Where it is.
    pub state: TaskState,
    /// Its error, as a sentence.
    pub error: Option<String>,
    /// On which agent and slot, and why.
    pub placed: Assignment,
}

/// A task on a slot of an agent. Tasks of one attempt may share a slot; tasks of two never do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The task.
    pub task: TaskId,
    /// The agent.
    pub agent: String,
    /// The agent's epoch, as the placement was made: an agent that has registered anew since is another.
    pub epoch: u64,
    /// The slot, from 0.
    pub slot: u32,
    /// Why there: a sentence.
    pub reason: String,
}

/// What became of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// All of it is written.
    Done,
    /// Nothing of it is, because agents are not as it thought: a sentence. Look again, and place anew.
    Refused(String),
}

words! {
    /// Where an agent is.
    AgentState {
        /// It takes tasks.
        Ready = "ready",
        /// It finishes what it has, takes nothing new and leaves.
        Draining = "draining",
        /// It was not heard for its lease.
        Lost = "lost",
        /// It said goodbye.
        Left = "left",
    }
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id, the same over its restarts.
    pub id: String,
    /// Where it is reached, `host:port`.
    pub address: String,
    /// Its build.
    pub build: String,
    /// Cores, memory and what else it says of itself.
    pub resources: Value,
    /// How many slots it has.
    pub slots: u32,
    /// Where it is.
    pub state: AgentState,
    /// Grows with every registration, over all agents: who bears an older one of the same id is a zombie.
    pub epoch: u64,
    /// When it was heard last.
    pub heard: i64,
    /// How many of its slots are taken.
    pub taken: u32,
}

words! {
    /// What is done to jobs and agents in several steps.
    OperationKind {
        /// Begin a job.
        Submit = "submit",
        /// End one.
        Cancel = "cancel",
        /// Write a savepoint.
        Savepoint = "savepoint",
        /// Stop a job with a savepoint.
        Suspend = "suspend",
        /// Run it at another parallelism.
        Rescale = "rescale",
        /// Start it again after a task failed.
        RecoverTask = "recover-task",
        /// Start jobs again after an agent was lost.
        RecoverAgent = "recover-agent",
        /// Go on with another build.
        Upgrade = "upgrade",
    }
}

words! {
    /// Where an operation is.
    OperationState {
        /// Under way.
        Running = "running",
        /// It did what it should.
        Done = "done",
        /// It ended with an error.
        Failed = "failed",
        /// It was given up.
        Cancelled = "cancelled",
    }
}

/// An operation: a durable workflow, as users follow it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id: its workflow's.
    pub id: String,
    /// What it does.
    pub kind: OperationKind,
    /// To which job.
    pub job: Option<String>,
    /// What it was asked.
    pub input: Value,
    /// Where it is.
    pub state: OperationState,
    /// The step it is in, in a few words.
    pub progress: String,
    /// What came out.
    pub outcome: Option<Value>,
    /// Its error, as a sentence.
    pub error: Option<String>,
    /// When it began.
    pub created: i64,
    /// When something of it changed last.
    pub updated: i64,
}

words! {
    /// Who keeps a checkpoint.
    CheckpointKind {
        /// The job, until newer ones are there.
        Checkpoint = "checkpoint",
        /// Its user, who asked for it.
        Savepoint = "savepoint",
    }
}

/// A complete checkpoint of a job: its manifest is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its number, growing over all attempts of the job.
    pub number: u64,
    /// Of whom.
    pub kind: CheckpointKind,
    /// A savepoint's name.
    pub name: Option<String>,
    /// The attempt that wrote it.
    pub attempt: u32,
    /// Where it is.
    pub location: String,
    /// Its size.
    pub bytes: u64,
    /// Milliseconds from barrier to manifest.
    pub took: u64,
    /// When it was complete.
    pub at: i64,
}

words! {
    /// How bad an event is.
    Level {
        /// To be known.
        Info = "info",
        /// To be watched.
        Warning = "warning",
        /// Something failed.
        Error = "error",
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, growing; the store gives it.
    pub number: u64,
    /// When.
    pub at: i64,
    /// How bad.
    pub level: Level,
    /// To which job.
    pub job: Option<String>,
    /// To which agent.
    pub agent: Option<String>,
    /// A sentence.
    pub message: String,
}

/// Which events to list: those that fit all that is said.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this job.
    pub job: Option<String>,
    /// Of this agent.
    pub agent: Option<String>,
    /// After the event of this number: the oldest of them. Without, the newest.
    pub after: Option<u64>,
    /// At most so many; 0 is 1000.
    pub limit: u32,
}
