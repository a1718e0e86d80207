//! What a share and its lead tell each other. Each direction arrives once and in order, or the share is lost.
//!
//! The life of a share: it says [`Hello`](FromShare::Hello), is told to [`Prepare`](ToShare::Prepare), says that it is
//! [`Ready`](FromShare::Ready), is told to [`Start`](ToShare::Start), works, and says of each task when it was cut and when it has finished. The lead ends it: by [`End`](ToShare::End), which is answered by [`Over`](FromShare::Over), or by
//! [`Abort`](ToShare::Abort). A share that fails says [`Failed`](FromShare::Failed). `Over` and `Failed` are the last that is heard of it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fault, Placement};
use crate::operator::{Account, EventTime};
pub use crate::runtime::coordinate::Part;
use crate::runtime::{Checkpoint, WorkerReport};
use crate::shuffle::LinkId;

/// What a process needs to know to run its share of a job, beside the job itself and its options. Made by [`Lead::begin`](super::Lead::begin).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Its number, from 0.
    pub number: usize,
    /// Who runs what.
    pub placement: Placement,
    /// The number of instances of each parallel step, over all shares.
    pub parallelism: usize,
    /// Larger than that of every attempt before.
    pub generation: u64,
    /// The number of the last checkpoint, or claim, before the job begins.
    pub epoch: u64,
    /// What the job begins with.
    pub from: From,
    /// The steps of the lead's physical plan: that of the share must have the same.
    #[serde(default)]
    pub steps: Vec<String>,
    /// What must be found where checkpoints are kept, so that all processes see the same directory: the name of an object, and what is in it.
    pub probe: Option<(String, String)>,
    /// A share that has not been answered for so long ends by itself.
    pub lease: Duration,
}

/// What a job begins with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum From {
    /// Nothing.
    #[default]
    Start,
    /// The checkpoint of this number.
    Checkpoint(u64),
    /// A savepoint: its file or address.
    Savepoint(PathBuf),
    /// This checkpoint.
    Given(Box<Checkpoint>),
}

/// What a share has listed of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The source.
    pub node: String,
    /// How many splits.
    pub splits: u64,
    /// A hash of them.
    pub hash: u64,
}

/// How far a share has come, for who looks whether the whole job stands still.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// No task runs or is about to, and nothing outside is to wake one.
    pub still: bool,
    /// Some task sleeps.
    pub sleeps: bool,
    /// Some queue is full and waited for.
    pub waits: bool,
    /// Messages put into and taken out of all queues.
    pub moves: u64,
    /// Messages put into each outgoing link.
    pub sent: Vec<(LinkId, u64)>,
    /// Messages that have come by each incoming link; and whether the next ones wait for room.
    pub came: Vec<(LinkId, u64, bool)>,
}

/// What a step does in one share, since the share began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMetrics {
    /// The step's number in the physical plan.
    pub node: usize,
    /// How many of its instances are here.
    pub instances: usize,
    /// Its rows.
    pub account: Account,
    /// Bytes that wait before it.
    pub queued: u64,
    /// How many of its instances wait for room in a queue behind them.
    pub blocked: usize,
    /// The least watermark that its instances have passed on; `None` if one has none yet.
    pub watermark: Option<EventTime>,
    /// Bytes that its operators hold.
    pub held: u64,
}

/// What a share did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareReport {
    /// Its worker threads.
    pub workers: Vec<WorkerReport>,
    /// Bytes that each step has spilled, in the order of the physical plan.
    pub spilled: Vec<u64>,
    /// The most bytes that any one queue held.
    pub peak_channel_bytes: u64,
}

