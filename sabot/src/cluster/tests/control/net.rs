//! The network between agents and the server: frames are late, connections are cut, and sometimes all that is sent vanishes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::super::world::{Process, World};
use crate::cluster::server::Core;
use crate::shuffle::flight::{Call, FrameReceiver, FrameSender, Frames};
use crate::sync::lock;
use crate::{Error, Result};

/// How a connection is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Line {
    Fine,
    /// What is sent vanishes, and nobody notices.
    Hole,
    /// Both ends see that it is over.
    Cut,
}

pub(super) struct Net {
    world: Arc<World>,
    /// The server that is up: its process.
    server: Mutex<Option<(Process, Arc<Core>)>>,
    wires: Mutex<Vec<(Process, watch::Sender<Line>)>>,
}

impl Net {
    pub(super) fn new(world: Arc<World>) -> Arc<Net> {
        Arc::new(Net { world, server: Mutex::default(), wires: Mutex::default() })
    }
    /// The server listens.
    pub(super) fn up(&self, process: Process, core: Arc<Core>) {
        *lock(&self.server) = Some((process, core));
    }
    /// It does not any more.
    pub(super) fn down(&self) {
        let gone = lock(&self.server).take();
        drop(gone);
    }
    pub(super) fn server(&self) -> Option<(Process, Arc<Core>)> {
        lock(&self.server).clone()
    }
    /// Changes all connections of a process.
    pub(super) fn line(&self, process: Process, line: Line) {
        for (_, wire) in lock(&self.wires).iter().filter(|(p, _)| *p == process) {
            // what is cut stays so
            wire.send_if_modified(|l| *l != Line::Cut && std::mem::replace(l, line) != line);
        }
    }
    /// A connection of an agent to the server.
    pub(super) async fn connect(&self, agent: Process) -> Result<Frames> {
        let slow = 1 + self.world.below(120);
        self.world.sleep(self.world.while_ms(slow)).await;
        let refused = || Error::io("the server", "cannot connect", std::io::ErrorKind::ConnectionRefused.into());
        let (process, core) = self.server().ok_or_else(refused)?;
        let (line, state) = watch::channel(Line::Fine);
        lock(&self.wires).push((agent, line));
        let end = || {
            let (sender, out) = FrameSender::loose();
            let (into, receiver) = unbounded_channel();
            (sender, out, into, FrameReceiver::loose(receiver))
        };
        let (here, there) = (end(), end());
        self.world.spawn_in(0, pump(Arc::clone(&self.world), here.1, there.2, state.clone(), slow));
        self.world.spawn_in(0, pump(Arc::clone(&self.world), there.1, here.2, state, slow));
        let frames = Frames { sender: there.0, receiver: there.3 };
        let call = Call { hello: Bytes::new(), remote: None, frames };
        self.world.within(process, || core.hub.call(call));
        Ok(Frames { sender: here.0, receiver: here.3 })
    }
}

/// One direction of a connection.
async fn pump(
    world: Arc<World>,
    mut from: UnboundedReceiver<Bytes>,
    to: UnboundedSender<Bytes>,
    mut line: watch::Receiver<Line>,
    slow: u64,
) {
    loop {
        let frame = tokio::select! {
            biased;
            _ = line.wait_for(|l| *l == Line::Cut) => return,
            frame = from.recv() => frame,
        };
        world.sleep(world.while_ms(slow) + Duration::from_micros(10)).await;
        let now = *line.borrow();
        match (now, frame) {
            (Line::Cut, _) => return,
            (Line::Hole, None) => {
                let _ = line.wait_for(|l| *l == Line::Cut).await.is_ok();
                return;
            }
            (Line::Hole, Some(_)) => {}
            (Line::Fine, None) => return,
            (Line::Fine, Some(frame)) => {
                if to.send(frame).is_err() {
                    return;
                }
            }
        }
    }
}
