//! The consuming end of an exchange: reads without a pause, pushes into the channels, says what it has and what it has room for.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_flight::FlightData;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tonic::{Status, Streaming};

use super::hello::Edge;
use super::node::Arrivals;
use super::wire::{Unpacker, from_flight};
use crate::shuffle::session::{Answer, Consumer, Resume, Taken};
use crate::shuffle::{Host, Remote};
use crate::sync::lock;
use crate::{Error, Result};

/// What the consuming end says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// First.
    Resume(Resume),
    /// From then on.
    Answer(Answer),
    /// It has ended its share of the job before the end.
    Gone(String),
}

pub(super) struct Inbound {
    edge: Edge,
    /// The producing agent: name and address.
    place: String,
    patience: Duration,
    links: Vec<Remote>,
    host: Arc<dyn Host>,
    state: Mutex<State>,
    notify: Notify,
    gone: AtomicBool,
    finished: AtomicBool,
}

struct State {
    session: Consumer,
    unpackers: Vec<Unpacker>,
    /// The number of the newest connection.
    connection: u64,
    /// Since when there is none, or none was to be expected.
    cut: Option<Instant>,
    refused: Option<Status>,
    resume: bool,
}

impl Inbound {
    pub(super) fn new(edge: Edge, place: String, patience: Duration, links: Vec<Remote>, host: Arc<dyn Host>) -> Self {
        let state = State {
            session: Consumer::new(edge.generation, links.len()),
            unpackers: links.iter().map(|_| Unpacker::new()).collect(),
            connection: 0,
            cut: Some(Instant::now()),
            refused: None,
            resume: false,
        };
        Inbound {
            edge,
            place,
            patience,
            links,
            host,
            state: Mutex::new(state),
            notify: Notify::new(),
            gone: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }
    }
    /// The producer is ready: if it is not connected, it is away from now on.
    pub(super) fn expected(&self) {
        let mut state = lock(&self.state);
        state.cut = state.cut.map(|_| Instant::now());
    }
    /// The channel of a link has room: there is more credit to tell of.
    pub(super) fn room(&self) {
        self.notify.notify_one();
    }
    /// The share has ended as it should: a producer that is away matters no more.
    pub(super) fn finish(&self) {
        self.finished.store(true, SeqCst);
    }
    /// This share has ended before the job did.
    pub(super) fn give_up(&self) {
        self.gone.store(true, SeqCst);
        self.notify.notify_waiters();
        self.notify.notify_one();
    }
    /// Whether everything has arrived, and the producer knows it.
    pub(super) fn over(&self) -> bool {
        let state = lock(&self.state);
        state.session.closed() && state.cut.is_some()
    }
    /// Tells the job if the producer is away for too long.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.patience / 8).await;
            let state = lock(&self.state);
            if self.gone.load(SeqCst) || self.finished.load(SeqCst) || state.session.closed() {
                return;
            }
            if state.cut.is_some_and(|since| since.elapsed() >= self.patience) {
                drop(state);
                let what = format!("does not send {}: it has not been connected for {:?}", self.edge, self.patience);
                let reason = std::io::Error::from(std::io::ErrorKind::NotConnected);
                self.host.failed(Error::io(&self.place, what, reason));
                return;
            }
        }
    }
    /// Gives the link credit for the room that its channel has. If it has none, the channel will tell when it has.
    fn grant(&self, state: &mut State, link: usize) {
        let (Some(remote), Some(unpacker)) = (self.links.get(link), state.unpackers.get(link)) else { return };
        loop {
            let room = remote.channel.room().saturating_sub(unpacker.pending());
            state.session.grant(link, room as u64);
            if state.session.open(link) > 0 || unpacker.pending() > 0 || remote.channel.wait() {
                return;
            }
        }
    }
    async fn read(self: Arc<Self>, connection: u64, mut frames: Streaming<FlightData>) {
        while let Ok(Some(data)) = frames.message().await {
            match self.receive(connection, data) {
                Ok(true) => self.notify.notify_one(),
                Ok(false) => return,
                Err(error) => {
                    lock(&self.state).refused = Some(Status::failed_precondition(error.to_string()));
                    self.notify.notify_one();
                    return;
                }
            }
        }
        let mut state = lock(&self.state);
        if state.connection == connection {
            state.cut = Some(Instant::now());
        }
    }
    /// A frame came on a connection. Returns whether that is still the newest one.
    fn receive(&self, connection: u64, data: FlightData) -> Result<bool> {
        let frame = from_flight(data)?;
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        if state.connection != connection || self.gone.load(SeqCst) {
            return Ok(false);
        }
        let taken = state.session.accept(&frame.head, frame.payload.is_none());
        let taken = taken.map_err(|e| Error::Data { place: self.edge.to_string(), what: e.to_string() })?;
        let link = frame.head.link as usize;
        if let (Taken::New, Some(chunk)) = (taken, frame.payload)
            && let (Some(unpacker), Some(remote)) = (state.unpackers.get_mut(link), self.links.get(link))
        {
            let messages = unpacker.take(&frame.head, chunk)?;
            if !messages.is_empty() {
                messages.into_iter().for_each(|m| remote.channel.push(m));
                self.host.wake(remote.channel.consumer);
            }
            self.grant(state, link);
        }
        Ok(true)
    }
    /// What goes back on a connection.
    fn answers(self: &Arc<Self>, connection: u64) -> BoxStream<'static, Result<FlightData, Status>> {
        let end = (Arc::clone(self), false);
        stream::unfold(end, move |(this, over)| async move {
            if over {
                return None;
            }
            loop {
                match this.say(connection) {
                    Say::Reply(reply) => return Some((reply, (this, false))),
                    Say::Last(reply) => return Some((reply, (this, true))),
                    Say::Nothing => this.notify.notified().await,
                    Say::Over => {
                        this.notify.notify_one();
                        return None;
                    }
                }
            }
        })
        .boxed()
    }
    fn say(&self, connection: u64) -> Say {
        let mut state = lock(&self.state);
        if state.connection != connection {
            return Say::Over;
        }
        if self.gone.load(SeqCst) {
            return Say::Last(encode(&Reply::Gone(format!("it has ended its share of job `{}`", self.edge.job))));
        }
        if let Some(status) = state.refused.take() {
            return Say::Last(Err(status));
        }
        (0..self.links.len()).for_each(|link| self.grant(&mut state, link));
        if std::mem::take(&mut state.resume) {
            return Say::Reply(encode(&Reply::Resume(state.session.resume())));
        }
        state.session.answer().map_or(Say::Nothing, |answer| Say::Reply(encode(&Reply::Answer(answer))))
    }
}

