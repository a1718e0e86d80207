//! The producing end of an exchange: connects, sends what the session says, connects again.
//!
//! Frames are made when the connection asks for one, so that nothing is encoded long before it is sent, and a slow network holds up
//! nothing but its own links' channels.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_flight::FlightData;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::Notify;
use tonic::Status;

use super::ended::Ended;
use super::hello::{Edge, Hello};
use super::inbound::Reply;
use super::peer::{Peer, within};
use super::replay::Replay;
use super::status::{from_status, may_pass};
use super::window::Window;
use super::wire::{Chunk, Packer, to_flight};
use crate::shuffle::session::{Frame, Producer};
use crate::shuffle::{Host, Remote};
use crate::sync::lock;
use crate::{Error, Result};

/// Between two attempts to connect.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A peer that takes a connection answers within this time, or is not well.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

pub(super) struct Outbound {
    edge: Edge,
    peer: Peer,
    ticket: Arc<Mutex<String>>,
    links: Vec<Remote>,
    host: Arc<dyn Host>,
    ended: Arc<Ended>,
    replay: Arc<Replay>,
    state: Mutex<State>,
    notify: Notify,
    given_up: AtomicBool,
    /// Told once it is given up.
    over: Notify,
}

/// What the exchanges of a share have in common, and whom one of them sends to.
pub(super) struct To {
    pub(super) peer: Peer,
    pub(super) ticket: Arc<Mutex<String>>,
    pub(super) ended: Arc<Ended>,
    pub(super) replay: Arc<Replay>,
}

struct State {
    session: Producer<Chunk>,
    window: Window,
    packers: Vec<Packer>,
    /// Bytes to release from each channel when its next unit is sent.
    popped: Vec<usize>,
    /// The number of the connection that may take frames.
    connection: u64,
    turn: usize,
    closing: bool,
}

enum Next {
    Frame(FlightData),
    Wait,
    Over,
}

