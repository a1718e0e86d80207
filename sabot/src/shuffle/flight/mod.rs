//! The exchange between processes, over Arrow Flight.
//!
//! A process listens with one [`Node`] and reaches others through [`Peer`]s. A [`FlightCarrier`] carries the links of one share of a
//! job between them; [`Frames`] are streams of opaque bytes for control and heartbeats, on a connection of their own; any Flight
//! client reads an [`Output`] of a job by `DoGet` with a signed ticket.

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
mod service;
mod status;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::time::Duration;

pub use auth::{Grant, Purpose, TicketKey, Token};
pub use carrier::{CarrierOptions, FlightCarrier};
pub use frames::{FrameReceiver, FrameSender, Frames};
pub use node::{Call, Node, NodeOptions, OnCall};
pub use outputs::{Batches, Output};
pub use peer::{Peer, PeerOptions};
pub use tls::Tls;

/// Bytes of a message. Measured on loopback: messages of 256 KiB, which stay in the cache, 0.33 GB/s, of 2 MB 0.19 GB/s.
const MESSAGE: usize = 256 << 10;
/// The largest message that is read: a row may be large. gRPC's default of 4 MiB would end the job at such a row.
const LARGEST_MESSAGE: usize = 1 << 30;
/// HTTP/2 windows are a safety net: credits hold producers back. A rate is at most window / round trip: 8 MiB are 400 MB/s at 20 ms.
const STREAM_WINDOW: u32 = 8 << 20;
/// That of a connection is shared, and must never be the limit: three stalled streams of the default size stop all calls beside them.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// How often a silent connection is asked whether it is alive, and for how long its answer is waited for.
const KEEPALIVE: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(4);
