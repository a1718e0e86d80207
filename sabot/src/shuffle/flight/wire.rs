//! Messages of a link as frames, and back.
//!
//! A *unit* is what one link sends at once: messages in order, whose rows are one Arrow batch. Small morsels share a unit and come out
//! as they went in, each with its [`Origin`] and its own rows; a selection is applied before, as at every exchange. A unit is one or more
//! frames: its Arrow messages (the schema and dictionaries only if they are new), each cut into bodies of [`MESSAGE`] bytes. So no
//! morsel is cut, whatever its size. The last frame of a unit says what the rows are, and which marks are between them.
//!
//! A frame is one `FlightData`. Its `app_metadata` is MessagePack: the [`Head`] of the session, then what the frame adds to its unit.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_flight::FlightData;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::MESSAGE;
use super::ipc::{Decoder, Encoder, Part};
use super::replay::{Body, Replay};
use crate::kernel::{Morsel, Origin};
use crate::operator::EventTime;
use crate::shuffle::session::{Frame, Head};
use crate::shuffle::{Channel, Message};
use crate::{Error, Result};

/// A unit with so many bytes of rows is sent; one with less takes what waits behind it.
const ENOUGH: usize = MESSAGE / 2;
/// A body of up to so many bytes is not cut.
const UNCUT: usize = 2 * MESSAGE;

/// Of a body, as far as an allocation can give it.
const ALIGNMENT: usize = 64;

/// One message of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Item {
    /// The next so many rows of the unit's batch.
    Rows(Place, u64),
    SplitEnd(Place),
    Watermark(EventTime),
    Idle,
    Active,
    Barrier(u64),
    Ascending(Place),
    End,
}

/// An [`Origin`]: source, partition, split, row.
type Place = (u32, u32, u64, u64);

fn place(origin: Origin) -> Place {
    (origin.source, origin.partition, origin.split, origin.row)
}

fn origin((source, partition, split, row): Place) -> Origin {
    Origin { source, partition, split, row }
}

/// What one frame adds to its unit.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Begins an Arrow message, if not empty.
    pub(super) header: Bytes,
    /// More of its body.
    pub(super) body: Body,
    meta: Meta,
}