impl Outbound {
    pub(super) fn new(edge: Edge, to: To, links: Vec<Remote>, host: Arc<dyn Host>) -> Self {
        let To { peer, ticket, ended, replay } = to;
        let state = State {
            session: Producer::new(edge.generation, links.len()),
            window: Window::new(),
            packers: links.iter().map(|_| Packer::new()).collect(),
            popped: vec![0; links.len()],
            connection: 0,
            turn: 0,
            closing: false,
        };
        Outbound {
            edge,
            peer,
            ticket,
            links,
            host,
            ended,
            replay,
            state: Mutex::new(state),
            notify: Notify::new(),
            given_up: AtomicBool::new(false),
            over: Notify::new(),
        }
    }
    /// Something was pushed into one of the channels, or nothing will be any more.
    pub(super) fn pushed(&self) {
        self.notify.notify_one();
    }
    /// What is in the channels now is the last.
    pub(super) fn close(&self) {
        lock(&self.state).closing = true;
        self.pushed();
    }
    /// Ends at once, whatever has arrived.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, SeqCst);
        self.over.notify_one();
        self.notify.notify_waiters();
        self.pushed();
    }
    /// Runs until all is delivered, the peer cannot be reached, or it is given up.
    pub(super) async fn run(self: Arc<Self>) {
        let mut away = Instant::now();
        let mut pause = SHORTEST_PAUSE;
        loop {
            let mut lived = false;
            // The peer may wait for this end to stop before it ends its answers: who gives up does not wait for them.
            let connected = tokio::select! {
                biased;
                () = self.over.notified() => break,
                connected = self.connect(&mut lived) => connected,
            };
            let Err(status) = connected else { break };
            if self.given_up.load(SeqCst) {
                break;
            }
            if lived {
                (away, pause) = (Instant::now(), SHORTEST_PAUSE);
            }
            if !may_pass(&status) || away.elapsed() >= self.peer.patience() {
                let what = if may_pass(&status) {
                    format!("cannot be reached for {:?}; {} cannot go on", self.peer.patience(), self.edge)
                } else {
                    format!("does not take {}", self.edge)
                };
                self.failed(from_status(self.peer.place(), &what, &status));
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.ended.one();
    }
    fn failed(&self, error: Error) {
        self.ended.failed(&error);
        self.host.failed(error);
    }
    /// One connection, until everything is delivered. It has `lived` if the peer has answered.
    async fn connect(self: &Arc<Self>, lived: &mut bool) -> Result<(), Status> {
        let connection = {
            let mut state = lock(&self.state);
            state.session.cut();
            state.connection += 1;
            state.connection
        };
        let internal = |e: Error| Status::failed_precondition(e.to_string());
        let links = self.links.iter().map(|l| (l.link.from, l.link.to)).collect();
        let hello = Hello::Exchange { edge: self.edge.clone(), ticket: lock(&self.ticket).clone(), links };
        let first = FlightData { flight_descriptor: Some(hello.descriptor().map_err(internal)?), ..FlightData::default() };
        let frames = stream::iter([first]).chain(self.frames(connection));
        let wait = FIRST_ANSWER.min(self.peer.patience());
        let asked = Instant::now();
        let mut answers = within(wait, self.peer.data(frames)).await?;
        let mut first = true;
        loop {
            if self.given_up.load(SeqCst) {
                return Ok(());
            }
            let next = answers.message();
            let answer = if first { within(wait, next).await? } else { next.await? };
            first = false;
            let answer = answer.ok_or_else(|| Status::unavailable("the peer has ended the stream"))?;
            let reply = rmp_serde::from_slice::<Reply>(&answer.app_metadata);
            match reply.map_err(|e| Status::failed_precondition(format!("its answer cannot be read: {e}")))? {
                Reply::Gone(reason) => return Err(Status::unavailable(reason)),
                Reply::Resume(resume) => {
                    let mut state = lock(&self.state);
                    state.window.connected(asked.elapsed());
                    state.session.resumed(&resume).map_err(|e| Status::failed_precondition(e.to_string()))?;
                }
                Reply::Answer(answer) => {
                    let mut state = lock(&self.state);
                    state.session.answered(&answer).map_err(|e| Status::failed_precondition(e.to_string()))?;
                    state.window.acknowledged(answer.next, Instant::now());
                }
            }
            *lived = true;
            if lock(&self.state).session.delivered() {
                return Ok(());
            }
            self.pushed();
        }
    }
    /// The frames of a connection, made when they are asked for.
    fn frames(self: &Arc<Self>, connection: u64) -> impl Stream<Item = FlightData> + Send + 'static {
        stream::unfold(Arc::clone(self), move |this| async move {
            loop {
                match this.next(connection) {
                    Ok(Next::Frame(frame)) => return Some((frame, this)),
                    Ok(Next::Wait) => this.notify.notified().await,
                    Ok(Next::Over) => {
                        // This word was for the connection that came after.
                        this.pushed();
                        return None;
                    }
                    Err(error) => {
                        this.give_up();
                        this.failed(error);
                        return None;
                    }
                }
            }
        })
    }
    fn next(&self, connection: u64) -> Result<Next> {
        let mut state = lock(&self.state);
        if state.connection != connection || self.given_up.load(SeqCst) || state.session.delivered() {
            return Ok(Next::Over);
        }
        if !state.window.open() {
            return Ok(Next::Wait);
        }
        let frame = match state.session.next_frame() {
            Some(frame) => Some(frame),
            None => {
                if !state.fill(&self.links)? && state.closing && state.drained() {
                    state.session.close();
                }
                state.session.next_frame()
            }
        };
        let Some((frame, new)) = frame else { return Ok(Next::Wait) };
        if let Some(Frame { payload: Some(kept), .. }) = state.session.kept_mut().next_back().filter(|_| new) {
            self.replay.keep(&mut kept.body)?;
        }
        let bytes = frame.payload.as_ref().map_or(0, Chunk::bytes);
        state.window.sent(frame.head.seq, bytes, Instant::now());
        let link = frame.head.link as usize;
        let popped = match state.popped.get_mut(link) {
            Some(popped) if new => std::mem::take(popped),
            _ => 0,
        };
        drop(state);
        if let Some(remote) = self.links.get(link).filter(|_| popped > 0)
            && remote.channel.release(popped)
        {
            self.host.wake(remote.channel.producer);
        }
        Ok(Next::Frame(to_flight(frame, &self.replay)?))
    }
}

impl State {
    /// Whether all that was in the channels when they were last looked at has become frames.
    fn drained(&self) -> bool {
        self.packers.iter().enumerate().all(|(at, packer)| self.session.idle(at) && !packer.holds())
    }
    /// Takes what waits in the channel of one link, the next in turn, if its session can take it.
    fn fill(&mut self, links: &[Remote]) -> Result<bool> {
        for step in 0..links.len() {
            let at = (self.turn + step) % links.len();
            let (Some(remote), Some(packer), Some(popped)) = (links.get(at), self.packers.get_mut(at), self.popped.get_mut(at)) else {
                continue;
            };
            if !self.session.idle(at) {
                continue;
            }
            let credit = self.session.credit(at);
            let Some(packed) = packer.next(&remote.channel, credit, self.window.limit() / 2)? else { continue };
            let sendable = credit > 0 || packed.chunks.first().is_some_and(|(bytes, _)| *bytes == 0);
            *popped = packed.popped;
            packed.chunks.into_iter().for_each(|(bytes, chunk)| self.session.offer(at, bytes, chunk));
            if sendable {
                self.turn = at + 1;
                return Ok(true);
            }
        }
        Ok(false)
    }
}
