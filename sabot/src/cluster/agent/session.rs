//! One membership: from joining until the stream breaks, the lease runs out, or the agent leaves.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Ending;
use super::usage::Usage;
use crate::cluster::door;
use crate::cluster::membership::{BEAT, Beat, Lease, Registration};
use crate::cluster::wire::{Deployment, ShareId, ToAgent, ToServer, from_bytes, reading, to_bytes};
use crate::runtime::share::{Fault, FromShare, ToShare};
use crate::shuffle::flight::{FrameSender, Frames, Purpose, TicketKey};
use crate::{Error, Result};

/// How often the lease is looked at, while nothing happens.
const LOOK: Duration = Duration::from_millis(100);
/// How long an agent waits to be let in: the server writes it down first, and its disk or database may be slow.
const JOINING: Duration = Duration::from_secs(60);
/// How long an agent that leaves waits for its tasks to move.
const FAREWELL: Duration = Duration::from_secs(60);

/// What an agent runs.
pub(in crate::cluster) trait Work: Send + Sync {
    /// Begins a share. What it says goes to `up`, and at last that it has ended. One that runs already is not begun again.
    fn begin(&self, deployment: Deployment, up: mpsc::UnboundedSender<ToServer>);
    /// Tells one something. Of one that has ended nothing is left to tell.
    fn tell(&self, id: &ShareId, message: ToShare);
    /// How many tasks they have.
    fn tasks(&self) -> usize;
}

/// How it ended.
pub(in crate::cluster) enum Over {
    /// The agent has left, as it was told to.
    Left,
    /// The server refuses it for good.
    Refused(String),
    /// It may join again. `joined`: whether it was a member.
    Again { why: String, joined: bool },
}

/// Joins over a stream to the server, and serves until it is over. The shares may still run then.
pub(in crate::cluster) async fn session(
    frames: Result<Frames>,
    registration: &Registration,
    shares: &dyn Work,
    key: &TicketKey,
    ending: &mut watch::Receiver<Ending>,
    say: &(impl Fn(&str) + Send + Sync),
) -> Over {
    let mut joined = false;
    let served = serve(frames, registration, shares, key, ending, say, &mut joined).await;
    let why = served.as_ref().err().map(ToString::to_string).unwrap_or_default();
    match served {
        Ok(over) => over,
        // another token, or a certificate of another authority
        Err(Error::Io { source, .. }) if !joined && source.kind() == std::io::ErrorKind::PermissionDenied => Over::Refused(why),
        Err(_) => Over::Again { why, joined },
    }
}

