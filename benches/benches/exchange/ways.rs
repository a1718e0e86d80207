//! The ways between the two processes. The receiver is this process, but for `DoGet` it is the one that is called.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo,
    PutResult, SchemaResult, Ticket,
};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sabot::kernel::{Morsel, Origin};
use sabot::shuffle::flight::{CarrierOptions, FlightCarrier, Grant, Node, NodeOptions, Peer, PeerOptions, Purpose, TicketKey, Token};
use sabot::shuffle::{Carrier, Channel, Host, LinkId, Links, Message, Remote};
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::rows::{Sums, bytes_of};

/// The receiving end of one turn.
pub trait Receiver {
    /// Where it listens, if it does.
    fn address(&self) -> String;
    /// Takes everything; `told` is what the sender has said.
    fn run(self: Box<Self>, told: &str, check: bool) -> Sums;
}

/// One contestant.
pub struct Way {
    pub name: &'static str,
    pub title: &'static str,
    /// Whether rows arrive, and not only bytes.
    pub arrow: bool,
    pub receive: fn() -> Box<dyn Receiver>,
    /// Says one line when the other may begin, and sends.
    pub send: fn(&str, &[RecordBatch]),
}

pub const WAYS: &[Way] = &[
    Way { name: "tcp", title: "raw TCP", arrow: false, receive: || Listening::new(Kind::Raw), send: send_raw },
    Way { name: "ipc", title: "Arrow IPC over TCP", arrow: true, receive: || Listening::new(Kind::Ipc), send: send_ipc },
    Way { name: "doget", title: "Flight DoGet (arrow-flight)", arrow: true, receive: || Box::new(Getter), send: send_get },
    Way { name: "exchange", title: "Sabot's exchange", arrow: true, receive: || Agent::new(1), send: |a, b| send_exchange(a, b, 1) },
    Way {
        name: "exchange4",
        title: "Sabot's exchange, 4 links",
        arrow: true,
        receive: || Agent::new(4),
        send: |a, b| send_exchange(a, b, 4),
    },
];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn begin() {
    println!("go");
}

enum Kind {
    Raw,
    Ipc,
}

struct Listening(TcpListener, Kind);

impl Listening {
    #[allow(clippy::new_ret_no_self)]
    fn new(kind: Kind) -> Box<dyn Receiver> {
        Box::new(Listening(TcpListener::bind("127.0.0.1:0").unwrap(), kind))
    }
}

impl Receiver for Listening {
    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }
    fn run(self: Box<Self>, _: &str, check: bool) -> Sums {
        let mut stream = self.0.accept().unwrap().0;
        let mut sums = Sums::default();
        match self.1 {
            Kind::Raw => {
                let mut buffer = vec![0; 1 << 20];
                while stream.read(&mut buffer).unwrap() > 0 {}
            }
            Kind::Ipc => {
                for batch in StreamReader::try_new_buffered(stream, None).unwrap() {
                    sums.add(&batch.unwrap(), check);
                }
            }
        }
        sums
    }
}

fn send_raw(address: &str, batches: &[RecordBatch]) {
    begin();
    let mut stream = TcpStream::connect(address).unwrap();
    let buffer = vec![7; 1 << 20];
    let mut left = bytes_of(batches.iter().map(RecordBatch::num_rows).sum());
    while left > 0 {
        let n = left.min(buffer.len());
        stream.write_all(&buffer[..n]).unwrap();
        left -= n;
    }
}

fn send_ipc(address: &str, batches: &[RecordBatch]) {
    begin();
    let stream = TcpStream::connect(address).unwrap();
    let mut writer = StreamWriter::try_new_buffered(stream, batches[0].schema_ref()).unwrap();
    batches.iter().for_each(|b| writer.write(b).unwrap());
    writer.finish().unwrap();
}

struct Getter;

impl Receiver for Getter {
    fn address(&self) -> String {
        String::from("-")
    }
    fn run(self: Box<Self>, told: &str, check: bool) -> Sums {
        let mut sums = Sums::default();
        runtime().block_on(async {
            let channel = Endpoint::from_shared(format!("http://{told}")).unwrap().connect().await.unwrap();
            let mut client = FlightServiceClient::new(channel);
            let stream = client.do_get(Ticket { ticket: "".into() }).await.unwrap().into_inner();
            let mut batches = FlightRecordBatchStream::new_from_flight_data(stream.map_err(|s| FlightError::Tonic(Box::new(s))));
            while let Some(batch) = batches.next().await {
                sums.add(&batch.unwrap(), check);
            }
        });
        sums
    }
}

fn send_get(_: &str, batches: &[RecordBatch]) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    println!("{}", incoming.local_addr().unwrap());
    let (done, mut is_done) = tokio::sync::mpsc::channel(1);
    let service = FlightServiceServer::new(Plain { batches: batches.to_vec(), done });
    let serve = Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, async move {
        is_done.recv().await;
    });
    runtime.block_on(serve).unwrap();
}

/// `DoGet` as the documentation of `arrow-flight` has it.
struct Plain {
    batches: Vec<RecordBatch>,
    done: tokio::sync::mpsc::Sender<()>,
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

fn no<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("only DoGet"))
}

