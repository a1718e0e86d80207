//! How a stream begins: the command of its first message's descriptor, in MessagePack.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What a `DoExchange` is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Hello {
    /// A stream of frames for the handler of this name.
    Frames {
        /// The handler.
        name: String,
        /// For the handler.
        hello: ByteBuf,
    },
    /// The rows of an edge.
    Exchange {
        /// Which.
        edge: Edge,
        /// From [`TicketKey::sign`](super::TicketKey::sign).
        ticket: String,
        /// The links, as pairs of instances, in the order of their numbers in frames.
        links: Vec<(u32, u32)>,
    },
}

/// An edge between two agents of one run of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Edge {
    /// The job.
    pub(super) job: String,
    /// Which run of it.
    pub(super) generation: u64,
    /// The consuming node of the physical plan.
    pub(super) consumer: u32,
    /// Which of its inputs.
    pub(super) edge: u32,
    /// The number of the producing agent.
    pub(super) from: u32,
    /// The number of the consuming agent.
    pub(super) to: u32,
}

impl std::fmt::Display for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Edge { job, generation, consumer, edge, from, to } = self;
        write!(f, "edge {edge} into node {consumer} of job `{job}`, attempt {generation}, from agent {from} to agent {to}")
    }
}