async fn serve(
    frames: Result<Frames>,
    registration: &Registration,
    shares: &dyn Work,
    key: &TicketKey,
    ending: &mut watch::Receiver<Ending>,
    say: &(impl Fn(&str) + Send + Sync),
    joined: &mut bool,
) -> Result<Over> {
    let Frames { sender, receiver } = frames?;
    let start = door::now();
    let elapsed = || door::now().saturating_sub(start);
    let mut lease = Lease::new(Duration::ZERO);
    let mut down = reading(receiver);
    let send = |message: &ToServer| sender.send(to_bytes(message)?);
    send(&ToServer::Join(registration.clone()))?;
    let (up, mut from_shares) = mpsc::unbounded_channel::<ToServer>();
    let mut usage = Usage::new();
    let mut beats = door::Ticks::every(BEAT);
    let mut looks = door::Ticks::every(LOOK);
    let mut leaving: Option<Duration> = None;
    // let in late, it has no lease until a heartbeat is answered: what it is told before waits
    let mut settled = false;
    let mut early: VecDeque<ToAgent> = VecDeque::new();
    // whom to ask for the end may be gone: then it is not asked again
    let mut watched = true;
    loop {
        tokio::select! {
            biased;
            _ = looks.tick() => {}
            told = ending.changed(), if watched => watched = told.is_ok(),
            frame = down.recv() => {
                let Some(frame) = frame else {
                    return Ok(Over::Again { why: "the server has ended the stream".into(), joined: *joined });
                };
                let frame = frame?;
                // a process that was stopped reads here what was meant for before: its lease decides
                if settled && !lease.runs(elapsed()) {
                    return Ok(expired(*joined));
                }
                match from_bytes::<ToAgent>(&frame, "the server")? {
                    message @ (ToAgent::Share(..) | ToAgent::Deploy(_)) if !settled => early.push_back(message),
                    ToAgent::Joined { epoch } => {
                        *joined = true;
                        say(&format!("agent `{}` at {} has joined with {} slots (epoch {epoch})", registration.name, registration.address, registration.slots));
                    }
                    ToAgent::Refused { why, again: true } => return Ok(Over::Again { why, joined: false }),
                    ToAgent::Refused { why, again: false } => return Ok(Over::Refused(why)),
                    ToAgent::Beat { number } => lease.answered(number),
                    ToAgent::Share(id, message) => shares.tell(&id, message),
                    ToAgent::Deploy(deployment) => deploy(shares, registration, key, *deployment, &up),
                    ToAgent::Drained => {
                        say("leaving: nothing runs here any more");
                        send(&ToServer::Left)?;
                        return Ok(left(&sender).await);
                    }
                }
            }
            Some(message) = from_shares.recv() => send(&message)?,
            _ = beats.tick(), if *joined => {
                let (resident, busy) = usage.measure();
                let number = lease.sent(elapsed());
                send(&ToServer::Beat(Beat { number, tasks: shares.tasks(), resident, busy }))?;
            }
        }
        let runs = lease.runs(elapsed());
        if !settled && *joined && runs {
            settled = true;
            for message in early.drain(..) {
                match message {
                    ToAgent::Share(id, message) => shares.tell(&id, message),
                    ToAgent::Deploy(deployment) => deploy(shares, registration, key, *deployment, &up),
                    _ => {}
                }
            }
        }
        if !runs && (settled || elapsed() > JOINING) {
            return Ok(expired(*joined));
        }
        let asked = *ending.borrow();
        if asked == Ending::Now || leaving.is_some_and(|since| elapsed().saturating_sub(since) > FAREWELL) {
            send(&ToServer::Left)?;
            return Ok(left(&sender).await);
        }
        if asked == Ending::Drain && leaving.is_none() && *joined {
            say("leaving: the tasks that run here move to other agents first");
            leaving = Some(elapsed());
            send(&ToServer::Drain)?;
        }
        if asked == Ending::Drain && !*joined {
            return Ok(Over::Left);
        }
    }
}

fn expired(joined: bool) -> Over {
    Over::Again { why: "the server has not answered for the lease: everything was stopped".into(), joined }
}

/// Lets the last words go out.
async fn left(sender: &FrameSender) -> Over {
    let deadline = door::now() + Duration::from_millis(300);
    while !sender.is_closed() && door::now() < deadline {
        door::sleep(Duration::from_millis(10)).await;
    }
    Over::Left
}

/// Begins a share, if the control plane has signed for it.
fn deploy(
    shares: &dyn Work,
    registration: &Registration,
    key: &TicketKey,
    mut deployment: Deployment,
    up: &mpsc::UnboundedSender<ToServer>,
) {
    let id = deployment.id.clone();
    let checked = key.open(&deployment.ticket).and_then(|grant| {
        let fits = (grant.job.as_str(), grant.attempt, grant.purpose) == (id.job.as_str(), deployment.share.generation, Purpose::Exchange);
        if fits { Ok(()) } else { Err(Error::usage(format!("a deployment of job {} has a ticket that is for something else", id.job))) }
    });
    if let Err(error) = checked {
        let _ = up.send(ToServer::Share(id.clone(), FromShare::Failed(Fault::from(&error))));
        let _ = up.send(ToServer::Ended(id));
        return;
    }
    // of the agent's memory a share may use what its slots are of all
    if let Some(memory) = registration.memory {
        let part = usize::try_from(memory).unwrap_or(usize::MAX) / registration.slots.max(1) * deployment.slots.max(1);
        deployment.options.memory_budget = Some(deployment.options.memory_budget.map_or(part, |budget| budget.min(part)));
    }
    shares.begin(deployment, up.clone());
}