impl Chunk {
    /// What it takes of the network, about.
    pub(super) fn bytes(&self) -> usize {
        self.header.len() + self.body.len() + 16 * self.meta.items.len()
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Meta {
    /// Bytes of the whole body of the message that begins here.
    body: u64,
    /// Ends the unit, if not empty.
    items: Vec<Item>,
}

/// What is popped from a channel and becomes one unit.
#[derive(Default)]
struct Unit {
    batches: Vec<RecordBatch>,
    items: Vec<Item>,
    bytes: usize,
}

/// Empties a channel into units.
pub(super) struct Packer {
    encoder: Encoder,
    /// Popped, but of another schema than the unit before, or rows behind marks that may pass.
    next: Option<(Message, usize)>,
}

/// A unit that was packed.
pub(super) struct Packed {
    /// Its frames, each with the bytes that it takes of the link's credit.
    pub(super) chunks: Vec<(u64, Chunk)>,
    /// Bytes to release from the channel when the first is sent.
    pub(super) popped: usize,
}

impl Packer {
    pub(super) fn new() -> Self {
        Packer { encoder: Encoder::new(), next: None }
    }
    /// Whether something was popped that is in no unit yet.
    pub(super) fn holds(&self) -> bool {
        self.next.is_some()
    }
    /// The next unit of a channel, if there is something in it: no more rows than fill the `credit`, or `most` bytes, and one morsel beyond. Without credit,
    /// marks are put neither behind rows nor before them.
    ///
    /// # Errors
    /// If Arrow refuses a column.
    pub(super) fn next(&mut self, channel: &Channel, credit: u64, most: usize) -> Result<Option<Packed>> {
        let enough = usize::try_from(credit).unwrap_or(usize::MAX).min(most).clamp(1, ENOUGH);
        let (mut unit, mut popped) = (Unit::default(), 0);
        while let Some((message, counted)) = self.next.take().or_else(|| channel.pop()) {
            if let Message::Rows(morsel) = &message {
                let batch = morsel.compact()?;
                let other = unit.batches.first().is_some_and(|first| first.schema_ref() != batch.schema_ref());
                if other || (credit == 0 && !unit.items.is_empty()) {
                    self.next = Some((message, counted));
                    break;
                }
                unit.rows(batch, morsel.origin);
            } else {
                unit.items.push(mark(&message)?);
            }
            popped += counted;
            if unit.bytes >= enough {
                break;
            }
        }
        if unit.items.is_empty() {
            return Ok(None);
        }
        let chunks = unit.chunks(&mut self.encoder)?;
        Ok(Some(Packed { chunks, popped }))
    }
}

fn mark(message: &Message) -> Result<Item> {
    Ok(match message {
        Message::Rows(_) => return Err(Error::internal("rows are no mark")),
        Message::SplitEnd(origin) => Item::SplitEnd(place(*origin)),
        Message::Watermark(time) => Item::Watermark(*time),
        Message::Idle => Item::Idle,
        Message::Active => Item::Active,
        Message::Barrier(epoch) => Item::Barrier(*epoch),
        Message::Ascending(origin) => Item::Ascending(place(*origin)),
        Message::End => Item::End,
    })
}

impl Unit {
    fn rows(&mut self, batch: RecordBatch, from: Origin) {
        self.items.push(Item::Rows(place(from), batch.num_rows() as u64));
        let morsel = Morsel::new(batch, from);
        self.bytes += morsel.bytes().max(1);
        self.batches.push(morsel.batch);
    }
    fn chunks(self, encoder: &mut Encoder) -> Result<Vec<(u64, Chunk)>> {
        let Unit { batches, items, bytes } = self;
        let parts = match batches.as_slice() {
            [] => Vec::new(),
            [one] => encoder.batch(one)?,
            [first, ..] => encoder.batch(&concat_batches(first.schema_ref(), &batches)?)?,
        };
        let mut chunks: Vec<(u64, Chunk)> = Vec::with_capacity(parts.len());
        for Part { mut header, mut body } in parts {
            let whole = body.len() as u64;
            let size = if body.len() <= UNCUT { UNCUT } else { MESSAGE };
            loop {
                let meta = Meta { body: if header.is_empty() { 0 } else { whole }, items: Vec::new() };
                let piece = body.split_to(size.min(body.len()));
                chunks.push((0, Chunk { header: std::mem::take(&mut header), body: Body::Memory(piece), meta }));
                if body.is_empty() {
                    break;
                }
            }
        }
        if chunks.is_empty() {
            chunks.push((0, Chunk { header: Bytes::new(), body: Body::Memory(Bytes::new()), meta: Meta::default() }));
        }
        if let Some((of_first, _)) = chunks.first_mut() {
            *of_first = bytes as u64;
        }
        if let Some((_, last)) = chunks.last_mut() {
            last.meta.items = items;
        }
        Ok(chunks)
    }
}

/// A [`Chunk`] that came.
pub(super) struct Received {
    header: Bytes,
    body: Bytes,
    meta: Meta,
}

/// Puts the frames of a link together to messages.
pub(super) struct Unpacker {
    decoder: Decoder,
    /// The message whose body is coming.
    open: Option<(Bytes, u64, MutableBuffer)>,
    batch: Option<RecordBatch>,
    /// Bytes of the unit that is coming.
    pending: u64,
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Unpacker { decoder: Decoder::new(), open: None, batch: None, pending: 0 }
    }
    /// Bytes of a unit that has not come as a whole.
    pub(super) fn pending(&self) -> usize {
        self.pending as usize
    }
    /// A frame came. Its messages, if it ends a unit.
    ///
    /// # Errors
    /// If it is not what a [`Packer`] makes.
    pub(super) fn take(&mut self, head: &Head, chunk: Received) -> Result<VecDeque<Message>> {
        self.pending += head.bytes;
        let Received { header, body, meta } = chunk;
        if !header.is_empty() {
            if body.len() as u64 == meta.body {
                self.decoded(&header, body)?;
            } else {
                let whole = usize::try_from(meta.body).map_err(|_| broken("a body larger than memory"))?;
                self.open = Some((header, meta.body, MutableBuffer::with_capacity(whole)));
                self.append(&body)?;
            }
        } else if !body.is_empty() {
            self.append(&body)?;
        }
        if meta.items.is_empty() {
            return Ok(VecDeque::new());
        }
        self.pending = 0;
        self.messages(meta.items)
    }
    fn append(&mut self, body: &[u8]) -> Result<()> {
        let (_, whole, bytes) = self.open.as_mut().ok_or_else(|| broken("a body without its beginning"))?;
        if (bytes.len() + body.len()) as u64 > *whole {
            return Err(broken("a body is longer than was said"));
        }
        bytes.extend_from_slice(body);
        if bytes.len() as u64 == *whole
            && let Some((header, _, bytes)) = self.open.take()
        {
            self.decoded(&header, bytes)?;
        }
        Ok(())
    }
    fn decoded(&mut self, header: &[u8], body: impl Into<Buffer>) -> Result<()> {
        if let Some(batch) = self.decoder.message(header, body)? {
            self.batch = Some(batch);
        }
        Ok(())
    }
    fn messages(&mut self, items: Vec<Item>) -> Result<VecDeque<Message>> {
        let batch = self.batch.take();
        let mut from = 0;
        let mut messages = VecDeque::with_capacity(items.len());
        for item in items {
            messages.push_back(match item {
                Item::Rows(at, rows) => {
                    let (batch, rows) = (batch.as_ref().ok_or_else(|| broken("rows without their batch"))?, rows as usize);
                    if from + rows > batch.num_rows() {
                        return Err(broken("a batch has less rows than was said"));
                    }
                    from += rows;
                    Message::Rows(Morsel::new(batch.slice(from - rows, rows), origin(at)))
                }
                Item::SplitEnd(at) => Message::SplitEnd(origin(at)),
                Item::Watermark(time) => Message::Watermark(time),
                Item::Idle => Message::Idle,
                Item::Active => Message::Active,
                Item::Barrier(epoch) => Message::Barrier(epoch),
                Item::Ascending(at) => Message::Ascending(origin(at)),
                Item::End => Message::End,
            });
        }
        Ok(messages)
    }
}

fn broken(what: &str) -> Error {
    Error::Data { place: "an exchange".into(), what: what.to_owned() }
}

/// A frame as it travels.
///
/// # Errors
/// If its body is on disk and cannot be read.
pub(super) fn to_flight(frame: Frame<Chunk>, replay: &Replay) -> Result<FlightData> {
    let Frame { head, payload } = frame;
    let metadata = rmp_serde::to_vec(&(head, payload.as_ref().map(|p| &p.meta)));
    let metadata = metadata.map_err(|e| Error::internal(format!("a frame of an exchange cannot be written: {e}")))?;
    let (header, body) = match payload {
        Some(chunk) => (chunk.header, replay.load(&chunk.body)?),
        None => Default::default(),
    };
    let mut metadata = metadata;
    metadata.resize(metadata.len() + padding(header.len(), metadata.len(), body.len()), 0);
    Ok(FlightData { flight_descriptor: None, data_header: header, app_metadata: metadata.into(), data_body: body })
}

/// How many bytes to put behind the metadata so that the body begins [aligned](ALIGNMENT) within its message. gRPC's buffer for a
/// large message mostly begins where the message does, and then columns need not be copied to be read: seen in two of three bodies, and
/// in one of eight without this.
fn padding(header: usize, metadata: usize, body: usize) -> usize {
    // a field of protobuf: its number, its length, and so many bytes; empty ones are left out
    let length = |n: usize| (usize::BITS - n.leading_zeros()).div_ceil(7) as usize;
    let field = |number: usize, n: usize| if n == 0 { 0 } else { number + length(n) + n };
    let begins = |padding: usize| field(1, header) + field(1, metadata + padding) + if body == 0 { 0 } else { 2 + length(body) };
    (0..2 * ALIGNMENT).find(|padding| begins(*padding) % ALIGNMENT == 0).unwrap_or(0)
}

/// A frame that came.
///
/// # Errors
/// If it is none.
pub(super) fn from_flight(data: FlightData) -> Result<Frame<Received>> {
    let read = rmp_serde::from_slice::<(Head, Option<Meta>)>(&data.app_metadata);
    let (head, meta) = read.map_err(|e| broken(&format!("a frame cannot be read, is it of another version of Sabot? {e}")))?;
    Ok(Frame { head, payload: meta.map(|meta| Received { header: data.data_header, body: data.data_body, meta }) })
}
