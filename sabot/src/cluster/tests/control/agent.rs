//! An agent: its real session with the server, and shares that keep the protocol without any rows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::super::world::{Process, World};
use super::board::Board;
use super::net::Net;
use crate::Error;
use crate::cluster::agent::Ending;
use crate::cluster::agent::session::{Over, Work, session};
use crate::cluster::wire::{Deployment, ShareId, ToServer};
use crate::cluster::{Build, Registration, door};
use crate::runtime::savepoints;
use crate::runtime::share::{Fault, From, FromShare, Listed, Part, ShareReport, ToShare};
use crate::shuffle::flight::TicketKey;
use crate::sync::lock;

/// What all agents know.
pub(super) struct Common {
    pub(super) world: Arc<World>,
    pub(super) net: Arc<Net>,
    pub(super) board: Arc<Board>,
    pub(super) key: TicketKey,
    /// What the sources of each pipeline have.
    pub(super) sources: BTreeMap<String, Vec<Listed>>,
    /// Whether nothing fails by itself any more.
    pub(super) calm: Mutex<bool>,
}

/// A process of an agent, until it is told to end.
pub(super) async fn agent(common: Arc<Common>, process: Process, name: String, slots: usize, mut ending: watch::Receiver<Ending>) {
    let registration =
        Registration { address: format!("{name}:1"), name, slots, memory: None, cores: slots, pid: process, build: Build::this().unwrap() };
    let shares = Shares { common: Arc::clone(&common), process, running: Arc::default() };
    loop {
        let frames = common.net.connect(process).await;
        let over = session(frames, &registration, &shares, &common.key, &mut ending, &|_: &str| {}).await;
        shares.abandon().await;
        match over {
            Over::Left => return,
            // it is of another build than the server, and never joins
            Over::Refused(why) if why.contains("it is build") => return,
            Over::Refused(why) => return common.board.wrong(format!("{} is refused: {why}", registration.name)),
            Over::Again { .. } => {}
        }
        if *ending.borrow() != Ending::No {
            return;
        }
        door::sleep(Duration::from_millis(200) + common.world.while_ms(800)).await;
    }
}

struct Shares {
    common: Arc<Common>,
    process: Process,
    running: Arc<Mutex<BTreeMap<ShareId, (Option<UnboundedSender<ToShare>>, usize)>>>,
}

