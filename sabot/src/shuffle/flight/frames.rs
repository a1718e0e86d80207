//! Streams of opaque frames in both directions, for control and heartbeats: a Flight `DoExchange` without Arrow.
//!
//! A frame of any size is sent in parts of at most [`PART`] bytes, whose `app_metadata` says whether another follows. Frames wait in
//! memory until they are sent: control messages are few, and a connection whose peer is silent is cut by its keepalive.

use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tonic::Status;

use super::status::from_status;
use crate::{Error, Result};

/// Bytes of a part of a frame.
const PART: usize = 1 << 20;
/// A frame larger than this is refused: something is wrong.
const LARGEST: usize = 1 << 30;
const LAST: &[u8] = &[0];
const MORE: &[u8] = &[1];

/// Both directions of one stream.
#[derive(Debug)]
pub struct Frames {
    /// To the peer.
    pub sender: FrameSender,
    /// From the peer.
    pub receiver: FrameReceiver,
}

/// Sends frames. The stream ends towards the peer when the last clone is gone.
#[derive(Clone, Debug)]
pub struct FrameSender(mpsc::UnboundedSender<Bytes>);

impl FrameSender {
    /// Sends a frame behind those before. Never blocks.
    ///
    /// # Errors
    /// If the stream is over.
    pub fn send(&self, frame: impl Into<Bytes>) -> Result<()> {
        let gone = std::io::Error::from(std::io::ErrorKind::NotConnected);
        self.0.send(frame.into()).map_err(|_| Error::io("the control stream", "is over", gone))
    }
    /// Whether the stream is over.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Receives frames.
pub struct FrameReceiver {
    parts: BoxStream<'static, Result<FlightData, Status>>,
    place: String,
}

impl std::fmt::Debug for FrameReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReceiver").field("place", &self.place).finish_non_exhaustive()
    }
}

impl FrameReceiver {
    pub(super) fn new(parts: impl Stream<Item = Result<FlightData, Status>> + Send + 'static, place: String) -> Self {
        FrameReceiver { parts: parts.boxed(), place }
    }
    /// The next frame; `None` if the peer has ended the stream.
    ///
    /// # Errors
    /// If the connection is cut.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut before: Vec<u8> = Vec::new();
        loop {
            let part = match self.parts.next().await {
                Some(Ok(part)) => part,
                Some(Err(status)) => return Err(from_status(&self.place, "the control stream was cut", &status)),
                None if before.is_empty() => return Ok(None),
                None => {
                    let end = Status::unavailable("it ended within a frame");
                    return Err(from_status(&self.place, "the control stream was cut", &end));
                }
            };
            let last = part.app_metadata.as_ref() == LAST;
            if last && before.is_empty() {
                return Ok(Some(part.data_body));
            }
            if before.len() + part.data_body.len() > LARGEST {
                return Err(Error::Data { place: self.place.clone(), what: format!("sent a control frame of more than {LARGEST} bytes") });
            }
            before.extend_from_slice(&part.data_body);
            if last {
                return Ok(Some(before.into()));
            }
        }
    }
}

/// A sender, and what it sends as parts. The first one carries `descriptor`.
pub(super) fn outgoing(descriptor: Option<FlightDescriptor>) -> (FrameSender, impl Stream<Item = FlightData> + Send + 'static) {
    let (sender, mut frames) = mpsc::unbounded_channel::<Bytes>();
    let first = descriptor.map(|d| FlightData { flight_descriptor: Some(d), ..FlightData::default() });
    let frames = stream::poll_fn(move |context| frames.poll_recv(context));
    (FrameSender(sender), stream::iter(first).chain(frames.flat_map(|frame| stream::iter(parts(frame)))))
}

fn parts(mut frame: Bytes) -> Vec<FlightData> {
    let mut parts = Vec::with_capacity(1 + frame.len() / PART);
    while frame.len() > PART {
        parts.push(part(frame.split_to(PART), MORE));
    }
    parts.push(part(frame, LAST));
    parts
}

fn part(body: Bytes, more: &'static [u8]) -> FlightData {
    FlightData { app_metadata: Bytes::from_static(more), data_body: body, ..FlightData::default() }
}

#[cfg(test)]
impl FrameSender {
    /// A sender, and what it sends, for a simulated network.
    pub(crate) fn loose() -> (FrameSender, mpsc::UnboundedReceiver<Bytes>) {
        let (sender, frames) = mpsc::unbounded_channel();
        (FrameSender(sender), frames)
    }
}
#[cfg(test)]
impl FrameReceiver {
    /// Of frames from a simulated network.
    pub(crate) fn loose(mut frames: mpsc::UnboundedReceiver<Bytes>) -> FrameReceiver {
        let frames = stream::poll_fn(move |context| frames.poll_recv(context));
        FrameReceiver::new(frames.map(|frame| Ok(part(frame, LAST))), "a simulated network".into())
    }
}
