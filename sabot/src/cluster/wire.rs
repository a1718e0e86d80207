//! What agents and the server tell each other, over one stream of frames per agent: MessagePack with names.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::door;
use super::membership::{Beat, Registration};
use crate::runtime::RunOptions;
use crate::runtime::share::{FromShare, Share, ToShare};
use crate::shuffle::flight::FrameReceiver;
use crate::{Error, Result};

/// The name of the stream at the server.
pub(super) const STREAM: &str = "agent";

/// One share of one attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct ShareId {
    /// The job.
    pub(super) job: String,
    /// Its attempt.
    pub(super) attempt: u32,
    /// The number of the share.
    pub(super) share: usize,
}

/// From an agent.
#[derive(Serialize, Deserialize)]
pub(super) enum ToServer {
    /// It wants to join; the first message.
    Join(Registration),
    /// It is there.
    Beat(Beat),
    /// One of its shares says something.
    Share(ShareId, FromShare),
    /// One of its shares is over: its threads, memory and files are returned.
    Ended(ShareId),
    /// It wants to leave: its tasks shall move.
    Drain,
    /// It goes. The last message.
    Left,
}

/// To an agent.
#[derive(Serialize, Deserialize)]
pub(super) enum ToAgent {
    /// It is a member, with this fencing number.
    Joined { epoch: u64 },
    /// It is none, and why. The last message. `again`: whether it may help to ask again.
    Refused { why: String, again: bool },
    /// The answer to a heartbeat.
    Beat { number: u64 },
    /// It shall run a share.
    Deploy(Box<Deployment>),
    /// One of its shares is told something.
    Share(ShareId, ToShare),
    /// It has nothing left to run, and may leave.
    Drained,
}

/// A share that an agent shall run.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Deployment {
    /// Which.
    pub(super) id: ShareId,
    /// The [`JobSpec`](crate::stream::JobSpec), as JSON.
    pub(super) spec: String,
    /// How it runs.
    pub(super) options: RunOptions,
    /// What it begins with.
    pub(super) share: Share,
    /// Slots of the agent that it takes, of so many.
    pub(super) slots: usize,
    /// The agents of the job, in the order of their shares: name and address.
    pub(super) peers: Vec<(String, String)>,
    /// The control plane's word for it: signed, for this job and generation.
    pub(super) ticket: String,
}

/// Reads frames on a task of its own, since waiting for one may not be given up half way. What ends the stream is the last that comes.
pub(super) fn reading(mut frames: FrameReceiver) -> UnboundedReceiver<Result<Bytes>> {
    let (sender, receiver) = unbounded_channel();
    door::spawn(async move {
        loop {
            let (frame, last) = match frames.next().await {
                Ok(Some(frame)) => (Ok(frame), false),
                Ok(None) => return,
                Err(error) => (Err(error), true),
            };
            if sender.send(frame).is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// As bytes.
///
/// # Errors
/// If it cannot be written, which would be a bug.
pub(super) fn to_bytes<T: Serialize>(message: &T) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(message).map_err(|e| Error::internal(format!("a message of the control stream cannot be written: {e}")))
}

/// From bytes.
///
/// # Errors
/// If they make no sense: another version.
pub(super) fn from_bytes<T: DeserializeOwned>(bytes: &[u8], from: &str) -> Result<T> {
    rmp_serde::from_slice(bytes).map_err(|e| Error::Data {
        place: format!("the control stream of {from}"),
        what: format!("a message makes no sense ({e}): is it the same version of Sabot?"),
    })
}