enum Say {
    Reply(Result<FlightData, Status>),
    Last(Result<FlightData, Status>),
    Nothing,
    Over,
}

fn encode(reply: &Reply) -> Result<FlightData, Status> {
    let metadata = rmp_serde::to_vec(reply).map_err(|e| Status::internal(format!("an answer cannot be written: {e}")))?;
    Ok(FlightData { app_metadata: metadata.into(), ..FlightData::default() })
}

impl Arrivals for Inbound {
    fn accept(
        self: Arc<Self>,
        links: &[(u32, u32)],
        frames: Streaming<FlightData>,
    ) -> Result<BoxStream<'static, Result<FlightData, Status>>, Status> {
        if !links.iter().copied().eq(self.links.iter().map(|l| (l.link.from, l.link.to))) {
            return Err(Status::failed_precondition(format!(
                "{} has other links here: the agents have not placed the job alike",
                self.edge
            )));
        }
        if self.gone.load(SeqCst) {
            return Err(Status::unavailable(format!("the share of {} here has ended", self.edge)));
        }
        let connection = {
            let mut state = lock(&self.state);
            state.connection += 1;
            state.cut = None;
            state.resume = true;
            state.refused = None;
            state.connection
        };
        self.notify.notify_waiters();
        let answers = self.answers(connection);
        tokio::spawn(self.read(connection, frames));
        Ok(answers)
    }
}
