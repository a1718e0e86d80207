//! The states of a job and of its tasks, and how they follow each other.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Written down, nothing done yet.
    Pending,
    /// Its plan is being made.
    Optimising,
    /// Its stages are being made.
    Compiling,
    /// It waits for slots that are free.
    Waiting,
    /// Its tasks are sent to agents.
    Deploying,
    /// It runs.
    Running,
    /// It stops, to go on with another number of instances or on other agents.
    Rescaling,
    /// Something was lost; it will go on from its last checkpoint.
    Recovering,
    /// It is being stopped for good.
    Cancelling,
    /// It was stopped for good.
    Cancelled,
    /// It was stopped with a savepoint, from which it can be submitted again.
    Suspended,
    /// All its rows are where they belong.
    Finished,
    /// It ended with an error.
    Failed,
}

impl JobState {
    /// All of them.
    pub const ALL: [JobState; 13] = [
        JobState::Pending,
        JobState::Optimising,
        JobState::Compiling,
        JobState::Waiting,
        JobState::Deploying,
        JobState::Running,
        JobState::Rescaling,
        JobState::Recovering,
        JobState::Cancelling,
        JobState::Cancelled,
        JobState::Suspended,
        JobState::Finished,
        JobState::Failed,
    ];
    /// Whether nothing follows.
    pub fn is_over(self) -> bool {
        matches!(self, JobState::Cancelled | JobState::Suspended | JobState::Finished | JobState::Failed)
    }
    /// Whether `next` may follow.
    pub fn leads_to(self, next: JobState) -> bool {
        use JobState::{
            Cancelled, Cancelling, Compiling, Deploying, Failed, Finished, Optimising, Pending, Recovering, Rescaling, Running, Suspended,
            Waiting,
        };
        match self {
            Pending => matches!(next, Optimising | Cancelling | Failed),
            Optimising => matches!(next, Compiling | Cancelling | Failed),
            Compiling => matches!(next, Waiting | Deploying | Cancelling | Failed),
            Waiting => matches!(next, Deploying | Cancelling | Failed),
            Deploying => matches!(next, Running | Recovering | Rescaling | Cancelling | Failed | Finished | Suspended),
            Running => matches!(next, Rescaling | Recovering | Cancelling | Suspended | Finished | Failed),
            Rescaling => matches!(next, Waiting | Deploying | Recovering | Running | Cancelling | Finished | Failed),
            Recovering => matches!(next, Waiting | Deploying | Cancelling | Rescaling | Failed),
            // what had ended before it was told has ended
            Cancelling => matches!(next, Cancelled | Finished | Failed | Suspended),
            Cancelled | Suspended | Finished | Failed => false,
        }
    }
    /// As it is written in listings.
    pub fn word(self) -> &'static str {
        match self {
            JobState::Pending => "pending",
            JobState::Optimising => "optimising",
            JobState::Compiling => "compiling",
            JobState::Waiting => "waiting",
            JobState::Deploying => "deploying",
            JobState::Running => "running",
            JobState::Rescaling => "rescaling",
            JobState::Recovering => "recovering",
            JobState::Cancelling => "cancelling",
            JobState::Cancelled => "cancelled",
            JobState::Suspended => "suspended",
            JobState::Finished => "finished",
            JobState::Failed => "failed",
        }
    }
}

/// The state of a task, in one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It has an agent, which does not know of it yet.
    Scheduled,
    /// It was sent to its agent.
    Deploying,
    /// It runs.
    Running,
    /// Its rows have ended.
    Finished,
    /// It was stopped with its attempt.
    Stopped,
    /// Its agent is lost.
    Lost,
    /// It ended its attempt with an error.
    Failed,
}

/// One entry of a job's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The state.
    pub state: JobState,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Why, for people.
    pub why: String,
}

/// The states that a job went through.
///
/// ```
/// use sabot::cluster::{History, JobState};
///
/// let mut history = History::new(0);
/// history.enter(JobState::Optimising, 1, "submitted").unwrap();
/// assert!(history.enter(JobState::Finished, 2, "").unwrap_err().to_string().contains("optimising"));
/// assert_eq!(history.state(), JobState::Optimising);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(Vec<Step>);

/// Entries that are kept; of a job that fails again and again the oldest go, the first stays.
const KEPT: usize = 200;

impl History {
    /// A job that was just written down.
    pub fn new(at_ms: u64) -> Self {
        History(vec![Step { state: JobState::Pending, at_ms, why: "submitted".into() }])
    }
    /// The present state.
    pub fn state(&self) -> JobState {
        self.0.last().map_or(JobState::Pending, |s| s.state)
    }
    /// The entries, oldest first.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
    /// Enters a state. The present one again changes nothing: steps of workflows may be repeated.
    ///
    /// # Errors
    /// If it cannot follow the present one.
    pub fn enter(&mut self, next: JobState, at_ms: u64, why: &str) -> Result<()> {
        let state = self.state();
        if state == next {
            return Ok(());
        }
        if !state.leads_to(next) {
            return Err(Error::Usage(format!("a job that is {} cannot become {}", state.word(), next.word())));
        }
        self.0.push(Step { state: next, at_ms, why: why.into() });
        if self.0.len() > KEPT {
            self.0.remove(1);
        }
        Ok(())
    }
}
