//! Channels of which one end is in another process, and who carries them.
//!
//! Idea: a task does not know where its neighbours are. It pushes into a [`Channel`] or pops from one; if the other end is
//! elsewhere, a [`Carrier`] empties the channel there, or fills it from there. Bytes stay counted in the sender's channel until
//! the receiver has room for them, so that backpressure reaches the producer as it does within a process.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Channel;
use crate::{Error, Result};

/// Names one channel of a job: the same on all of its agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId {
    /// The consuming node of the physical plan.
    pub consumer: u32,
    /// Which of its inputs.
    pub edge: u32,
    /// Instance of the producer.
    pub from: u32,
    /// Instance of the consumer.
    pub to: u32,
}

/// This process's end of a link.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Which channel.
    pub link: LinkId,
    /// The number of the agent at the other end, among those of the job.
    pub peer: usize,
    /// The end that is here. Of an outgoing link `producer` is the task to wake when there is room; of an incoming one `consumer`
    /// is the task to wake when there is something.
    pub channel: Arc<Channel>,
}

/// All links of a share of a job.
pub struct Links {
    /// What is pushed into these is to be sent.
    pub outgoing: Vec<Remote>,
    /// What is received is to be pushed into these.
    pub incoming: Vec<Remote>,
    /// Whom to tell.
    pub host: Arc<dyn Host>,
}

/// The share of a job, as its carrier sees it.
pub trait Host: Send + Sync {
    /// The task of this number has something to do.
    fn wake(&self, task: usize);
    /// A link cannot be carried any more: the job ends with this error.
    fn failed(&self, error: Error);
}

/// Carries the links of one share of a job. Messages of a link arrive once and in order, or the job ends with an error.
pub trait Carrier: Send + Sync {
    /// Opens this end of all links, so that peers can reach it. They may not be there yet, for however long. Called once.
    ///
    /// # Errors
    /// If a link is to a peer to whom there is no way.
    fn start(&self, links: Links) -> Result<()>;
    /// All peers have [started](Self::start): who cannot be reached from now on is away. Called once, unless the share ends before. Does not
    /// block.
    fn begin(&self);
    /// Something was pushed into the outgoing link of this number, counted from the first. Does not block.
    fn pushed(&self, outgoing: usize);
    /// There is room in the incoming link of this number, whose carrier [waits](Channel::wait) for it. Does not block.
    fn room(&self, incoming: usize);
    /// The share is over: with `delivered`, once all that was pushed has arrived at the peers; else at once. Blocks until then.
    ///
    /// # Errors
    /// If the rest could not be delivered.
    fn stop(&self, delivered: bool) -> Result<()>;
}
