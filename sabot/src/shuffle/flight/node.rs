//! The end that listens: one gRPC server with the Flight service, for the exchanges, control streams and outputs of a process.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_flight::FlightData;
use arrow_flight::flight_service_server::FlightServiceServer;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Status, Streaming};

use super::auth::{Grant, TicketKey, Token};
use super::frames::Frames;
use super::hello::Edge;
use super::outputs::{Output, Outputs};
use super::service::Service;
use super::tls::Tls;
use super::{CONNECTION_WINDOW, FRAME, KEEPALIVE, KEEPALIVE_TIMEOUT, LARGEST_MESSAGE, STREAM_WINDOW};
use crate::sync::lock;
use crate::{Error, Result};

/// How long connections may take to end when the node stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where and for whom a node listens.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What every call must have. Without it, every process of this machine may call.
    pub token: Option<Token>,
    /// What it shows, and whose certificates callers must have; without it, connections are not encrypted.
    pub tls: Option<Tls>,
    /// The key of the control plane's tickets. Without it, exchanges and outputs are refused.
    pub tickets: Option<TicketKey>,
    /// Listen beyond this machine although there is no token or no certificate.
    pub insecure: bool,
}

impl Default for NodeOptions {
    /// A free port of 127.0.0.1, without token, certificates and tickets.
    fn default() -> Self {
        NodeOptions { listen: SocketAddr::from(([127, 0, 0, 1], 0)), token: None, tls: None, tickets: None, insecure: false }
    }
}

/// A stream of frames that a peer has opened.
#[derive(Debug)]
pub struct Call {
    /// What the peer said first.
    pub hello: Bytes,
    /// Where the call comes from.
    pub remote: Option<SocketAddr>,
    /// The stream.
    pub frames: Frames,
}

/// Called for each stream of frames that is opened, on the runtime: it spawns what goes on, and returns at once.
pub type OnCall = Arc<dyn Fn(Call) + Send + Sync>;

/// The consuming end of an exchange, as the service sees it.
pub(super) trait Arrivals: Send + Sync {
    /// A producer has connected. Its frames are to be read without a pause; what is returned goes back to it.
    fn accept(
        self: Arc<Self>,
        links: &[(u32, u32)],
        frames: Streaming<FlightData>,
    ) -> Result<BoxStream<'static, Result<FlightData, Status>>, Status>;
}

/// What a node has for callers.
pub(super) struct Registry {
    pub(super) token: Option<Token>,
    pub(super) tickets: Option<TicketKey>,
    pub(super) outputs: Outputs,
    frames: Mutex<HashMap<String, OnCall>>,
    exchanges: Mutex<BTreeMap<Edge, Arc<dyn Arrivals>>>,
    stopped: watch::Sender<bool>,
}

impl Registry {
    /// Until the node stops.
    pub(super) fn stop(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopped = self.stopped.subscribe();
        async move {
            let _ = stopped.wait_for(|s| *s).await;
        }
    }
    pub(super) fn handler(&self, name: &str) -> Option<OnCall> {
        lock(&self.frames).get(name).cloned()
    }
    pub(super) fn expect(&self, edge: Edge, arrivals: Arc<dyn Arrivals>) {
        lock(&self.exchanges).insert(edge, arrivals);
    }
    pub(super) fn forget(&self, edge: &Edge) {
        lock(&self.exchanges).remove(edge);
    }
    /// The consuming end of an exchange. A producer of an older attempt is told that it is over; another one may come too early.
    pub(super) fn arrivals(&self, edge: &Edge) -> Result<Arc<dyn Arrivals>, Status> {
        let exchanges = lock(&self.exchanges);
        if let Some(found) = exchanges.get(edge) {
            return Ok(Arc::clone(found));
        }
        let newer = exchanges.keys().filter(|e| e.job == edge.job).map(|e| e.generation).max().filter(|n| *n > edge.generation);
        Err(match newer {
            Some(newer) => Status::failed_precondition(format!("attempt {newer} of job `{}` runs here: {edge} is over", edge.job)),
            None => Status::not_found(format!("{edge} is not open here")),
        })
    }
}

/// A gRPC server with the Flight service. Clones are the same server, which ends with the last one.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    registry: Arc<Registry>,
    runtime: Handle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.registry.stopped.send_replace(true);
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("address", &self.0.address).finish_non_exhaustive()
    }
}

impl Node {
    /// Listens, and serves on this runtime.
    ///
    /// # Errors
    /// If the address cannot be bound, the certificates cannot be used, or the node would listen beyond this machine without both token
    /// and certificates and was not [told to](NodeOptions::insecure).
    pub fn start(options: &NodeOptions, runtime: &Handle) -> Result<Self> {
        let listen = options.listen;
        if !listen.ip().is_loopback() && !options.insecure && (options.token.is_none() || options.tls.is_none()) {
            let missing =
                if options.token.is_none() { "a token (`--token`)" } else { "certificates (`--tls-cert`, `--tls-key`, `--tls-ca`)" };
            return Err(Error::usage(format!(
                "{listen} can be reached from other machines: that needs {missing}, or `--insecure` if the network is trusted"
            )));
        }
        let place = format!("tcp://{listen}");
        let _inside = runtime.enter();
        let incoming = TcpIncoming::bind(listen).map_err(|e| Error::io(&place, "cannot listen", e))?.with_nodelay(Some(true));
        let address = incoming.local_addr().map_err(|e| Error::io(&place, "cannot listen", e))?;
        let registry = Arc::new(Registry {
            token: options.token.clone(),
            tickets: options.tickets.clone(),
            outputs: Outputs::default(),
            frames: Mutex::default(),
            exchanges: Mutex::default(),
            stopped: watch::Sender::new(false),
        });
        let mut server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
        if let Some(tls) = &options.tls {
            server = server.tls_config(tls.server()).map_err(|e| Error::usage(format!("these certificates cannot be used: {e}")))?;
        }
        let service = FlightServiceServer::new(Service(Arc::clone(&registry)))
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE);
        let router = server.add_service(service);
        let (stop, farewell) = (registry.stop(), registry.stop());
        runtime.spawn(async move {
            let serve = router.serve_with_incoming_shutdown(incoming, stop);
            tokio::select! {
                _ = serve => {}
                () = async { farewell.await; tokio::time::sleep(FAREWELL).await } => {}
            }
        });
        Ok(Node(Arc::new(Inner { address, registry, runtime: runtime.clone() })))
    }
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }
    /// Streams of frames that are opened under this name go to `on_call` from now on.
    pub fn frames(&self, name: &str, on_call: impl Fn(Call) + Send + Sync + 'static) {
        lock(&self.0.registry.frames).insert(name.to_owned(), Arc::new(on_call));
    }
    /// Whoever has a ticket for an output may read it here from now on: `open` is called for each reader, on a thread on which it may block. An
    /// error that names a missing file is told as one that another process may not have.
    pub fn outputs(&self, open: impl Fn(&Grant) -> Result<Output> + Send + Sync + 'static) {
        self.0.registry.outputs.offer(Arc::new(open));
    }
    /// Takes no more calls, and ends those that go on.
    pub fn stop(&self) {
        self.0.registry.stopped.send_replace(true);
    }
    /// The key of tickets, if it has one.
    pub fn tickets(&self) -> Option<&TicketKey> {
        self.0.registry.tickets.as_ref()
    }
    pub(super) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }
    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }
}
