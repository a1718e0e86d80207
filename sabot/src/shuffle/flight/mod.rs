//! The exchange between processes, over Arrow Flight.
//!
//! A process listens with one [`Node`] and reaches others through [`Peer`]s. A [`FlightCarrier`] carries the links of one share of a
//! job between them; [`Frames`] are streams of opaque bytes for control and heartbeats; any Flight client reads an [`Output`] of a
//! job by `DoGet` with a signed ticket, which says where the rows are. Edges within a process never come here.
//!
//! # An exchange
//!
//! One `DoExchange` per edge and pair of agents, called by the producing one. Its first message has a descriptor whose command says
//! what it is for: the edge, the attempt of the job, the links by their instances, and the ticket. From then on each `FlightData` up is
//! one frame of the [session](super::session), and each one down an answer of its consumer, in `app_metadata` (MessagePack):
//!
//! | up | `app_metadata` | `data_header`, `data_body` |
//! |---|---|---|
//! | part of a unit | generation, number, link, bytes of credit; bytes of the whole body | an Arrow IPC message, or more of its body |
//! | its last part | the same, and its items: rows with their origin, and marks, in order | the same; none if there are only marks |
//! | the last frame | the same, without a unit | none |
//!
//! | down | |
//! |---|---|
//! | resume | first on each connection: generation, the number wanted next, and how many bytes each link may have sent since its start |
//! | answer | the number wanted next, and what links may send more |
//! | gone | this end's share has ended before the job |
//!
//! - **Units.** A link's messages travel in units of 128 to 512 KiB: small morsels share one, a larger one is cut into frames of 256 KiB
//!   and put together at the other end, so morsels come out as they went in. Selections are applied, text is compacted, slices are
//!   written without the rest of their batch. Schemas and dictionaries are sent once per link, and when they change.
//! - **Backpressure.** Credits, in bytes: what the consumer's channel has room for. A channel without credit stays full, and its producer
//!   stops. Streams are read without a pause, since a stalled stream would hold up others on its connection; HTTP/2 windows are a safety net.
//! - **Slow networks.** What is on its way is limited by how long it takes (`window`), so that barriers do not queue behind megabytes of rows in sockets, and
//!   small morsels wait in their channel, where they can share a unit.
//! - **Cuts.** The producer connects again, at once and then with growing pauses, and goes on from the number that the consumer wants. An
//!   agent that is away for longer than the peer's patience (10 s) ends the job, with its name and address; before all shares are ready nobody is away.
//!   A connection on which nothing is
//!   heard is cut by its keepalive after 10 s.
//! - **Memory.** Both channels of a link with one unit each, and what is on its way and kept [for replay](FlightCarrier::spill).
//! - **Zombies.** An attempt has a generation, in the edge's name and in each frame: agents of older ones are refused for good.
//! - **Not compressed.** With LZ4, `DoGet` took 7.8 s of processor time per GB at both ends together, without 2 to 3: it pays on slow networks only.
//!
//! # Who is let in
//!
//! Every call has the node's [`Token`]; with [`Tls`], callers show a certificate of the same authority. Exchanges and outputs need a ticket: a
//! [`Grant`] (job, attempt, purpose, expiry) that the control plane has signed (HMAC-SHA256 with a [`TicketKey`]). A node listens
//! on 127.0.0.1 unless told otherwise, and beyond this machine only with both token and certificates, or when told that the network is trusted.

mod auth;
mod carrier;
mod ended;
mod frames;
mod hello;
mod inbound;
mod ipc;
mod node;
mod outbound;
mod outputs;
mod peer;
mod reader;
mod replay;
mod service;
mod status;
#[cfg(test)]
mod tests;
mod tls;
mod window;
mod wire;

use std::time::Duration;

pub use auth::{Grant, Purpose, TicketKey, Token};
pub use carrier::{CarrierOptions, FlightCarrier};
pub use frames::{FrameReceiver, FrameSender, Frames};
pub use node::{Call, Node, NodeOptions, OnCall};
pub use outputs::{Batches, OnOutput, Output};
pub use peer::{Peer, PeerOptions};
pub use reader::OutputReader;
pub use tls::Tls;

/// Bytes of a message. Measured on loopback: messages of 256 KiB, which stay in the cache, 0.33 GB/s, of 2 MB 0.19 GB/s.
const MESSAGE: usize = 256 << 10;
/// The largest message that is read: a row may be large. gRPC's default of 4 MiB would end the job at such a row.
const LARGEST_MESSAGE: usize = 1 << 30;
/// HTTP/2 windows are a safety net: credits hold producers back. A rate is at most window / round trip: 8 MiB are 400 MB/s at 20 ms.
const STREAM_WINDOW: u32 = 8 << 20;
/// That of a connection is shared, and must never be the limit: three stalled streams of the default size stop all calls beside them.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Bytes of an HTTP/2 frame at most, where HTTP/2's default of 16 KiB would cut a message into many pieces. Whatever else goes over a connection waits
/// for a frame: on a slow link, larger ones would hold up the answers that tell that it is alive.
const FRAME: u32 = 256 << 10;
/// How often a silent connection is asked whether it is alive, and for how long its answer is waited for: on a busy machine it may be late.
const KEEPALIVE: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(8);
