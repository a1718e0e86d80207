//! The way to another process: two connections, one for data and one for control, made when first needed and again when cut.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, FlightDescriptor, Ticket};
use arrow_schema::SchemaRef;
use futures_util::Stream;
use tokio::runtime::Handle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::auth::Token;
use super::frames::{FrameReceiver, Frames, outgoing};
use super::hello::Hello;
use super::reader::OutputReader;
use super::status::from_status;
use super::tls::Tls;
use super::{CONNECTION_WINDOW, FRAME, KEEPALIVE, KEEPALIVE_TIMEOUT, LARGEST_MESSAGE, STREAM_WINDOW};
use crate::{Error, Result};

/// How other processes are called.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// The token that they ask for.
    pub token: Option<Token>,
    /// What this process shows; without it, connections are not encrypted.
    pub tls: Option<Tls>,
    /// The name in the other's certificate, if it is not the host of its address.
    pub domain: Option<String>,
    /// How long a job waits for an agent that cannot be reached.
    pub patience: Duration,
}

impl Default for PeerOptions {
    fn default() -> Self {
        PeerOptions { token: None, tls: None, domain: None, patience: Duration::from_secs(10) }
    }
}

/// Another process. Clones share its connections.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    name: String,
    address: String,
    place: String,
    data: Channel,
    control: Channel,
    token: Option<Token>,
    patience: Duration,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.place)
    }
}

impl Peer {
    /// The process that is called `name` in messages, at `address` (`host:port`). Connects when first used, on this runtime.
    ///
    /// # Errors
    /// If the address is none, or the certificates cannot be used.
    pub fn new(name: &str, address: &str, options: &PeerOptions, runtime: &Handle) -> Result<Self> {
        let _inside = runtime.enter();
        let place = format!("{name} at {address}");
        let data = endpoint(address, options)?.connect_lazy();
        let control = endpoint(address, options)?.connect_lazy();
        let (name, address) = (name.to_owned(), address.to_owned());
        Ok(Peer(Arc::new(Inner { name, address, place, data, control, token: options.token.clone(), patience: options.patience })))
    }
    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// Host and port.
    pub fn address(&self) -> &str {
        &self.0.address
    }
    /// Name and address, for messages.
    pub(super) fn place(&self) -> &str {
        &self.0.place
    }
    /// How long to wait while it cannot be reached.
    pub fn patience(&self) -> Duration {
        self.0.patience
    }
    /// Opens a stream of frames with the handler of this name, on the connection for control. `hello` is given to the handler.
    ///
    /// # Errors
    /// If the process cannot be reached within [`patience`](Self::patience), refuses the call, or has no handler of this name.
    pub async fn frames(&self, name: &str, hello: impl Into<Vec<u8>>) -> Result<Frames> {
        let hello = Hello::Frames { name: name.to_owned(), hello: serde_bytes::ByteBuf::from(hello.into()) };
        let (sender, parts) = outgoing(Some(hello.descriptor()?));
        let what = format!("cannot open the control stream `{name}`");
        let answer = within(self.0.patience, self.exchange(&self.0.control, parts)).await;
        let answer = answer.map_err(|status| from_status(self.place(), &what, &status))?;
        Ok(Frames { sender, receiver: FrameReceiver::new(answer, self.0.place.clone()) })
    }
    /// Begins to read an output of a job, with a ticket for it; its columns.
    ///
    /// # Errors
    /// If the process cannot be reached within [`patience`](Self::patience), does not have the rows, or refuses the ticket.
    pub async fn output(&self, ticket: &str) -> Result<(OutputReader, SchemaRef)> {
        let mut client = FlightServiceClient::new(self.0.data.clone()).max_decoding_message_size(LARGEST_MESSAGE);
        let mut request = Request::new(Ticket { ticket: ticket.to_owned().into() });
        if let Some(token) = &self.0.token {
            token.put(&mut request);
        }
        let answer = within(self.0.patience, client.do_get(request)).await;
        let parts = answer.map_err(|status| from_status(self.place(), "cannot read the output", &status))?.into_inner();
        OutputReader::begin(parts, self.0.place.clone()).await
    }
    /// Opens an exchange on the connection for data.
    pub(super) async fn data(&self, frames: impl Stream<Item = FlightData> + Send + 'static) -> Result<Streaming<FlightData>, Status> {
        self.exchange(&self.0.data, frames).await
    }
    async fn exchange(
        &self,
        channel: &Channel,
        frames: impl Stream<Item = FlightData> + Send + 'static,
    ) -> Result<Streaming<FlightData>, Status> {
        let mut client =
            FlightServiceClient::new(channel.clone()).max_decoding_message_size(LARGEST_MESSAGE).max_encoding_message_size(LARGEST_MESSAGE);
        let mut request = Request::new(frames);
        if let Some(token) = &self.0.token {
            token.put(&mut request);
        }
        Ok(client.do_exchange(request).await?.into_inner())
    }
}

/// The result of a call, or that it took too long.
pub(super) async fn within<T>(time: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = |_| Err(Status::deadline_exceeded(format!("no answer within {time:?}")));
    tokio::time::timeout(time, call).await.unwrap_or_else(late)
}

fn endpoint(address: &str, options: &PeerOptions) -> Result<Endpoint> {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let refused = |e: tonic::transport::Error| {
        let source = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        Error::usage(format!("`{address}` cannot be called: {e}{source}"))
    };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(refused)?;
    if endpoint.uri().port_u16().is_none() {
        return Err(Error::usage(format!("`{address}` is no address: write host:port")));
    }
    let domain = options.domain.clone().or_else(|| endpoint.uri().host().map(str::to_owned)).unwrap_or_default();
    let endpoint = endpoint
        .connect_timeout(options.patience.min(Duration::from_secs(5)))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    match &options.tls {
        Some(tls) => endpoint.tls_config(tls.client(&domain)).map_err(refused),
        None => Ok(endpoint),
    }
}

impl Hello {
    /// As the descriptor that begins a stream.
    pub(super) fn descriptor(&self) -> Result<FlightDescriptor> {
        let command = rmp_serde::to_vec(self).map_err(|e| Error::internal(format!("the beginning of a stream: {e}")))?;
        Ok(FlightDescriptor::new_cmd(command))
    }
}