#[tonic::async_trait]
impl FlightService for Plain {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let (schema, done) = (self.batches[0].schema(), self.done.clone());
        let batches = stream::iter(self.batches.clone().into_iter().map(Ok));
        let data = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
        let end = stream::once(async move {
            let _ = done.send(()).await;
        });
        Ok(Response::new(data.map_err(Status::from).chain(end.filter_map(|()| async { None })).boxed()))
    }
    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        no()
    }
    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Result<Response<Self::HandshakeStream>, Status> {
        no()
    }
    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        no()
    }
    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        no()
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        no()
    }
    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        no()
    }
    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        no()
    }
    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        no()
    }
    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        no()
    }
}

const KEY: &str = "the key of this benchmark";
/// What an input of a step queues by default.
const CHANNEL: usize = 16 << 20;

/// Wakes the thread that waits for rows or room.
#[derive(Default)]
struct Waker {
    awake: Mutex<bool>,
    changed: std::sync::Condvar,
}

impl Waker {
    fn wait(&self) {
        let mut awake = self.awake.lock().unwrap();
        while !*awake {
            awake = self.changed.wait(awake).unwrap();
        }
        *awake = false;
    }
}

impl Host for Waker {
    fn wake(&self, _: usize) {
        *self.awake.lock().unwrap() = true;
        self.changed.notify_one();
    }
    fn failed(&self, error: sabot::Error) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn token() -> Option<Token> {
    Some(Token::new("benchmark").unwrap())
}

/// One end: its carrier, and the channels to or from the other.
fn side(runtime: &Runtime, node: &Node, me: usize, other: &str, links: usize) -> (FlightCarrier, Vec<Arc<Channel>>, Arc<Waker>) {
    let peer = PeerOptions { token: token(), ..PeerOptions::default() };
    let peer = Peer::new("the other", other, &peer, runtime.handle()).unwrap();
    let mut peers = vec![None, None];
    peers[1 - me] = Some(peer);
    let grant = Grant::new("bench", 1, Purpose::Exchange, Duration::from_secs(600));
    let ticket = TicketKey::new(KEY).unwrap().sign(&grant).unwrap();
    let carrier = FlightCarrier::new(CarrierOptions { node: node.clone(), job: "bench".into(), generation: 1, me, peers, ticket });
    let channels: Vec<Arc<Channel>> = (0..links).map(|_| Arc::new(Channel::new(0, 0, CHANNEL / links))).collect();
    let remote = |(to, channel): (u32, &Arc<Channel>)| Remote {
        link: LinkId { consumer: 1, edge: 0, from: 0, to },
        peer: 1 - me,
        channel: Arc::clone(channel),
    };
    let ends: Vec<Remote> = (0..).zip(&channels).map(remote).collect();
    let host = Arc::new(Waker::default());
    let (outgoing, incoming) = if me == 0 { (ends, Vec::new()) } else { (Vec::new(), ends) };
    carrier.start(Links { outgoing, incoming, host: Arc::clone(&host) as _ }).unwrap();
    carrier.begin();
    (carrier, channels, host)
}

fn node(runtime: &Runtime) -> Node {
    let options = NodeOptions { token: token(), tickets: Some(TicketKey::new(KEY).unwrap()), ..NodeOptions::default() };
    Node::start(&options, runtime.handle()).unwrap()
}

struct Agent {
    runtime: Runtime,
    node: Node,
    links: usize,
}

impl Agent {
    #[allow(clippy::new_ret_no_self)]
    fn new(links: usize) -> Box<dyn Receiver> {
        let runtime = runtime();
        let node = node(&runtime);
        Box::new(Agent { runtime, node, links })
    }
}

impl Receiver for Agent {
    fn address(&self) -> String {
        self.node.address().to_string()
    }
    fn run(self: Box<Self>, told: &str, check: bool) -> Sums {
        // It goes on to listen, as an agent does: the sender may still ask whether its last frames have arrived.
        let this = Box::leak(self);
        let (carrier, channels, host) = side(&this.runtime, &this.node, 1, told, this.links);
        let (mut sums, mut open) = (Sums::default(), this.links);
        while open > 0 {
            host.wait();
            for (at, channel) in channels.iter().enumerate() {
                while let Some((message, bytes)) = channel.pop() {
                    match message {
                        Message::Rows(morsel) => sums.add(&morsel.batch, check),
                        Message::End => open -= 1,
                        _ => {}
                    }
                    if channel.release(bytes) {
                        carrier.room(at);
                    }
                }
            }
        }
        carrier.stop(true).unwrap();
        sums
    }
}

fn send_exchange(address: &str, batches: &[RecordBatch], links: usize) {
    let runtime = runtime();
    let node = node(&runtime);
    println!("{}", node.address());
    let (carrier, channels, host) = side(&runtime, &node, 0, address, links);
    for (number, batch) in batches.iter().enumerate() {
        let (at, channel) = (number % links, &channels[number % links]);
        while channel.full() {
            if channel.wait() {
                host.wait();
            }
        }
        channel.push(Message::Rows(Morsel::new(batch.clone(), Origin::default())));
        carrier.pushed(at);
    }
    for (at, channel) in channels.iter().enumerate() {
        channel.push(Message::End);
        carrier.pushed(at);
    }
    carrier.stop(true).unwrap();
}