/// From a share to its lead.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FromShare {
    /// It has begun, and this is what its sources have.
    Hello {
        /// In the order of the plan.
        sources: Vec<Listed>,
    },
    /// Its tasks are there, its sinks are open, and peers can reach its ends of the links.
    Ready {
        /// The sinks that publish with each checkpoint, by their numbers in the physical plan.
        publish: Vec<usize>,
        /// The other ones.
        commit: Vec<usize>,
    },
    /// Told every second or so; to be answered with the same number.
    Beat {
        /// Ascending.
        number: u64,
    },
    /// A task is being cut; the cut follows.
    Cutting {
        /// The number of the task in the whole job.
        task: usize,
    },
    /// A task was cut.
    Cut {
        /// The number of the task in the whole job.
        task: usize,
        /// What it contributes to the checkpoint.
        part: Box<Part>,
    },
    /// A task has finished.
    Finished {
        /// The number of the task in the whole job.
        task: usize,
        /// What it contributes to all checkpoints from now on.
        part: Box<Part>,
    },
    /// An instance of a step needs no more rows.
    Satisfied {
        /// The step's number in the physical plan.
        node: usize,
    },
    /// A sink has published what it had prepared for a checkpoint.
    Published {
        /// The sink's number in the physical plan.
        node: usize,
        /// The checkpoint.
        epoch: u64,
    },
    /// A sink has committed.
    Committed {
        /// The sink's number in the physical plan.
        node: usize,
    },
    /// Nothing has moved for a while, though not all is done.
    Still,
    /// The answer to [`ToShare::Count`].
    Counted {
        /// The number of the question.
        round: u64,
        /// How far it has come.
        counts: Counts,
    },
    /// Told every second or so, and at the end: the steps that have instances here.
    Metrics(Vec<NodeMetrics>),
    /// Something worth a log line, as it happens: something is tried again, a partition fell idle, queues were let grow.
    Event(String),
    /// It has ended with an error.
    Failed(Fault),
    /// It has ended in good order.
    Over(ShareReport),
}

/// From the lead to a share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ToShare {
    /// All shares are there and have the same to read: it shall open its sinks and make its tasks.
    Prepare,
    /// All shares are ready.
    Start,
    /// The answer to [`FromShare::Beat`].
    Beat {
        /// Its number.
        number: u64,
    },
    /// Sources send the barrier of this checkpoint.
    Begin {
        /// Its number.
        epoch: u64,
    },
    /// Another share has a [`Satisfied`](FromShare::Satisfied) instance of this step.
    Satisfied {
        /// The step's number in the physical plan.
        node: usize,
    },
    /// A sink shall publish what it prepared for a checkpoint that is now durable.
    Publish {
        /// The sink's number in the physical plan.
        node: usize,
        /// The checkpoint.
        epoch: u64,
        /// What it had prepared.
        prepared: serde_json::Value,
    },
    /// A checkpoint is durable, published, and the base of the next.
    Settled {
        /// Its number.
        epoch: u64,
    },
    /// A sink shall commit: all rows of the job have been written.
    Commit {
        /// The sink's number in the physical plan.
        node: usize,
    },
    /// Wakes every task, so that none waits for a call that is late.
    Wake,
    /// Asks how far it has come.
    Count {
        /// The number of the question.
        round: u64,
    },
    /// The whole job stands still: full queues that are waited for shall grow.
    Relax,
    /// Sources end where they are.
    Stop,
    /// It shall end with this error, at once.
    Abort(Fault),
    /// All is done: it shall report and end.
    End,
}

#[cfg(feature = "cluster")]
mod bytes {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::{FromShare, ToShare};
    use crate::{Error, Result};

    fn to<T: Serialize>(message: &T) -> Result<Vec<u8>> {
        rmp_serde::to_vec_named(message)
            .map_err(|e| Error::internal(format!("a message between a share and its lead cannot be written: {e}")))
    }
    fn from<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
        rmp_serde::from_slice(bytes).map_err(|e| Error::Data {
            place: "a message between a share of a job and its lead".into(),
            what: format!("it makes no sense ({e}); do both processes have the same build?"),
        })
    }

    impl FromShare {
        /// As bytes: MessagePack with names.
        ///
        /// # Errors
        /// If it cannot be written, which would be a bug.
        pub fn to_bytes(&self) -> Result<Vec<u8>> {
            to(self)
        }
        /// From bytes.
        ///
        /// # Errors
        /// If they are not what [`to_bytes`](Self::to_bytes) makes.
        pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
            from(bytes)
        }
    }
    impl ToShare {
        /// As bytes: MessagePack with names.
        ///
        /// # Errors
        /// If it cannot be written, which would be a bug.
        pub fn to_bytes(&self) -> Result<Vec<u8>> {
            to(self)
        }
        /// From bytes.
        ///
        /// # Errors
        /// If they are not what [`to_bytes`](Self::to_bytes) makes.
        pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
            from(bytes)
        }
    }
}