impl Shares {
    /// Ends all, as nobody leads them any more, and waits until they have.
    async fn abandon(&self) {
        lock(&self.running).values_mut().for_each(|(down, _)| *down = None);
        while !lock(&self.running).is_empty() {
            door::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Work for Shares {
    fn begin(&self, deployment: Deployment, up: UnboundedSender<ToServer>) {
        let (sender, down) = unbounded_channel();
        let id = deployment.id.clone();
        let tasks = tasks(&deployment).len();
        let mut running = lock(&self.running);
        if running.contains_key(&id) {
            return;
        }
        running.insert(id.clone(), (Some(sender), tasks));
        drop(running);
        let (common, process, all) = (Arc::clone(&self.common), self.process, Arc::clone(&self.running));
        door::spawn(async move {
            share(&common, process, deployment, &up, down).await;
            lock(&all).remove(&id);
            let _ = up.send(ToServer::Ended(id));
        });
    }
    fn tell(&self, id: &ShareId, message: ToShare) {
        if let Some((Some(down), _)) = lock(&self.running).get(id) {
            let _ = down.send(message);
        }
    }
    fn tasks(&self) -> usize {
        lock(&self.running).values().map(|(_, tasks)| tasks).sum()
    }
}

/// The tasks of a share, by their numbers in the whole job.
fn tasks(deployment: &Deployment) -> Vec<usize> {
    let all = deployment.share.placement.stages.iter().flatten();
    all.enumerate().filter(|(_, share)| **share == deployment.id.share).map(|(task, _)| task).collect()
}

/// The checkpoint that a savepoint is.
fn epoch_of(deployment: &Deployment, path: &Path) -> Option<u64> {
    let all = savepoints(deployment.options.checkpoint_dir.as_ref()?).ok()?;
    all.into_iter().flatten().find(|s| s.path == path).map(|s| s.epoch)
}

/// What it has of a lease on its lead, and of its work.
async fn share(
    common: &Common,
    process: Process,
    deployment: Deployment,
    up: &UnboundedSender<ToServer>,
    mut down: UnboundedReceiver<ToShare>,
) {
    let (world, board, id) = (&common.world, &common.board, deployment.id.clone());
    let say = |message: FromShare| drop(up.send(ToServer::Share(id.clone(), message)));
    let from = match deployment.share.from {
        From::Checkpoint(epoch) => Some(epoch),
        From::Savepoint(ref path) => epoch_of(&deployment, path),
        From::Start | From::Given(_) => None,
    };
    let me = board.given(process, &deployment, from);
    let spec: serde_json::Value = serde_json::from_str(&deployment.spec).unwrap();
    let pipeline = spec["pipeline"].as_str().unwrap().to_owned();
    let lease = deployment.share.lease;
    let (begun, mut number, mut asked, mut answered) = (door::now(), 0, BTreeMap::new(), None::<Duration>);
    say(FromShare::Hello { sources: common.sources[&pipeline].clone() });
    let (mut beats, mut works) = (door::Ticks::every(Duration::from_secs(1)), door::Ticks::every(Duration::from_millis(350)));
    let (mut started, mut finished, mut cut) = (false, false, None);
    let mut ends = (!pipeline.ends_with("endless")).then(|| Duration::from_secs(1) + world.while_ms(12_000));
    let fails = (world.chance(20)).then(|| door::now() + world.while_ms(20_000));
    let last = deployment.share.placement.stages.last().and_then(|s| s.first().copied());
    enum Next {
        Told(Option<ToShare>),
        Beat,
        Work,
    }
    let error: Option<Error> = loop {
        let next = tokio::select! {
            biased;
            told = down.recv() => Next::Told(told),
            () = beats.tick() => Next::Beat,
            () = works.tick() => Next::Work,
        };
        let now = door::now();
        if now.saturating_sub(answered.unwrap_or(begun)) >= lease {
            break Some(Error::io("the lead", "was not heard", std::io::ErrorKind::TimedOut.into()));
        }
        match next {
            Next::Told(None) => break Some(Error::io("the lead", "is gone", std::io::ErrorKind::NotConnected.into())),
            Next::Told(Some(message)) => match message {
                ToShare::Prepare => {
                    // opening sinks
                    door::sleep(world.while_ms(300)).await;
                    say(FromShare::Ready { publish: vec![], commit: (last == Some(id.share)).then_some(0).into_iter().collect() });
                }
                ToShare::Start => {
                    started = true;
                    ends = ends.map(|e| now + e);
                    board.started(me);
                }
                ToShare::Beat { number } => {
                    if let Some(at) = asked.remove(&number) {
                        answered = answered.max(Some(at));
                        board.answered(me, at);
                    }
                }
                ToShare::Begin { epoch } => cut = Some(epoch),
                ToShare::Settled { epoch } => board.settled(me, epoch),
                ToShare::Stop => ends = Some(now),
                ToShare::Commit { node } => {
                    if !board.holds(me) {
                        break Some(Error::io("a sink", "is not committed without the lead", std::io::ErrorKind::TimedOut.into()));
                    }
                    board.writes(me);
                    say(FromShare::Committed { node });
                }
                ToShare::Abort(fault) => break Some(fault.into()),
                ToShare::End => break None,
                _ => {}
            },
            Next::Beat => {
                number += 1;
                asked.insert(number, now);
                say(FromShare::Beat { number });
            }
            Next::Work if started => {
                if board.holds(me) {
                    board.writes(me);
                }
                if cut.take().is_some() && !finished {
                    for task in tasks(&deployment) {
                        say(FromShare::Cut { task, part: Box::default() });
                    }
                }
                if ends.is_some_and(|e| e <= now) && !finished {
                    finished = true;
                    for task in tasks(&deployment) {
                        say(FromShare::Finished { task, part: Box::new(Part::ended()) });
                    }
                }
                if fails.is_some_and(|at| at <= now) && !*lock(&common.calm) {
                    break Some(Error::Operator { operator: "model".into(), what: "no luck".into(), row: "no row".into() });
                }
            }
            Next::Work => {}
        }
    };
    // what it held is given back
    if world.chance(50) {
        door::sleep(world.while_ms(1500)).await;
    }
    board.ended(me);
    say(match error {
        Some(error) => FromShare::Failed(Fault::from(&error)),
        None => FromShare::Over(ShareReport::default()),
    });
}
